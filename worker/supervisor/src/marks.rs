//! Where in the log of an instance the output of each epoch begins: one line of JSON for each, in
//! the file `epochs` of the instance's directory. An agent reads it, so that whoever follows an
//! instance over its moves is shown each epoch to its end, and each word once.
//!
//! A line is written before anything is heard of the first child of an epoch, and one more when the instance is
//! gone from this worker, and all that its children said is in the log.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dsbus_schema::call::{Channel, LogPlace};
use dsbus_schema::ids::Epoch;
use serde::{Deserialize, Serialize};

use crate::files::{open_trusted, regular};

/// Its name.
const FILE: &str = "epochs";
/// Size at which the older half is dropped: of a hundred moves, and quick to read.
const BYTES_MAX: u64 = 32 * 1024;
/// Bytes before a place that its checksum is made of: more than a line that is repeated mostly has.
pub const CHECKED_BYTES: usize = 64;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which epoch.
    pub epoch: Epoch,
    /// Where its standard output begins; `None` where that has no log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<LogPlace>,
    /// Where its standard error begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<LogPlace>,
    /// It has ended, and nothing of it follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
}

impl Mark {
    /// Where the output of a channel begins.
    pub fn begin(&self, channel: Channel) -> Option<LogPlace> {
        match channel {
            Channel::Stdout => self.stdout,
            Channel::Stderr => self.stderr,
        }
    }
}

/// Where the lines are, of an instance with this directory.
pub fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// The lines of an instance, oldest first; none when there are none. A line that was not written to
/// its end is left out.
pub fn read(directory: &Path) -> Vec<Mark> {
    let text = fs::read_to_string(path(directory)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A place in a file that is read.
///
/// # Errors
/// When the file cannot be read.
pub fn place(file: &File, offset: u64) -> io::Result<LogPlace> {
    let metadata = file.metadata()?;
    let check = u64::from(check(file, offset)?);
    Ok(LogPlace { file: metadata.ino(), offset, born: born(&metadata), check })
}

/// When a file was made, in microseconds since 1970; 0 where its file system does not know.
pub fn born(metadata: &fs::Metadata) -> u64 {
    let since =
        metadata.created().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_micros()).ok()).unwrap_or(0)
}

fn check(file: &File, offset: u64) -> io::Result<u32> {
    let len = usize::try_from(offset).unwrap_or(usize::MAX).min(CHECKED_BYTES);
    let mut bytes = [0; CHECKED_BYTES];
    file.read_exact_at(&mut bytes[..len], offset - len as u64)?;
    Ok(checksum(&bytes[..len]))
}

/// FNV-1a, never 0.
pub fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811C_9DC5, step).max(1)
}

/// Where the log of a channel ends now; the begin of a log that is not there yet.
fn end(directory: &Path, channel: Channel) -> Option<LogPlace> {
    let log = directory.join(format!("{}.log", channel.name()));
    match open_trusted(&log, File::options().read(true)).and_then(regular) {
        Ok(file) => file.metadata().and_then(|found| place(&file, found.len())).ok(),
        Err(e) if e.kind() == ErrorKind::NotFound => Some(LogPlace::default()),
        // What is no file cannot be read.
        Err(_) => None,
    }
}

/// A child of this epoch is about to be heard. Writes a line, unless the last one says so already.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn begin(directory: &Path, epoch: Epoch) -> io::Result<()> {
    // This is asked at every start of a child, and nearly always knows already.
    let text = fs::read_to_string(path(directory)).unwrap_or_default();
    let last: Option<Mark> = text.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    if last.is_some_and(|last| last.epoch == epoch && !last.over) {
        return Ok(());
    }
    let (stdout, stderr) = (end(directory, Channel::Stdout), end(directory, Channel::Stderr));
    append(directory, &Mark { epoch, stdout, stderr, over: false })
}

/// The instance is gone. Writes a line.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn over(directory: &Path, epoch: Epoch) -> io::Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    append(directory, &Mark { epoch, stdout: None, stderr: None, over: true })
}

fn append(directory: &Path, mark: &Mark) -> io::Result<()> {
    let path = path(directory);
    if fs::metadata(&path).is_ok_and(|found| found.len() > BYTES_MAX) {
        drop_older(directory, &path)?;
    }
    // It begins anew, because a line before it may have been cut off.
    let line = format!("\n{}\n", serde_json::to_string(mark)?);
    File::options().create(true).append(true).open(path)?.write_all(line.as_bytes())
}

fn drop_older(directory: &Path, path: &Path) -> io::Result<()> {
    let marks = read(directory);
    let mut kept = Vec::new();
    for mark in &marks[marks.len() / 2..] {
        serde_json::to_writer(&mut kept, mark)?;
        kept.push(b'\n');
    }
    let new = directory.join(format!("{FILE}.new"));
    fs::write(&new, kept)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(directory: &Path) -> Vec<(u64, Option<u64>, bool)> {
        let of = |mark: &Mark| (mark.epoch.0, mark.stdout.map(|place| place.offset), mark.over);
        read(directory).iter().map(of).collect()
    }

    #[test]
    fn each_epoch_has_a_line_and_its_end_another() {
        let directory = tempfile::tempdir().unwrap();
        let (path, log) = (directory.path(), directory.path().join("stdout.log"));
        begin(path, Epoch(3)).unwrap();
        fs::write(&log, "abc").unwrap();
        begin(path, Epoch(3)).unwrap();
        over(path, Epoch(3)).unwrap();
        begin(path, Epoch(7)).unwrap();
        begin(path, Epoch(3)).unwrap();
        let wanted =
            [(3, Some(0), false), (3, None, true), (7, Some(3), false), (3, Some(3), false)];
        assert_eq!(begins(path), wanted);
        let (first, third) = (&read(path)[0], &read(path)[2]);
        assert_eq!(first.begin(Channel::Stdout), Some(LogPlace::default()));
        let found = third.begin(Channel::Stdout).unwrap();
        assert_eq!(found.check, u64::from(checksum(b"abc")));
        assert_eq!(found.file, fs::metadata(&log).unwrap().ino());
        // A line that a crash cut off is none, and the next one is read.
        fs::write(super::path(path), "{\"epoch\":1}\n{\"epo").unwrap();
        begin(path, Epoch(2)).unwrap();
        assert_eq!(begins(path), [(1, None, false), (2, Some(3), false)]);
        over(Path::new("/no/such/instance"), Epoch(1)).unwrap();
    }

    #[test]
    fn only_a_file_has_a_begin_and_the_older_lines_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::os::unix::fs::symlink("/dev/null", path.join("stdout.log")).unwrap();
        begin(path, Epoch(1)).unwrap();
        assert_eq!(read(path)[0].begin(Channel::Stdout), None);
        assert_eq!(read(path)[0].begin(Channel::Stderr), Some(LogPlace::default()));
        for epoch in 2..2000 {
            begin(path, Epoch(epoch)).unwrap();
        }
        assert!(fs::metadata(super::path(path)).unwrap().len() < 2 * BYTES_MAX);
        let left = read(path);
        assert!(left.len() > 100 && left.last().unwrap().epoch == Epoch(1999));
        assert!(left.windows(2).all(|two| two[0].epoch < two[1].epoch));
    }
}
