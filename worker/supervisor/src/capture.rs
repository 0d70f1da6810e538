//! A child's output: out of a pipe, into a file that rotates.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use dsbus_schema::status::STDERR_LINE_BYTES_MAX;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Bytes read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;
/// Bytes read from one pipe before others have their turn.
const TURN: usize = 4 * CHUNK;
/// Bytes read from a pipe after its child has ended. What a grandchild that holds the pipe open
/// writes later is not the child's.
const REST_MAX: usize = 16 * CHUNK;

/// A log file of one channel of one instance.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    bytes_max: u64,
    backups: u32,
    /// The end of what was written, for the last line.
    tail: Vec<u8>,
    /// Why writing fails, told once.
    trouble: Option<String>,
    dropped: u64,
}

impl Log {
    /// Opens a log to append to.
    pub(crate) fn open(path: PathBuf, bytes_max: u64, backups: u32) -> Log {
        let mut log = Log {
            path,
            file: None,
            size: 0,
            bytes_max,
            backups,
            tail: Vec::new(),
            trouble: None,
            dropped: 0,
        };
        log.reopen();
        log
    }

    fn reopen(&mut self) {
        match OpenOptions::new().create(true).append(true).open(&self.path) {
            Ok(file) => {
                self.size = file.metadata().map_or(0, |m| m.len());
                self.file = Some(file);
            }
            Err(e) => self.fail(&e, 0),
        }
    }

    /// Appends. A disk that is full stops no child: what cannot be written is dropped, counted, and
    /// told.
    fn write(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(2 * STDERR_LINE_BYTES_MAX);
        self.tail.drain(..surplus);
        if self.file.is_none() {
            self.reopen();
        }
        let Some(file) = &mut self.file else {
            self.dropped += bytes.len() as u64;
            return;
        };
        match file.write_all(bytes) {
            Ok(()) => {
                self.size += bytes.len() as u64;
                self.recovered();
            }
            Err(e) => self.fail(&e, bytes.len()),
        }
        if self.bytes_max > 0 && self.size >= self.bytes_max {
            self.rotate();
        }
    }

    fn fail(&mut self, error: &io::Error, bytes: usize) {
        self.dropped += bytes as u64;
        let why = error.to_string();
        if self.trouble.as_ref() != Some(&why) {
            tracing::error!("{} cannot be written: {why}", self.path.display());
            self.trouble = Some(why);
        }
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            let path = self.path.display();
            tracing::warn!("{path} can be written again; {} bytes were dropped", self.dropped);
            self.dropped = 0;
        }
    }

    /// `.N-1` becomes `.N`, and so on; without backups the file begins anew (Supervisor's rule).
    fn rotate(&mut self) {
        self.file = None;
        if self.backups == 0 {
            let _ = fs::remove_file(&self.path);
        }
        for n in (1..=self.backups).rev() {
            let older = backup(&self.path, n);
            let newer = if n == 1 { self.path.clone() } else { backup(&self.path, n - 1) };
            if newer.exists()
                && let Err(e) = fs::rename(&newer, &older)
            {
                self.fail(&e, 0);
            }
        }
        self.reopen();
    }

    /// The last line that is not empty.
    pub(crate) fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.tail);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        let cut = line.len().saturating_sub(STDERR_LINE_BYTES_MAX);
        let start = (cut..=line.len()).find(|at| line.is_char_boundary(*at))?;
        Some(line[start..].to_owned())
    }
}

fn backup(path: &Path, n: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

/// A pipe that is read into a log.
#[derive(Debug)]
pub(crate) struct Capture {
    /// `None` once it is closed.
    pipe: Option<PipeReader>,
    pub(crate) log: Log,
}

impl Capture {
    /// Reads `pipe` into `log` from now on.
    ///
    /// # Errors
    /// When the pipe cannot be made non-blocking.
    pub(crate) fn new(pipe: PipeReader, log: Log) -> io::Result<Capture> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_loses_no_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout.log");
        let mut log = Log::open(path.clone(), 100, 3);
        let text: Vec<u8> = (0..37u8).cycle().take(350).map(|n| b'a' + n % 26).collect();
        for piece in text.chunks(35) {
            log.write(piece);
        }
        let mut read = Vec::new();
        for path in [backup(&path, 3), backup(&path, 2), backup(&path, 1), path] {
            read.extend(fs::read(path).unwrap_or_default());
        }
        assert_eq!(read, text);
    }

    #[test]
    fn without_backups_it_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout.log");
        let mut log = Log::open(path.clone(), 10, 0);
        log.write(b"0123456789");
        log.write(b"abc");
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert!(!backup(&path, 1).exists());
    }

    #[test]
    fn the_last_line_is_short_and_not_empty() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::open(directory.path().join("x"), 0, 0);
        assert_eq!(log.last_line(), None);
        log.write(b"first\nsecond \xff\n\n  \n");
        assert_eq!(log.last_line().as_deref(), Some("second \u{fffd}"));
        log.write("ä".repeat(5000).as_bytes());
        assert!(log.last_line().unwrap().len() <= STDERR_LINE_BYTES_MAX);
    }

    #[test]
    fn a_file_that_cannot_be_written_stops_nothing() {
        let mut log = Log::open("/no/such/directory/x".into(), 0, 0);
        log.write(b"lost");
        assert_eq!((log.dropped, log.last_line().as_deref()), (4, Some("lost")));
    }
}
