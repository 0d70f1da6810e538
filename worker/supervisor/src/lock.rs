//! Files that are locked as long as a daemon lives.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollTimeout, poll};

/// Whoever only looks whether a daemon lives (`dsbus worker status`) has its file locked for a moment:
/// it is tried again so often, with a pause.
const TRIES: usize = 20;
const PAUSE_MILLIS: u16 = 10;

/// Locks a file for this process alone.
///
/// # Errors
/// When another process keeps it locked, or it cannot be locked; gives the file back.
pub fn lock_alone(file: File) -> Result<Flock<File>, (File, Errno)> {
    lock_with(file, || {
        let _ = poll(&mut [], PollTimeout::from(PAUSE_MILLIS));
    })
}

fn lock_with(mut file: File, mut pause: impl FnMut()) -> Result<Flock<File>, (File, Errno)> {
    for _ in 1..TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((there, Errno::EWOULDBLOCK)) => file = there,
            done => return done,
        }
        pause();
    }
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_for_a_moment_is_waited_for_and_whoever_has_it_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let open = || File::options().create(true).append(true).open(&path).unwrap();
        let mut looks = Some(Flock::lock(open(), FlockArg::LockSharedNonblock).unwrap());
        let lock = lock_with(open(), || drop(looks.take())).unwrap();
        let mut pauses = 0;
        let refused = lock_with(open(), || pauses += 1).unwrap_err();
        assert_eq!((refused.1, pauses), (Errno::EWOULDBLOCK, TRIES - 1));
        drop(lock);
        lock_alone(open()).unwrap();
    }
}
