//! Files that others must not choose, read or follow: new ones are made and never written over, and
//! what is replaced is replaced whole.

use std::fs::{DirBuilder, DirEntry, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg, OFlag};
use tempfile::TempDir;

/// Longest file that is read here, in bytes: ten thousand users.
pub(super) const BYTES_MAX: u64 = 16 << 20;
/// What others may not read.
pub(super) const SECRET: u32 = 0o600;
/// What is no secret; the directories keep others out all the same.
pub(super) const OPEN: u32 = 0o644;

/// Makes a directory that only its owner enters.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Writes a new file; one that is there, also a link to nowhere, is an error.
pub(super) fn new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode).custom_flags(OFlag::O_NOFOLLOW.bits());
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Replaces a file whole: whoever reads it meanwhile has the old or the new one.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let place = temporary(parent)?;
    let fresh = place.path().join("new");
    new(&fresh, text, mode)?;
    std::fs::rename(&fresh, path)
}

/// Reads a file, unless it is a link, or too long.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    let mut text = String::new();
    file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("it is longer than {BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Names of what is in a directory, in order; none of one that is not there.
pub(super) fn names(path: &Path) -> Vec<String> {
    let name = |entry: io::Result<DirEntry>| entry.ok()?.file_name().into_string().ok();
    let mut names: Vec<String> =
        std::fs::read_dir(path).into_iter().flatten().filter_map(name).collect();
    names.sort();
    names
}

/// A directory of our own beside what is to be; it goes away unless it is renamed.
pub(super) fn temporary(parent: &Path) -> io::Result<TempDir> {
    let only_ours = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix(".dsbus-auth-").permissions(only_ours).tempdir_in(parent)
}

/// Keeps other `dsbus auth` away from a directory until it is dropped.
pub(super) fn lock(directory: &Path) -> io::Result<Flock<File>> {
    let file = File::open(directory)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e.into())
}
