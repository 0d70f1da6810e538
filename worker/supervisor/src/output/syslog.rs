//! Lines to the machine's syslog, as RFC 3164 and every syslog daemon's local socket have them:
//! `<30>TAG: line`, one datagram each, with the time left to the daemon.

use std::io::{self, ErrorKind};
use std::mem;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dsbus_schema::moment::BootTime;
use serde::{Deserialize, Serialize};

use super::loss::Dropped;

/// Facility daemon (3), level info (6); Supervisor, too, makes no difference between channels.
const PRIORITY: u8 = 3 * 8 + 6;
/// Longest line in one message, which is what rsyslog takes; a longer one becomes several.
const LINE_BYTES_MAX: usize = 8 * 1024 - 256;
/// Between two tries to reach a daemon that is away.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The way to the daemon, for all children.
#[derive(Debug)]
pub(super) struct Syslog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    retry_at: Option<BootTime>,
}

impl Syslog {
    pub(super) fn new(path: &Path) -> Syslog {
        Syslog { path: path.to_owned(), socket: None, retry_at: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends messages; those that the daemon has no room for are dropped.
    pub(super) fn send(&mut self, messages: &[Vec<u8>], now: BootTime) -> Result<(), Dropped> {
        let mut dropped = Dropped { bytes: 0, why: String::new() };
        for message in messages {
            if let Err(e) = self.send_one(message, now) {
                dropped.bytes += message.len() as u64;
                dropped.why = format!("syslog ({}) takes nothing: {e}", self.path.display());
            }
        }
        if dropped.bytes == 0 { Ok(()) } else { Err(dropped) }
    }

    fn send_one(&mut self, message: &[u8], now: BootTime) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(message) {
                Err(e) if e.kind() != ErrorKind::WouldBlock => {
                    // It was started anew, and has a new socket.
                    self.socket = None;
                    self.retry_at = None;
                }
                other => return other.map(drop),
            }
        }
        self.connect(now)?.send(message).map(drop)
    }

    fn connect(&mut self, now: BootTime) -> io::Result<&UnixDatagram> {
        if self.retry_at.is_some_and(|at| now < at) {
            return Err(ErrorKind::NotConnected.into());
        }
        self.retry_at = Some(now + CONNECT_PAUSE);
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        self.retry_at = None;
        Ok(self.socket.insert(socket))
    }
}

/// Lines of one channel of one child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Lines {
    tag: String,
    /// The beginning of a line that has no end yet.
    #[serde(with = "crate::handover::bytes")]
    begun: Vec<u8>,
}

impl Lines {
    pub(super) fn new(tag: &str) -> Lines {
        Lines { tag: tag.to_owned(), begun: Vec::new() }
    }

    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// The messages of all lines that end here, or are too long.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LINE_BYTES_MAX) {
                if self.begun.len() + part.len() > LINE_BYTES_MAX {
                    messages.extend(self.end());
                }
                self.begun.extend_from_slice(part);
            }
            if piece.ends_with(b"\n") {
                messages.extend(self.end());
            }
        }
        messages
    }

    /// The message of a line that has no end.
    pub(super) fn end(&mut self) -> Option<Vec<u8>> {
        let line = mem::take(&mut self.begun);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return None;
        }
        let mut message = format!("<{PRIORITY}>{}: ", self.tag).into_bytes();
        message.extend_from_slice(line);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(messages: Vec<Vec<u8>>) -> Vec<String> {
        messages.into_iter().map(|message| String::from_utf8(message).unwrap()).collect()
    }

    #[test]
    fn each_line_is_a_message() {
        let mut lines = Lines::new("web_00");
        assert_eq!(texts(lines.hear(b"a\n\nb\r\nc")), ["<30>web_00: a", "<30>web_00: b"]);
        assert_eq!(texts(lines.hear(b"d")), [""; 0]);
        assert_eq!(texts(lines.hear(b"\ne")), ["<30>web_00: cd"]);
        assert_eq!(lines.end().as_deref(), Some(b"<30>web_00: e".as_slice()));
        assert_eq!(lines.end(), None);
        let long = [vec![b'x'; 2 * LINE_BYTES_MAX + 5], b"\n".to_vec()].concat();
        let lengths: Vec<_> = lines.hear(&long).iter().map(Vec::len).collect();
        let head = "<30>web_00: ".len();
        assert_eq!(lengths, [head + LINE_BYTES_MAX, head + LINE_BYTES_MAX, head + 5]);
    }

    #[test]
    fn a_daemon_that_is_away_costs_lines_only_until_it_is_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut syslog = Syslog::new(&path);
        let at = |millis| BootTime(0) + Duration::from_millis(millis);
        let message = [b"<30>a: b".to_vec()];
        let dropped = syslog.send(&message, at(0)).unwrap_err();
        assert!(dropped.bytes == 8 && dropped.why.contains("No such file"), "{dropped:?}");
        let daemon = UnixDatagram::bind(&path).unwrap();
        assert!(syslog.send(&message, at(999)).is_err(), "it is not tried at once");
        syslog.send(&message, at(1000)).unwrap();
        let mut heard = [0; 100];
        assert_eq!(daemon.recv(&mut heard).unwrap(), 8);
        // Started anew.
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        let daemon = UnixDatagram::bind(&path).unwrap();
        syslog.send(&message, at(1001)).unwrap();
        assert_eq!(daemon.recv(&mut heard).unwrap(), 8);
        // Too slow: it blocks nobody.
        while syslog.send(&message, at(1002)).is_ok() {}
        assert_eq!(daemon.recv(&mut heard).unwrap(), 8);
        syslog.send(&message, at(1002)).unwrap();
    }
}
