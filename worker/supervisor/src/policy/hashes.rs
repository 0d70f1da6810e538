//! What is in an executable file, by its SHA-256. The file is held open from then on: what was
//! looked at is what is executed, whatever is put in its place meanwhile.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use ring::digest::{Context, SHA256};

use super::hex;
use crate::files::open_regular;

/// Longest file that is hashed: the supervisor does nothing else meanwhile, and reads some 300 MB in
/// a second.
const BYTES_MAX: u64 = 512 << 20;
/// How much is read at once.
const PIECE_BYTES: usize = 64 << 10;
/// Most files whose hash is kept; more are forgotten all at once. It saves reading the file at each
/// restart.
const KEPT_MAX: usize = 256;
/// Write permission of others than the owner.
const WRITABLE: u32 = 0o022;

/// A file that nobody has written since: device, inode, size, and when it was changed last, which
/// nobody sets by hand.
type Version = (u64, u64, u64, i64, i64);

/// Hashes of files that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Hashes(RefCell<BTreeMap<Version, String>>);

impl Hashes {
    /// Opens an executable file, and says what is in it.
    ///
    /// # Errors
    /// Why its hash would say nothing of what is executed.
    pub(super) fn open(&self, path: &Path) -> Result<(File, String), String> {
        let file = open_regular(path).map_err(|e| format!("it cannot be read: {e}"))?;
        let found = file.metadata().map_err(|e| format!("it cannot be looked at: {e}"))?;
        trusted(&found)?;
        let mut first = [0; 2];
        if file.read_at(&mut first, 0).is_ok_and(|read| read == 2) && first == *b"#!" {
            let why = "it is a script: what is executed is its interpreter, which has another hash";
            return Err(why.to_owned());
        }
        let version = version(&found);
        if let Some(known) = self.0.borrow().get(&version) {
            return Ok((file, known.clone()));
        }
        let hash = hash(&file).map_err(|e| format!("it cannot be read: {e}"))?;
        let mut known = self.0.borrow_mut();
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(version, hash.clone());
        Ok((file, hash))
    }
}

fn version(found: &Metadata) -> Version {
    (found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec())
}

/// Whoever may write the file could write it after it was hashed.
fn trusted(found: &Metadata) -> Result<(), String> {
    let (owner, mode) = (found.uid(), found.mode());
    if ![0, nix::unistd::geteuid().as_raw()].contains(&owner) {
        return Err(format!("user {owner} may write it; it must be root's or the worker's"));
    }
    if mode & WRITABLE != 0 {
        let mode = mode & 0o777;
        return Err(format!("others than its owner may write it: it has mode {mode:03o}"));
    }
    if found.size() > BYTES_MAX {
        return Err(format!("it is longer than {BYTES_MAX} bytes"));
    }
    Ok(())
}

fn hash(mut file: &File) -> io::Result<String> {
    let mut hasher = Context::new(&SHA256);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hex(hasher.finish().as_ref())),
            Ok(read) => hasher.update(&piece[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_file_that_stays_what_it_is_has_a_hash() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x");
        let put = |content: &str, mode| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let hashes = Hashes::default();
        let open = || hashes.open(&path).map(|(_, hash)| hash);
        put("abc", 0o755);
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(open().unwrap(), abc);
        assert_eq!(open().unwrap(), abc, "as it was kept");
        put("abd", 0o755);
        assert_ne!(open().unwrap(), abc);
        put("abc", 0o775);
        assert!(open().unwrap_err().contains("mode 775"));
        put("#!/bin/sh\n", 0o755);
        assert!(open().unwrap_err().contains("script"));
        assert!(hashes.open(&home.path().join("none")).is_err());
    }
}
