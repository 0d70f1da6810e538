//! What a NATS server says of itself on its monitoring port.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For one answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Whether it is up and abreast of all its streams.
pub(crate) async fn healthy(address: &str) -> Result<(), String> {
    let said = get(address, "/healthz").await.ok_or_else(|| format!("{address} is silent"))?;
    if said["status"] == "ok" { Ok(()) } else { Err(format!("{address}: {said}")) }
}

/// Whether it says of itself that it leads a stream; what it says of others is no news.
pub(crate) async fn leads(address: &str, name: &str, stream: &str) -> bool {
    let Some(jsz) = get(address, "/jsz?streams=true").await else { return false };
    let accounts = jsz["account_details"].as_array().into_iter().flatten();
    let mut streams = accounts.filter_map(|a| a["stream_detail"].as_array()).flatten();
    streams.any(|s| s["name"] == stream && s["cluster"]["leader"] == name)
}

/// Whether a connection of this name is to it.
pub(crate) async fn serves(address: &str, connection: &str) -> bool {
    let Some(connz) = get(address, "/connz").await else { return false };
    let mut connections = connz["connections"].as_array().into_iter().flatten();
    connections.any(|one| one["name"] == connection)
}

async fn get(address: &str, path: &str) -> Option<Value> {
    let asked = async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        socket.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    };
    timeout(ANSWER_MAX, asked).await.ok()?
}
