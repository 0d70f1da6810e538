//! A NATS client that is as plain as can be: it sends what it is told, and hears what is refused.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::fleet::DEADLINE;

/// A connection.
pub(super) struct Wire {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
    subscriptions: u32,
}

impl Wire {
    /// Connects by a seed.
    pub(super) fn connect(port: u16, seed: &str) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        let mut wire = Wire { stream, lines, subscriptions: 0 };
        let info = wire.line();
        let info: Value = serde_json::from_str(info.strip_prefix("INFO ").unwrap()).unwrap();
        let pair = KeyPair::from_seed(seed).unwrap();
        let signed = pair.sign(info["nonce"].as_str().unwrap().as_bytes()).unwrap();
        let connect = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "test", "version": "1", "protocol": 1,
            "nkey": pair.public_key(), "sig": URL_SAFE_NO_PAD.encode(signed),
        });
        wire.send(&format!("CONNECT {connect}\r\n"));
        assert_eq!(wire.refusal(), None, "it is let in");
        wire
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the server hung up");
        line.trim_end().to_owned()
    }

    /// What the server refused of what was sent before.
    fn refusal(&mut self) -> Option<String> {
        self.send("PING\r\n");
        let mut refused = None;
        loop {
            let line = self.line();
            match line.split(' ').next().unwrap() {
                "PONG" => return refused,
                "-ERR" => {
                    assert!(line.contains("Permissions Violation"), "{line}");
                    refused = Some(line);
                }
                // A message, and its payload.
                "MSG" | "HMSG" => {
                    let bytes: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
                    let mut payload = vec![0; bytes + 2];
                    std::io::Read::read_exact(&mut self.lines, &mut payload).unwrap();
                }
                _ => {}
            }
        }
    }

    /// Publishes; whether that is permitted.
    pub(super) fn may_publish(&mut self, subject: &str) -> bool {
        self.send(&format!("PUB {subject} 2\r\n{{}}\r\n"));
        self.refusal().is_none()
    }

    /// Asks itself something and names `reply` for the answer; whether it may publish there then.
    pub(super) fn may_answer(&mut self, asked: &str, reply: &str) -> bool {
        self.subscriptions += 1;
        let id = self.subscriptions;
        self.send(&format!("SUB {asked} {id}\r\nPUB {asked} {reply} 2\r\n{{}}\r\n"));
        assert_eq!(self.refusal(), None, "{asked}");
        let permitted = self.may_publish(reply);
        self.send(&format!("UNSUB {id}\r\n"));
        permitted
    }

    /// Subscribes; whether that is permitted.
    pub(super) fn may_subscribe(&mut self, subject: &str) -> bool {
        self.subscriptions += 1;
        let id = self.subscriptions;
        self.send(&format!("SUB {subject} {id}\r\n"));
        let permitted = self.refusal().is_none();
        if permitted {
            self.send(&format!("UNSUB {id}\r\n"));
        }
        permitted
    }
}
