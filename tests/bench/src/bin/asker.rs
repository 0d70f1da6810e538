//! Connects to a NATS server, sends one request, and reads the answer, with nothing around it:
//! `bench-asker HOST:PORT SUBJECT`. The floor of a verb that asks one thing.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(address), Some(subject)) = (words.next(), words.next()) else {
        return Err("usage: bench-asker HOST:PORT SUBJECT".into());
    };
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let mut heard = BufReader::new(socket.try_clone()?);
    let mut line = String::new();
    heard.read_line(&mut line)?;
    if !line.starts_with("INFO ") {
        return Err(format!("no NATS server: {line}").into());
    }
    write!(
        socket,
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"lang\":\"bench\",\"version\":\"0\"}}\r\n\
         SUB _INBOX.bench 1\r\nPUB {subject} _INBOX.bench 2\r\n{{}}\r\n"
    )?;
    loop {
        line.clear();
        if heard.read_line(&mut line)? == 0 {
            return Err("the server hung up".into());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["PING"] => socket.write_all(b"PONG\r\n")?,
            ["MSG" | "HMSG", .., size] => {
                let mut answer = vec![0; size.parse()?];
                heard.read_exact(&mut answer)?;
                // An answer of the schedulers is an array of rows.
                if answer.contains(&b'[') {
                    return Ok(());
                }
                return Err(format!("refused: {}", String::from_utf8_lossy(&answer)).into());
            }
            ["-ERR", ..] => return Err(line.into()),
            _ => {}
        }
    }
}
