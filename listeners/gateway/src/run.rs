//! The daemon.

mod door;
mod listen;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;

use dsbus_client::{Bus, ConnectOptions, Error as BusError};
use dsbus_schema::ids::WorkerName;
use dsbus_starter::{Stage, Starter};
use futures::future::join_all;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::fleet::Fleet;
use crate::http::{self, Gateway, Open};
use crate::users::Settings;
pub use door::Door;

/// How long answers that are being given may take when the gateway ends. Whoever follows something
/// would stay for ever.
const END_MAX: Duration = Duration::from_secs(1);

/// What the daemon is to do.
#[derive(Debug)]
pub struct Config {
    /// How to reach the bus.
    pub connect: ConnectOptions,
    /// Where to listen, and who may do what.
    pub settings: Settings,
    /// Supervisor's interface is about what runs there, and not about the fleet, for tools that cannot
    /// name a path.
    pub worker: Option<WorkerName>,
    /// Everybody who reaches the address may do everything, on whatever address.
    pub insecure: bool,
}

/// Where a gateway listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address of this machine.
    Tcp(SocketAddr),
    /// A socket in the file system, for whom its [`Door`] says.
    Unix(PathBuf),
}

impl Listen {
    /// `127.0.0.1:9001`, `localhost:9001`, `[::]:9001`, `:9001` (every address), or
    /// `unix:/run/dsbus-gateway/http.sock`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Listen, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err("unix: needs the path of a socket: unix:/run/dsbus-gateway/http.sock"
                    .to_owned())
            } else {
                Ok(Listen::Unix(path.into()))
            };
        }
        let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
        let found = full.to_socket_addrs().ok().and_then(|mut found| found.next());
        found.map(Listen::Tcp).ok_or_else(|| {
            format!("{text:?} is no address: 127.0.0.1:9001, :9001, or unix:/run/dsbus-gateway/http.sock")
        })
    }

    /// Whether only this machine reaches it.
    fn is_local(&self) -> bool {
        match self {
            Listen::Tcp(address) => address.ip().is_loopback(),
            Listen::Unix(_) => true,
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "http://{address}"),
            Listen::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Why the daemon cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus, for ever: permissions, or a server that is too old.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// It cannot listen there.
    #[error("cannot listen on {at}: {why}")]
    Listen {
        /// Where.
        at: String,
        /// Why not.
        why: io::Error,
    },
    /// Everybody would be allowed everything.
    #[error("{0} can be reached from other machines, and nobody has to say who he is")]
    Open(String),
}

/// Listens and answers until `shutdown`. Its log says every address, once it can be used.
///
/// # Errors
/// See [`Error`].
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let Config { connect, settings, worker, insecure } = config;
    let open = settings.users.is_empty() && !insecure;
    if let Some(at) = settings.listen.iter().find(|at| open && !at.is_local()) {
        return Err(Error::Open(at.to_string()));
    }
    let (end, ended) = watch::channel(());
    let mut bound = Vec::new();
    for at in &settings.listen {
        bound.push(
            bind(at, &settings.door)
                .await
                .map_err(|why| Error::Listen { at: at.to_string(), why })?,
        );
    }
    tokio::pin!(shutdown);
    let (mut starter, begin) = (Starter::here(), Instant::now());
    starter.stands(Stage::Starting, "waits for the bus");
    let bus = tokio::select! {
        bus = Bus::connect(connect) => bus?,
        () = beats(&mut starter, begin) => return Ok(()),
        () = &mut shutdown => return Ok(()),
    };
    let fleet = Fleet::new(bus);
    let to = if insecure { Open::Everywhere } else { Open::Here };
    let gateway = Gateway::new(fleet.clone(), settings.users, settings.secret.as_deref(), to);
    let metrics = gateway.metrics.clone();
    let router = http::router(gateway, worker);
    for one in &bound {
        tracing::info!("listens on {}", one.at());
    }
    let at: Vec<String> = bound.iter().map(|one| one.at().to_string()).collect();
    let room = Arc::new(Semaphore::new(listen::CONNECTIONS_MAX));
    let serving = join_all(bound.into_iter().map(|one| {
        let room = Arc::clone(&room);
        let mut ended = ended.clone();
        let until = async move { drop(ended.changed().await) };
        one.serve(router.clone(), room, until)
    }));
    tokio::pin!(serving);
    starter.stands(Stage::Ready, &format!("listens on {}", at.join(", ")));
    tokio::select! {
        () = fleet.keep() => {}
        () = beats(&mut starter, begin) => {}
        () = metrics.keep() => {}
        _ = &mut serving => {}
        () = &mut shutdown => {}
    }
    starter.stands(Stage::Stopping, "answers whom it is answering");
    drop(end);
    drop(tokio::time::timeout(END_MAX, serving).await);
    Ok(())
}

/// Says that this process goes round, for ever.
async fn beats(starter: &mut Starter, begin: Instant) {
    loop {
        let now = begin.elapsed();
        starter.beat(now);
        tokio::time::sleep(starter.pause(now)).await;
    }
}

/// Something that is listened on.
enum Bound {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

async fn bind(at: &Listen, door: &Door) -> io::Result<Bound> {
    match at {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Bound::Tcp(listener, address))
        }
        Listen::Unix(path) => Ok(Bound::Unix(listen::unix(path, door).await?, path.clone())),
    }
}

impl Bound {
    fn at(&self) -> Listen {
        match self {
            Bound::Tcp(_, address) => Listen::Tcp(*address),
            Bound::Unix(_, path) => Listen::Unix(path.clone()),
        }
    }

    async fn serve(self, router: Router, room: Arc<Semaphore>, until: impl Future<Output = ()>) {
        match self {
            Bound::Tcp(listener, _) => {
                // Whoever follows a log that is silent may vanish without a word.
                let listener = listener.tap_io(listen::keep_alive);
                listen::serve(listener, router, room, until).await;
            }
            Bound::Unix(listener, path) => {
                listen::serve(listener, router, room, until).await;
                // Whoever starts anew replaces one that stays.
                drop(std::fs::remove_file(path));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_listens() {
        let at = |text: &str| Listen::parse(text).map(|at| at.to_string());
        for (text, address) in [
            ("127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("[::1]:80", "http://[::1]:80"),
            (":9001", "http://[::]:9001"),
            ("unix:/run/a.sock", "unix:///run/a.sock"),
            ("unix:///run/a.sock", "unix:///run/a.sock"),
        ] {
            assert_eq!(at(text).as_deref(), Ok(address));
        }
        for text in ["", "9001", "127.0.0.1", "unix:", "http://127.0.0.1:9001", "127.0.0.1:99999"] {
            assert!(at(text).is_err(), "{text}");
        }
        assert!(Listen::parse("127.0.0.1:1").unwrap().is_local());
        assert!(!Listen::parse(":1").unwrap().is_local());
    }
}
