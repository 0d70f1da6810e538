//! A child's output: out of a pipe, into a file that rotates.

mod file;

use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

pub use file::{LogFile, Rotation};

/// Bytes read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;
/// Bytes read from one pipe before others have their turn.
const TURN: usize = 4 * CHUNK;
/// Bytes read from a pipe after its child has ended. What a grandchild that holds the pipe open
/// writes later is not the child's.
const REST_MAX: usize = 16 * CHUNK;

/// A pipe that is read into a log.
#[derive(Debug)]
pub(crate) struct Capture {
    /// `None` once it is closed.
    pipe: Option<PipeReader>,
    pub(crate) log: LogFile,
}

impl Capture {
    /// Reads `pipe` into `log` from now on.
    ///
    /// # Errors
    /// When the pipe cannot be made non-blocking.
    pub(crate) fn new(pipe: PipeReader, log: LogFile) -> io::Result<Capture> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Capture { pipe: Some(pipe), log })
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads for one turn, and closes the pipe when all its writers have.
    pub(crate) fn read(&mut self) {
        if !self.read_up_to(TURN) {
            self.pipe = None;
        }
    }

    /// Reads what is left after the child has ended.
    pub(crate) fn drain(&mut self) {
        self.read_up_to(REST_MAX);
    }

    fn read_up_to(&mut self, limit: usize) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let mut chunk = vec![0; CHUNK];
        let mut read = 0;
        while read < limit {
            match pipe.read(&mut chunk) {
                Ok(0) => return false,
                Ok(n) => {
                    self.log.write(&chunk[..n]);
                    read += n;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}
