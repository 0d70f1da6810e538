//! Hears everything that is said on a bus, by NATS' own words, and notes when: what a listener
//! would see, and no more work for the daemons than one listener is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Outcome;
use crate::clock::{Moment, now};

/// Something that was said.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) subject: String,
    /// Whether it says that something is RUNNING.
    pub(crate) running: bool,
    pub(crate) at: Moment,
}

/// Hears until the server ends.
#[derive(Debug)]
pub(crate) struct Ear {
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Ear {
    /// Listens from now on.
    pub(crate) fn listen(port: u16) -> Outcome<Ear> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n")?;
        socket.write_all(b"SUB dsbus.*.event.> 1\r\nSUB $KV.> 2\r\nPING\r\n")?;
        let mut lines = BufReader::new(socket.try_clone()?);
        let mut line = String::new();
        while !line.starts_with("PONG") {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                return Err("the bus does not answer".into());
            }
        }
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heard);
        std::thread::spawn(move || {
            while let Ok(said) = one(&mut lines, &mut socket) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).extend(said);
            }
        });
        Ok(Ear { heard })
    }

    /// Begins anew.
    pub(crate) fn forget(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How much was heard of this kind, and when the last of it.
    pub(crate) fn last(&self, of: impl Fn(&Heard) -> bool) -> (usize, Option<Moment>) {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = || heard.iter().filter(|heard| of(heard)).map(|heard| heard.at);
        (of_it().count(), of_it().max())
    }

    /// When the first of this kind was heard.
    pub(crate) fn first(&self, of: impl Fn(&Heard) -> bool) -> Option<Moment> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().find(|heard| of(heard)).map(|heard| heard.at)
    }
}

/// One line of the protocol, and what it announces.
fn one(lines: &mut BufReader<TcpStream>, socket: &mut TcpStream) -> Outcome<Option<Heard>> {
    let mut line = String::new();
    if lines.read_line(&mut line)? == 0 {
        return Err("closed".into());
    }
    let at = now();
    let words: Vec<&str> = line.split_whitespace().collect();
    match (words.as_slice(), words.last()) {
        (["PING"], _) => socket.write_all(b"PONG\r\n")?,
        (["MSG" | "HMSG", subject, ..], Some(size)) => {
            let mut body = vec![0; size.parse::<usize>()? + 2];
            lines.read_exact(&mut body)?;
            let running = String::from_utf8_lossy(&body).contains("\"state\":\"RUNNING\"");
            return Ok(Some(Heard { subject: (*subject).to_owned(), running, at }));
        }
        _ => {}
    }
    Ok(None)
}
