//! The file with a daemon's process id.
//!
//! It is locked as long as its daemon lives. So one that is not locked is stale, whichever process
//! has its number by now.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dsbus_supervisor::{lock_alone, owned};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// How often the file may vanish between its opening and its locking, because a daemon ends.
const TRIES: usize = 10;
/// Longest text that is taken for a process id.
const TEXT_BYTES_MAX: u64 = 32;

/// A pidfile that was written.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    lock: Flock<File>,
}

/// A pidfile, as it is left to another version of the worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PidFileLeft {
    path: PathBuf,
    /// The locked file.
    pub(super) lock: RawFd,
}

impl PidFile {
    /// Writes this process's id, in the place of one that is stale.
    ///
    /// # Errors
    /// When a daemon lives whose file it is, or it cannot be written.
    pub(super) fn write(path: &Path, what: &str) -> Result<PidFile, Failure> {
        let shown = path.display();
        let wrong =
            |e: io::Error| Failure::failed(format!("failed to write the pidfile {shown}: {e}"));
        for _ in 0..TRIES {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(path).map_err(wrong)?;
            let mut lock = match lock_alone(file) {
                Ok(lock) => lock,
                Err((file, e)) => {
                    let holder = text(&file).map_err(wrong)?;
                    return Err(not_locked(path, what, holder.trim(), e));
                }
            };
            let old = text(&lock).map_err(wrong)?;
            if !old.trim().is_empty() && old.trim().parse::<u32>().is_err() {
                return Err(Failure::failed(format!(
                    "{shown} is not overwritten: what it holds is no process id"
                ))
                .hint("is it really the pidfile?"));
            }
            if !same(&lock, path) {
                continue;
            }
            lock.set_len(0)
                .and_then(|()| lock.rewind())
                .and_then(|()| writeln!(lock, "{}", std::process::id()))
                .map_err(wrong)?;
            return Ok(PidFile { path: path.to_owned(), lock });
        }
        Err(Failure::failed(format!("the pidfile {shown} vanishes again and again")))
    }

    /// What is left of it to another version of the worker.
    pub(super) fn left(&self) -> PidFileLeft {
        PidFileLeft { path: self.path.clone(), lock: self.lock.as_raw_fd() }
    }

    /// What another version of the worker left: the process is the same, and so is its number.
    ///
    /// # Errors
    /// When it was not left.
    pub(super) fn taken_over(left: PidFileLeft) -> Result<PidFile, Failure> {
        let shown = left.path.display().to_string();
        let wrong =
            |why: String| Failure::failed(format!("failed to keep the pidfile {shown}: {why}"));
        let file = File::from(owned(left.lock).map_err(wrong)?);
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(file, e)| {
            // It stays open: the version before takes it back.
            let _ = file.into_raw_fd();
            wrong(e.desc().to_owned())
        });
        Ok(PidFile { path: left.path, lock: lock? })
    }

    /// Removes it: the daemon ends.
    pub(super) fn remove(self) {
        if let Err(e) = fs::remove_file(&self.path) {
            tracing::warn!("the pidfile {} cannot be removed: {e}", self.path.display());
        }
    }
}

/// Why a pidfile that holds this could not be locked.
fn not_locked(path: &Path, what: &str, holder: &str, e: Errno) -> Failure {
    let shown = path.display();
    if e != Errno::EWOULDBLOCK {
        return Failure::failed(format!("the pidfile {shown} cannot be locked: {e}"));
    }
    Failure::failed(format!("another {what} (pid {holder}) lives, and has the pidfile {shown}"))
        .hint(format!("give each {what} of this machine a pidfile of its own"))
}

fn text(file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the path still leads to this file: who had it may have removed it.
fn same(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        (Ok(_) | Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_has_it_at_a_time_and_a_stale_one_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        // A number that lives, and has no lock: it was given to another process meanwhile.
        fs::write(&path, "1\n").unwrap();
        let mine = PidFile::write(&path, "worker").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let said = PidFile::write(&path, "worker").unwrap_err().message;
        assert!(said.contains(&format!("pid {}", std::process::id())), "{said}");
        mine.remove();
        assert!(!path.exists());
        PidFile::write(&path, "worker").unwrap();
    }

    #[test]
    fn only_a_lock_that_somebody_has_means_another_worker() {
        let said = |e| not_locked(Path::new("/run/w.pid"), "worker", "7", e).message;
        assert!(said(Errno::EWOULDBLOCK).starts_with("another worker (pid 7) lives"));
        let no_locks = said(Errno::ENOLCK);
        assert!(no_locks.starts_with("the pidfile /run/w.pid cannot be locked: "), "{no_locks}");
        assert!(no_locks.contains("ENOLCK") && !no_locks.contains("another"), "{no_locks}");
    }

    #[test]
    fn what_is_no_pidfile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("letter");
        fs::write(&path, "Dear Ann, this is long enough to be none.\n").unwrap();
        assert!(PidFile::write(&path, "worker").unwrap_err().message.contains("no process id"));
        assert!(fs::read_to_string(&path).unwrap().starts_with("Dear Ann"));
    }
}
