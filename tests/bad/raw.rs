//! A plain client: what it says need be no JSON, and no subject that dsbus would make.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use dsbus_harness::wait_for;
use serde_json::Value;

use crate::fleet::DEADLINE;

/// After this time without an answer one asks again: a busy machine answers within it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A connection, and how many questions it asked.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: BufReader<TcpStream>,
    asked: usize,
}

/// A code, and what was said; 0 and the body where nobody refused, or nobody listens.
pub(crate) type Said = (u64, String);

impl Raw {
    pub(crate) fn connect(port: u16) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut raw = Raw { stream: BufReader::new(stream), asked: 0 };
        raw.patience(DEADLINE);
        let options = r#"{"verbose":false,"headers":true,"no_responders":true}"#;
        raw.write(format!("CONNECT {options}\r\nSUB raw.* 1\r\n").as_bytes());
        raw
    }

    /// Asks, and waits for the answer. A scheduler that was busy lets drop what it was asked meanwhile:
    /// it is asked again.
    pub(crate) fn ask(&mut self, subject: &str, body: &[u8]) -> Said {
        let first = self.asked + 1;
        wait_for(&format!("an answer to {subject}"), DEADLINE, || {
            self.ask_once(first, subject, body)
        })
    }

    /// `first` numbers the first time that the same was asked.
    fn ask_once(&mut self, first: usize, subject: &str, body: &[u8]) -> Option<Said> {
        self.asked += 1;
        let inbox = format!("raw.{}", self.asked);
        self.publish(&format!("PUB {subject} {inbox} {}", body.len()), body);
        while self.has_more() {
            let Some((to, message)) = self.message() else { continue };
            // An answer to a question before may come late.
            if to.strip_prefix("raw.").and_then(|to| to.parse::<usize>().ok()) >= Some(first) {
                return Some(read(&message));
            }
        }
        None
    }

    /// Whether anything comes within the time after which one asks again.
    fn has_more(&mut self) -> bool {
        self.patience(ANSWER_WITHIN);
        let more = match self.stream.fill_buf() {
            Ok(bytes) => !bytes.is_empty(),
            Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()) => false,
            Err(e) => panic!("{e}"),
        };
        self.patience(DEADLINE);
        more
    }

    fn patience(&self, patience: Duration) {
        self.stream.get_ref().set_read_timeout(Some(patience)).unwrap();
    }

    /// Says something, with this line before it, and waits until the server has taken it.
    pub(crate) fn say(&mut self, subject: &str, headers: &str, body: &[u8]) {
        if headers.is_empty() {
            self.publish(&format!("PUB {subject} {}", body.len()), body);
        } else {
            let headers = format!("NATS/1.0\r\n{headers}\r\n\r\n");
            let all = [headers.as_bytes(), body].concat();
            self.publish(&format!("HPUB {subject} {} {}", headers.len(), all.len()), &all);
        }
        self.write(b"PING\r\n");
        while self.line() != "PONG" {}
    }

    fn publish(&mut self, line: &str, body: &[u8]) {
        self.write(&[line.as_bytes(), b"\r\n", body, b"\r\n"].concat());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        assert!(!line.starts_with("-ERR"), "{line}");
        if line == "PING" {
            self.write(b"PONG\r\n");
        }
        line
    }

    /// What the server says next, where it is a message: its subject, and its headers and body.
    fn message(&mut self) -> Option<(String, Vec<u8>)> {
        let line = self.line();
        let words: Vec<&str> = line.split(' ').collect();
        let ["MSG" | "HMSG", to, .., size] = words.as_slice() else { return None };
        let mut message = vec![0; size.parse::<usize>().unwrap() + 2];
        self.stream.read_exact(&mut message).unwrap();
        Some(((*to).to_owned(), message))
    }
}

/// A refusal is an object with a code.
fn read(message: &[u8]) -> Said {
    let text = String::from_utf8_lossy(message).trim().to_owned();
    let body = text.split_once("\r\n\r\n").map_or(text.as_str(), |(_, body)| body);
    let refused: Value = serde_json::from_str(body).unwrap_or_default();
    match refused["code"].as_u64() {
        Some(code) => (code, refused["error"].as_str().unwrap_or_default().to_owned()),
        None => (0, body.to_owned()),
    }
}
