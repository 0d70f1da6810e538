//! Asks children over the network whether they are well.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dsbus_supervisor::protocol::Asked;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Questions that are asked at once, each with a socket of its own; more wait, and their time
/// begins when they are asked.
const PROBES_MAX: usize = 128;
/// Largest head of an answer: status and headers. hyper takes no less than 8 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// What is read of a body before the connection is closed, so that servers see a client that took
/// a short answer whole.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long it is read: the status is known by then.
const BODY_TIME_MAX: Duration = Duration::from_millis(100);
/// The port of an `http://` address that names none.
const HTTP_PORT: u16 = 80;

/// Asks, a bounded number at once.
#[derive(Debug, Clone)]
pub(crate) struct Prober(Arc<Semaphore>);

impl Default for Prober {
    fn default() -> Prober {
        Prober(Arc::new(Semaphore::new(PROBES_MAX)))
    }
}

impl Prober {
    /// Asks once. `None` when all is well, else why not.
    pub(crate) fn ask(
        &self,
        ask: Asked,
        within: Duration,
    ) -> impl Future<Output = Option<String>> + Send + use<> {
        let room = self.0.clone();
        async move {
            // It is never closed.
            let _place = room.acquire().await;
            let late = || format!("no answer within {within:?}");
            let outcome = match &ask {
                Asked::Http(address) => match timeout(within, get(address)).await {
                    Ok(Ok(answer)) => answer.end().await,
                    Ok(Err(why)) => Err(why),
                    Err(_) => Err(late()),
                },
                Asked::Tcp(address) => {
                    timeout(within, reach(address)).await.unwrap_or_else(|_| Err(late()))
                }
            };
            let why = outcome.err()?;
            Some(match ask {
                Asked::Http(address) => format!("GET {address}: {why}"),
                Asked::Tcp(address) => format!("connect to {address}: {why}"),
            })
        }
    }
}

/// Connects to `host:port`.
async fn reach(address: &str) -> Result<(), String> {
    let (host, port) = address.rsplit_once(':').ok_or("it is not host:port")?;
    let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
    connect(host, port).await.map(drop)
}

/// An answer, whose status is known, and whose body is not.
struct Answer {
    status: StatusCode,
    body: Incoming,
    driving: Driving,
}

/// The connection, which must be driven while something is awaited of it. Its end says nothing that
/// the answer does not say.
type Driving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Answer {
    /// Takes some of the body, which no longer counts as the time of the answer, and judges.
    async fn end(self) -> Result<(), String> {
        let Answer { status, mut body, driving } = self;
        tokio::select! {
            // Whatever comes of this, the answer is known.
            _ = timeout(BODY_TIME_MAX, drain(&mut body)) => {}
            () = driving => {}
        }
        judge(status)
    }
}

/// Asks for an `http://` address; its status decides. A redirect is an answer, and is not followed.
async fn get(address: &str) -> Result<Answer, String> {
    let uri: Uri = address.parse().map_err(|e| format!("it is no address: {e}"))?;
    let authority = uri.authority().ok_or("it names no host")?;
    let stream = connect(authority.host(), authority.port_u16().unwrap_or(HTTP_PORT)).await?;
    // As text it always begins with a slash, which its parts may lack.
    let path = uri.path_and_query().map_or("/".to_owned(), ToString::to_string);
    // A name and password before the host are no part of it.
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("dsbus/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let mut http = http1::Builder::new();
    let handshake = http.max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|e| e.to_string())?;
    let mut driving: Driving = Box::pin(async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    });
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer.map_err(|e| why(&e))?,
        () = &mut driving => return Err("the connection ended".to_owned()),
    };
    let (status, body) = (answer.status(), answer.into_body());
    Ok(Answer { status, body, driving })
}

fn judge(status: StatusCode) -> Result<(), String> {
    if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(status.to_string()) }
}

async fn drain(body: &mut Incoming) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > BODY_BYTES_MAX {
            return;
        }
    }
}

/// What went wrong, with the cause where there is one: hyper's own words are short.
fn why(e: &hyper::Error) -> String {
    let cause = std::error::Error::source(e);
    cause.map_or_else(|| e.to_string(), |cause| format!("{e}: {cause}"))
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let stream = match addresses(host, port) {
        Some(known) => TcpStream::connect(known.as_slice()).await,
        None => TcpStream::connect((host, port)).await,
    };
    other_end(stream.map_err(|e| e.to_string())?)
}

/// A port of the ephemeral range on which nobody listens can be connected to from itself; such a
/// connection proves nothing.
fn other_end(stream: TcpStream) -> Result<TcpStream, String> {
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(ours), Ok(theirs)) if ours == theirs => {
            Err(io::Error::from(io::ErrorKind::ConnectionRefused).to_string())
        }
        (Ok(_), Ok(_)) => Ok(stream),
        (Err(e), _) | (_, Err(e)) => Err(e.to_string()),
    }
}

/// Addresses of a host that needs no resolver: `localhost` is what it says (RFC 6761), and is what
/// most probes name.
fn addresses(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        let both = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        return Some(both.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    Some(vec![SocketAddr::new(bare.parse().ok()?, port)])
}

#[cfg(test)]
mod tests;
