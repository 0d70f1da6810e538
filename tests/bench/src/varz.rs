//! What the server says of itself: how many messages it got and gave.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::Outcome;

/// Messages since the server started: those that its clients sent, and those that it sent to them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    pub(crate) from_clients: u64,
    pub(crate) to_clients: u64,
}

/// What the server tells at this port and path.
pub(crate) fn monitored(monitor: u16, path: &str) -> Outcome<Value> {
    let mut socket = TcpStream::connect(("127.0.0.1", monitor))?;
    write!(socket, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    Ok(serde_json::from_str(body.ok_or_else(|| format!("{path} answers without a body"))?)?)
}

/// Asks `/varz` at this port.
pub(crate) fn traffic(monitor: u16) -> Outcome<Traffic> {
    let told = monitored(monitor, "/varz")?;
    let count = |key: &str| told[key].as_u64().ok_or_else(|| format!("/varz says no {key}"));
    Ok(Traffic { from_clients: count("in_msgs")?, to_clients: count("out_msgs")? })
}
