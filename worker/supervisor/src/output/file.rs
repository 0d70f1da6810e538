//! A log file that rotates by size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dsbus_schema::status::STDERR_LINE_BYTES_MAX;

/// When a file is rotated, and what becomes of the rotated ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rotation {
    /// Size at which it is rotated; 0 is never.
    pub bytes_max: u64,
    /// How many rotated files are kept; with 0 the file begins anew.
    pub backups: u32,
    /// Whether rotated files are compressed.
    pub compress: bool,
    /// Rotated files that are older are removed.
    pub max_age: Option<Duration>,
}

/// A log file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    rotation: Rotation,
    /// The end of what was written, for the last line.
    tail: Vec<u8>,
    /// Why writing fails, told once.
    trouble: Option<String>,
    dropped: u64,
}

impl LogFile {
    /// Opens a log to append to.
    pub fn open(path: PathBuf, rotation: Rotation) -> LogFile {
        let mut log = LogFile {
            path,
            file: None,
            size: 0,
            rotation,
            tail: Vec::new(),
            trouble: None,
            dropped: 0,
        };
        log.reopen();
        log
    }

    /// Opens the file again: somebody else may have moved it.
    pub fn reopen(&mut self) {
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
    pub fn write(&mut self, bytes: &[u8]) {
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
        if self.rotation.bytes_max > 0 && self.size >= self.rotation.bytes_max {
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
        if self.rotation.backups == 0 {
            let _ = fs::remove_file(&self.path);
        }
        for n in (1..=self.rotation.backups).rev() {
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
    pub fn last_line(&self) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_loses_no_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout.log");
        let mut log = LogFile::open(
            path.clone(),
            Rotation { bytes_max: 100, backups: 3, ..Rotation::default() },
        );
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
        let mut log =
            LogFile::open(path.clone(), Rotation { bytes_max: 10, ..Rotation::default() });
        log.write(b"0123456789");
        log.write(b"abc");
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert!(!backup(&path, 1).exists());
    }

    #[test]
    fn the_last_line_is_short_and_not_empty() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(directory.path().join("x"), Rotation::default());
        assert_eq!(log.last_line(), None);
        log.write(b"first\nsecond \xff\n\n  \n");
        assert_eq!(log.last_line().as_deref(), Some("second \u{fffd}"));
        log.write("ä".repeat(5000).as_bytes());
        assert!(log.last_line().unwrap().len() <= STDERR_LINE_BYTES_MAX);
    }

    #[test]
    fn a_file_that_cannot_be_written_stops_nothing() {
        let mut log = LogFile::open("/no/such/directory/x".into(), Rotation::default());
        log.write(b"lost");
        assert_eq!((log.dropped, log.last_line().as_deref()), (4, Some("lost")));
    }
}
