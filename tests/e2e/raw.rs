//! A connection to the server past every client, for what none of them would send.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::fleet::DEADLINE;

/// A stored message.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
}

/// A connection.
pub(crate) struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    pub(crate) fn connect(port: u16, user: &str, password: &str) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut raw = Raw { stream: BufReader::new(stream) };
        let who = json!({ "user": user, "pass": password, "verbose": false, "headers": true });
        raw.send(format!("CONNECT {who}\r\n").as_bytes());
        raw.settled();
        raw
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.stream.read_line(&mut line).unwrap() > 0, "the server hung up");
        line
    }

    /// Waits until the server has taken everything; fails when it refused something.
    pub(crate) fn settled(&mut self) {
        self.send(b"PING\r\n");
        loop {
            let line = self.line();
            assert!(!line.starts_with("-ERR"), "{line}");
            if line.starts_with("PONG") {
                return;
            }
        }
    }

    /// Asks something, and has the answer sent to `reply`.
    pub(crate) fn ask_for(&mut self, subject: &str, reply: &str, body: &str) {
        self.send(format!("PUB {subject} {reply} {}\r\n{body}\r\n", body.len()).as_bytes());
        self.settled();
    }

    /// Publishes with these headers; the sequence under which it was stored.
    pub(crate) fn publish(&mut self, subject: &str, headers: &str, body: &[u8]) -> u64 {
        let (size, all) = (headers.len(), headers.len() + body.len());
        self.send(b"SUB stored 2\r\n");
        self.send(format!("HPUB {subject} stored {size} {all}\r\n{headers}").as_bytes());
        self.send(body);
        self.send(b"\r\n");
        let answer = self.answer();
        self.send(b"UNSUB 2\r\n");
        answer["seq"].as_u64().unwrap()
    }

    /// The next message, which is JSON.
    fn answer(&mut self) -> Value {
        let size = loop {
            let line = self.line();
            assert!(!line.starts_with("-ERR"), "{line}");
            if line.starts_with("MSG ") {
                break line.split_whitespace().last().unwrap().parse().unwrap();
            }
        };
        let mut answer = vec![0; size];
        self.stream.read_exact(&mut answer).unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    /// The last message under a key of the fleet bucket.
    pub(crate) fn last(&mut self, key: &str) -> Stored {
        use base64::Engine;
        let decode = |text: &Value| {
            let text = text.as_str().unwrap_or_default();
            base64::engine::general_purpose::STANDARD.decode(text).unwrap()
        };
        let body = json!({ "last_by_subj": format!("$KV.dsbus_fleet.{key}") }).to_string();
        self.send(b"SUB answer 1\r\n");
        let ask = "$JS.API.STREAM.MSG.GET.KV_dsbus_fleet";
        self.send(format!("PUB {ask} answer {}\r\n{body}\r\n", body.len()).as_bytes());
        let answer = self.answer();
        self.send(b"UNSUB 1\r\n");
        let message = &answer["message"];
        Stored {
            seq: message["seq"].as_u64().unwrap_or_default(),
            headers: String::from_utf8(decode(&message["hdrs"])).unwrap(),
            body: decode(&message["data"]),
        }
    }
}
