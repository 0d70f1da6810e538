//! The writing end of a child's standard input. Its pipe is the only buffer: nothing waits in this
//! process, and a child that does not read is told of by how much was taken.
//!
//! Invariant: a request that comes again, because its answer was lost, is not written twice; see
//! [`Writers`].

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Write};
use std::os::fd::RawFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::handover::{Passing, Taking};

/// Writers of one child that are remembered, in 24 bytes each: many more than may have a request on its
/// way, which is repeated for some seconds. An older one that goes on is refused.
const WRITERS_MAX: usize = 1024;

/// The standard input of a child.
#[derive(Debug)]
pub(crate) struct Stdin {
    /// `None` once it is closed.
    pipe: Option<PipeWriter>,
    writers: Writers,
}

/// A standard input, as it is left to another version of the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StdinLeft {
    pipe: Option<RawFd>,
    writers: Writers,
}

/// How far each writer has come, those who wrote last at the end. Pure.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Writers(Vec<(Uuid, u64)>);

/// Makes a standard input; the first is for the child. Both are closed in every other process.
///
/// # Errors
/// Why there is no pipe, for people.
pub(crate) fn pipe() -> Result<(PipeReader, Stdin), String> {
    let open = || -> io::Result<_> {
        let (reader, writer) = io::pipe()?;
        // Only this end: what the child reads from waits, as it expects.
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((reader, writer))
    };
    let (reader, writer) = open().map_err(|e| format!("no pipe for its input: {e}"))?;
    Ok((reader, Stdin { pipe: Some(writer), writers: Writers::default() }))
}

impl Stdin {
    pub(crate) fn hand_over(&self, passing: &mut Passing) -> StdinLeft {
        let pipe = self.pipe.as_ref().map(|pipe| passing.pass(pipe));
        StdinLeft { pipe, writers: self.writers.clone() }
    }

    pub(crate) fn take_over(left: StdinLeft, taking: &mut Taking) -> Result<Stdin, String> {
        let pipe = left.pipe.map(|pipe| taking.take(pipe)).transpose()?.map(PipeWriter::from);
        Ok(Stdin { pipe, writers: left.writers })
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// Writes what the child's pipe takes now of bytes of which `writer` had written `offset` before; then
    /// closes it if all were taken, and that is wanted. Says how many bytes of this writer are written in
    /// all.
    ///
    /// # Errors
    /// Why it cannot be written, for people.
    pub(crate) fn write(
        &mut self,
        writer: Uuid,
        offset: u64,
        bytes: &[u8],
        eof: bool,
    ) -> Result<u64, String> {
        let known = self.writers.place(writer, offset)?;
        // Some of it, or all, was written when it came before.
        let skipped = usize::try_from(known - offset).unwrap_or(usize::MAX).min(bytes.len());
        let left = &bytes[skipped..];
        let Some(pipe) = &mut self.pipe else {
            return if left.is_empty() { Ok(known) } else { Err("is closed".to_owned()) };
        };
        let mut taken = 0;
        while taken < left.len() {
            match pipe.write(&left[taken..]) {
                Ok(0) => break,
                Ok(count) => taken += count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                    self.pipe = None;
                    return Err("was closed by the program itself".to_owned());
                }
                Err(e) => return Err(format!("cannot be written: {e}")),
            }
        }
        let through = known + taken as u64;
        self.writers.advance(writer, through);
        if eof && taken == left.len() {
            self.pipe = None;
        }
        Ok(through)
    }
}

impl Writers {
    /// How far this writer has come, at least `offset`.
    fn place(&self, writer: Uuid, offset: u64) -> Result<u64, String> {
        let known = self.0.iter().find(|(known, _)| *known == writer).map_or(0, |(_, at)| *at);
        if offset > known {
            return Err(format!("is not at byte {offset} of what you write, but at {known}"));
        }
        Ok(known)
    }

    fn advance(&mut self, writer: Uuid, through: u64) {
        if through == 0 {
            return;
        }
        self.0.retain(|(known, _)| *known != writer);
        if self.0.len() >= WRITERS_MAX {
            self.0.remove(0);
        }
        self.0.push((writer, through));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_comes_again_is_written_once_and_others_may_write_between() {
        let (mut reader, mut stdin) = pipe().unwrap();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for (writer, offset, bytes, eof, through) in [
            (one, 0, "", false, 0),
            (one, 0, "abc", false, 3),
            (one, 0, "abc", false, 3),
            (other, 0, "X", false, 1),
            (one, 0, "abcde", false, 5),
            (one, 3, "def", true, 6),
            (one, 3, "def", true, 6),
        ] {
            let came = stdin.write(writer, offset, bytes.as_bytes(), eof);
            assert_eq!(came, Ok(through), "{writer} {offset} {bytes}");
        }
        assert!(stdin.is_closed());
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, "abcXdef");
        assert_eq!(stdin.write(one, 6, b"g", false), Err("is closed".to_owned()));
        let ahead = stdin.write(other, 5, b"g", false).unwrap_err();
        assert!(ahead.contains("at byte 5 of what you write, but at 1"), "{ahead}");
    }

    #[test]
    fn a_full_pipe_takes_a_part_and_is_not_closed_before_all_is_taken() {
        let (mut reader, mut stdin) = pipe().unwrap();
        let (writer, all) = (Uuid::from_u128(1), vec![7; 1 << 20]);
        let taken = stdin.write(writer, 0, &all, true).unwrap();
        assert!(taken > 0 && taken < 1 << 20, "{taken}");
        assert_eq!(stdin.write(writer, 0, &all, true), Ok(taken), "it is full");
        assert!(!stdin.is_closed());
        let mut part = vec![0; 1000];
        reader.read_exact(&mut part).unwrap();
        drop(reader);
        let gone = stdin.write(writer, taken, b"x", false).unwrap_err();
        assert!(gone.contains("closed by the program"), "{gone}");
        assert!(stdin.is_closed());
    }

    #[test]
    fn a_writer_that_was_forgotten_is_not_written_twice() {
        let (_reader, mut stdin) = pipe().unwrap();
        for number in 0..=WRITERS_MAX {
            stdin.write(Uuid::from_u128(number as u128 + 1), 0, b"ab", false).unwrap();
        }
        assert!(stdin.write(Uuid::from_u128(1), 2, b"c", false).is_err());
        assert_eq!(stdin.write(Uuid::from_u128(2), 2, b"c", false), Ok(3));
    }
}
