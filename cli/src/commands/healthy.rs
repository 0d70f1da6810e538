//! `dsbus healthy`: whether one daemon is well, for the health checks of containers.

use std::time::Duration;

use dsbus_client::{Entry, Error, Item, Value};
use dsbus_schema::call::{Pong, WorkerVerb};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::storage::{AlertKey, Bucket, scheduler_key};
use dsbus_schema::touch::SchedulerTouch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::args::{self, Probe};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// How long the answer may take: shorter than containers wait for a check, which would not tell why.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a worker is waited for that is asked whether it is there.
const PONG_MAX: Duration = Duration::from_secs(1);
/// So often it is asked where nobody answers, with a pause: longer than an agent is replaced in.
const ASKS: usize = 4;
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(300);
/// Longest answer over HTTP that is read, in bytes: what a nats-server tells of a thousand streams.
const BYTES_MAX: u64 = 4 << 20;

/// Looks once.
///
/// # Errors
/// When it is not well, with the reason.
pub(super) async fn run(config: &Config, args: &args::Healthy) -> Result<Code, Failure> {
    let looking = async {
        match &args.who {
            Probe::Worker { name } => worker(config, name).await,
            Probe::Scheduler { id } => {
                let connection = Connection::open(config).await?;
                let key = scheduler_key(id.as_str());
                lease(&connection, Bucket::Fleet, &key, &format!("scheduler {id}")).await
            }
            Probe::Alert { name } => {
                let connection = Connection::open(config).await?;
                let key = AlertKey::Lease.of(name);
                lease(&connection, Bucket::Alerts, &key, &format!("alert {name}")).await
            }
            Probe::Http { url } => http(url).await,
        }
    };
    let text = tokio::time::timeout(ANSWER_MAX, looking).await.unwrap_or_else(|_| {
        Err(Failure::failed(format!("there was no answer within {} s", ANSWER_MAX.as_secs())))
    })?;
    output::line(text.trim_end())?;
    Ok(Code::Done)
}

/// A worker that has ended leaves its lease behind for a while; and nobody answers for it.
async fn worker(config: &Config, name: &WorkerName) -> Result<String, Failure> {
    let connection = Connection::open(config).await?;
    let who = format!("worker {name}");
    let held = lease(&connection, Bucket::Fleet, &format!("{name}._touch.*"), &who).await?;
    for _ in 0..ASKS {
        let nothing = serde_json::json!({});
        let bus = &connection.bus;
        match bus.call_worker::<_, Pong>(name, WorkerVerb::Ping, &nothing, PONG_MAX).await {
            // Its agent may be replaced at this moment.
            Err(Error::NoResponders) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            // Whoever does not answer in time may be busy, and whoever asks may not be let to.
            Ok(_) | Err(_) => return Ok(held),
        }
    }
    Err(Failure::failed(format!("{who} holds its lease, and is not there any more"))
        .hint("it has stopped, or was killed: the lease ends by itself"))
}

/// A lease goes away by itself when it is not renewed: so one that is there is of somebody who lives,
/// or has ended a moment ago.
async fn lease(
    connection: &Connection,
    bucket: Bucket,
    key: &str,
    who: &str,
) -> Result<String, Failure> {
    connection.must_be_provisioned().await?;
    let mut watch = connection.bus.watch(bucket, key, "healthy");
    let (mut held, mut leaves) = (false, false);
    loop {
        match watch.next().await {
            Item::Entry(entry) => {
                held = matches!(entry.value, Value::Put(_));
                leaves = leaving(&entry);
            }
            Item::Reset => held = false,
            Item::CaughtUp if held && leaves => {
                return Err(Failure::failed(format!("{who} has stopped")));
            }
            Item::CaughtUp if held => return Ok(format!("{who} holds its lease")),
            Item::CaughtUp => {
                return Err(Failure::failed(format!("the bus holds no lease of {who}")).hint(
                    "it does not run, or has not reached the bus for longer than its lease; its log says why",
                ));
            }
        }
    }
}

/// Whether a scheduler has said with its last touch that it leaves.
fn leaving(entry: &Entry) -> bool {
    let touch = entry.json::<SchedulerTouch>().ok().flatten();
    touch.is_some_and(|touch| touch.leaving)
}

async fn http(url: &str) -> Result<String, Failure> {
    let (host, path) = parts(url).ok_or_else(|| {
        Failure::usage(format!("{url:?} is no address such as http://HOST:PORT/PATH"))
    })?;
    let cannot = |e: std::io::Error| Failure::failed(format!("cannot ask {url}: {e}"));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut stream = TcpStream::connect(address).await.map_err(cannot)?;
    // HTTP/1.0: the answer ends where the connection does.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(cannot)?;
    let mut answer = Vec::new();
    stream.take(BYTES_MAX).read_to_end(&mut answer).await.map_err(cannot)?;
    match judged(&String::from_utf8_lossy(&answer)) {
        Ok(body) => Ok(body.to_owned()),
        Err(why) => Err(Failure::failed(format!("{url}: {why}"))),
    }
}

/// Host and path of an address.
fn parts(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic());
    let path = if path.is_empty() { "/" } else { path };
    (!host.is_empty() && plain(host) && plain(path)).then_some((host, path))
}

/// What an answer says, or why it is not good.
fn judged(answer: &str) -> Result<&str, String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") if status.starts_with("HTTP/") => Ok(body),
        _ => Err(format!(
            "it answers {status:?}, {:?}",
            body.trim_end().chars().take(200).collect::<String>()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (url, read) in [
            ("http://127.0.0.1:8222/healthz?a=b", Some(("127.0.0.1:8222", "/healthz?a=b"))),
            ("http://n1", Some(("n1", "/"))),
            ("https://n1/", None),
            ("http:///healthz", None),
            ("http://n1/a b", None),
            ("http://n1/\r\nX: y", None),
            ("n1:8222", None),
        ] {
            assert_eq!(parts(url), read, "{url}");
        }
    }

    #[test]
    fn only_200_is_well() {
        assert_eq!(judged("HTTP/1.0 200 OK\r\nA: b\r\n\r\nok\n"), Ok("ok\n"));
        for bad in [
            "",
            "200",
            "SSH 200 OK\r\n\r\n",
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"unavailable\"}",
            "HTTP/1.1 302 Found\r\n\r\n",
        ] {
            assert!(judged(bad).is_err(), "{bad:?}");
        }
        let said =
            judged("HTTP/1.1 503 Service Unavailable\r\n\r\nJetStream is away\n").unwrap_err();
        assert!(said.contains("503") && said.contains("JetStream is away"), "{said}");
    }
}
