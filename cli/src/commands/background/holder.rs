//! Who holds the file of a daemon's process id.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::failure::Failure;

/// Longest text that is taken for a process id.
const TEXT_BYTES_MAX: u64 = 32;
/// A file whose process lives, and that is not locked, is looked at again so often, with a pause: a
/// daemon that brings in a new binary locks it anew.
const LOOKS: usize = 20;
const LOOK_AGAIN_MILLIS: u16 = 50;

/// A daemon that runs.
#[derive(Debug)]
pub(super) struct Holder {
    /// Its process id.
    pub(super) pid: i32,
    /// The process itself: its number may be another one's when it has ended.
    process: OwnedFd,
}

/// What a file with a process id says.
#[derive(Debug)]
pub(super) enum Found {
    /// This one runs.
    Runs(Holder),
    /// It names one that has ended.
    Stale(i32),
    /// It names one that has ended, and whose number another process has by now.
    Foreign(i32),
    /// There is none.
    Nobody,
}

/// Who holds it.
///
/// # Errors
/// When it cannot be read.
pub(super) fn find(path: &Path) -> Result<Found, Failure> {
    let mut found = Found::Nobody;
    for _ in 0..LOOKS {
        found = match look(path) {
            Ok(Looked::Final(found)) => return Ok(found),
            Ok(Looked::Again(found)) => found,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Nobody),
            Err(e) => {
                return Err(Failure::failed(format!("{} cannot be read: {e}", path.display())));
            }
        };
        let _ = poll(&mut [], PollTimeout::from(LOOK_AGAIN_MILLIS));
    }
    Ok(found)
}

enum Looked {
    Final(Found),
    /// This, if it stays so.
    Again(Found),
}

fn look(path: &Path) -> io::Result<Looked> {
    let file = File::open(path)?;
    let pid = read(&file)?;
    let process = pid.and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    // Asked for after the process was: so it is the one that held it then.
    let locked = match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => false,
        Err((_, Errno::EWOULDBLOCK)) => true,
        Err((_, e)) => return Err(e.into()),
    };
    Ok(match (pid, process, locked) {
        (Some(pid), Some(Ok(process)), true) if read(&File::open(path)?)? == Some(pid) => {
            Looked::Final(Found::Runs(Holder { pid, process }))
        }
        (Some(pid), Some(Err(_)), false) => Looked::Final(Found::Stale(pid)),
        // One that has ended, and that nobody has asked how, is nobody else.
        (Some(pid), Some(Ok(process)), _) if !has_ended(&process, PollTimeout::ZERO)? => {
            Looked::Again(Found::Foreign(pid))
        }
        (Some(pid), _, _) => Looked::Again(Found::Stale(pid)),
        (None, _, false) => Looked::Final(Found::Nobody),
        (None, _, true) => Looked::Again(Found::Nobody),
    })
}

fn read(file: &File) -> io::Result<Option<i32>> {
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes)?;
    let number = String::from_utf8_lossy(&bytes).trim().parse().ok();
    Ok(number.filter(|pid| *pid > 0))
}

impl Holder {
    /// Tells it to stop.
    ///
    /// # Errors
    /// When it is another user's.
    pub(super) fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Tells it something.
    ///
    /// # Errors
    /// When it is another user's.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.process, signal) {
            // It has just ended.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether it has ended, after `limit` at most.
    ///
    /// # Errors
    /// When that cannot be seen.
    pub(super) fn ended_within(&self, limit: Duration) -> io::Result<bool> {
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        has_ended(&self.process, limit)
    }
}

fn has_ended(process: &OwnedFd, limit: PollTimeout) -> io::Result<bool> {
    let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut ended, limit)? > 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn only_one_that_is_locked_names_a_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        assert!(matches!(find(&path).unwrap(), Found::Nobody));
        fs::write(&path, "").unwrap();
        assert!(matches!(find(&path).unwrap(), Found::Nobody));
        // This process's number was given to it after the daemon had ended.
        let me = i32::try_from(std::process::id()).unwrap();
        fs::write(&path, format!("{me}\n")).unwrap();
        assert!(matches!(find(&path).unwrap(), Found::Foreign(pid) if pid == me));
        let mut ended = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
        ended.wait().unwrap();
        fs::write(&path, ended.id().to_string()).unwrap();
        assert!(matches!(find(&path).unwrap(), Found::Stale(_)));
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let file = File::options().write(true).truncate(true).open(&path).unwrap();
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        write!(lock, "{}", child.id()).unwrap();
        let Found::Runs(holder) = find(&path).unwrap() else { panic!("it runs") };
        assert!(!holder.ended_within(Duration::ZERO).unwrap());
        holder.terminate().unwrap();
        assert!(holder.ended_within(Duration::from_secs(60)).unwrap());
        child.wait().unwrap();
        holder.terminate().unwrap();
    }
}
