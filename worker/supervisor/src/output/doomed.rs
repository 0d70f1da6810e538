//! Files that are removed although they are big. The kernel frees the room of a file when its last
//! name and its last user are gone, and takes 3 to 8 ms for 50 MB that were just written (measured),
//! in which no child is restarted; so the room is given back piece by piece, with each write.

#![expect(unsafe_code, reason = "fcntl for a lease; its use says why it is sound")]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What is given back at once: 0.1 ms, and much more than what is written meanwhile.
const STEP: u64 = 1 << 20;
/// Most files that wait for it, each of which is a descriptor. More are freed at once.
const FILES_MAX: usize = 16;

/// Files without a name that still have room.
#[derive(Debug, Default)]
pub(super) struct Doomed(Vec<File>);

impl Doomed {
    /// Removes a file.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options().write(true).custom_flags(flags).open(path);
        fs::remove_file(path)?;
        if let Ok(file) = file {
            self.adopt(file);
        }
        Ok(())
    }

    /// Takes a file that was removed.
    pub(super) fn adopt(&mut self, file: File) {
        if self.0.len() < FILES_MAX && is_big(&file) && has_no_other_user(&file) {
            self.0.push(file);
        }
    }

    /// Gives some room back.
    pub(super) fn free_some(&mut self) {
        let Some(file) = self.0.last() else { return };
        let left = file.metadata().map_or(0, |metadata| metadata.len()).saturating_sub(STEP);
        if left == 0 || file.set_len(left).is_err() {
            self.0.pop();
        }
    }
}

/// Whether it is worth it, and it has no other name.
fn is_big(file: &File) -> bool {
    file.metadata().is_ok_and(|m| m.is_file() && m.len() > 2 * STEP && m.nlink() == 0)
}

/// Whoever reads a removed file may go on to its end, and frees it.
fn has_no_other_user(file: &File) -> bool {
    let fd = file.as_raw_fd();
    // SAFETY: both calls take a descriptor that is open, and touch no memory. The kernel grants a
    // lease for writing to the only user of a file (fcntl(2)). Without a name nobody can open it
    // any more, so that the lease is never broken, and it is given back at once.
    unsafe {
        let alone = libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK) == 0;
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK);
        alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &tempfile::TempDir, size: u64) -> std::path::PathBuf {
        let path = directory.path().join("x");
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// Whether a big file was freed in steps. Nobody else may have it open, but a child that another
    /// test starts in this very moment has all files of this process for an instant.
    fn freed_in_steps(directory: &tempfile::TempDir) -> bool {
        let mut doomed = Doomed::default();
        let path = file(directory, 3 * STEP + 1);
        doomed.remove(&path).unwrap();
        assert!(!path.exists());
        for left in [2 * STEP + 1, STEP + 1, 1] {
            doomed.free_some();
            let Some(file) = doomed.0.first() else { return false };
            assert_eq!(file.metadata().unwrap().len(), left);
        }
        doomed.free_some();
        assert!(doomed.0.is_empty());
        assert!(doomed.remove(&path).is_err());
        true
    }

    #[test]
    fn a_big_file_is_freed_in_steps_and_a_small_one_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut doomed = Doomed::default();
        doomed.remove(&file(&directory, STEP)).unwrap();
        assert!(doomed.0.is_empty());
        assert!((0..50).any(|_| freed_in_steps(&directory)));
    }

    #[test]
    fn who_still_has_the_file_keeps_what_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut doomed = Doomed::default();
        let path = file(&directory, 9 * STEP);
        let reader = File::open(&path).unwrap();
        doomed.remove(&path).unwrap();
        doomed.free_some();
        assert_eq!(reader.metadata().unwrap().len(), 9 * STEP);
        let path = file(&directory, 9 * STEP);
        let other = directory.path().join("other name");
        fs::hard_link(&path, &other).unwrap();
        doomed.remove(&path).unwrap();
        doomed.free_some();
        assert_eq!(fs::metadata(other).unwrap().len(), 9 * STEP);
        // A link is removed, and not what it leads to.
        let target = file(&directory, 9 * STEP);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        doomed.remove(&link).unwrap();
        assert!(doomed.0.is_empty() && target.exists());
    }
}
