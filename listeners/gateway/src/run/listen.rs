//! Sockets that are listened on, and their connections.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::Door;

/// Connections at once, on all addresses; more wait in the kernel. Each is a descriptor, of which a
/// process has a thousand or more, and a task.
pub(super) const CONNECTIONS_MAX: usize = 900;
/// How long a connection may take for the head of its next request: whoever says nothing gives his
/// place away.
const SILENT_MAX: Duration = Duration::from_secs(30);
/// How long a client may be silent before the kernel asks whether it is there, and how often it asks:
/// whoever follows a log in which nothing is written may vanish without a word.
const ALIVE_ASKED_AFTER: Duration = Duration::from_secs(30);
const ALIVE_ASKED_EVERY: Duration = Duration::from_secs(10);
/// How long a client may leave what was sent to it: one that reads nothing gives its place away.
const UNREAD_MAX: Duration = Duration::from_secs(60);

/// Sees to it that a client that vanishes, or reads nothing, does not hold its connection for ever.
pub(super) fn keep_alive(tcp: &mut TcpStream) {
    let socket = SockRef::from(&*tcp);
    let alive = TcpKeepalive::new().with_time(ALIVE_ASKED_AFTER).with_interval(ALIVE_ASKED_EVERY);
    let set = socket.set_tcp_keepalive(&alive);
    if let Err(e) = set.and_then(|()| socket.set_tcp_user_timeout(Some(UNREAD_MAX))) {
        tracing::debug!("a connection may hang: {e}");
    }
}

/// Listens on a socket in the file system. One that nobody listens on any more is replaced.
///
/// # Errors
/// When there is something else, somebody listens on it, or it cannot be given to its owner.
pub(super) async fn unix(path: &Path, door: &Door) -> io::Result<UnixListener> {
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it exists, and is no socket",
            ));
        }
        match UnixStream::connect(path).await {
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            _ => return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens on it")),
        }
    }
    let listener = UnixListener::bind(path)?;
    door.set(path).inspect_err(|_| drop(std::fs::remove_file(path)))?;
    Ok(listener)
}

/// Answers whoever comes, until `until`; then whoever is being answered is answered to the end.
pub(super) async fn serve(
    mut listener: impl Listener,
    router: Router,
    room: Arc<Semaphore>,
    until: impl Future<Output = ()>,
) {
    let (answering, mut http) = (GracefulShutdown::new(), http1::Builder::new());
    http.timer(TokioTimer::new()).header_read_timeout(SILENT_MAX);
    tokio::pin!(until);
    loop {
        if room.available_permits() == 0 {
            tracing::warn!("{CONNECTIONS_MAX} connections are open: more wait until one ends");
        }
        let come = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await.0)
        };
        let (place, io) = tokio::select! {
            come = come => come,
            () = &mut until => break,
        };
        let router = router.clone();
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let mut router = router.clone();
            async move {
                // A router is always ready.
                let answer = router.call(request.map(Body::new)).await;
                answer.map_err(|never: Infallible| match never {})
            }
        });
        let connection = http.serve_connection(TokioIo::new(io), service);
        let connection = answering.watch(connection);
        tokio::spawn(async move {
            // It ends as its client ends it.
            drop(connection.await);
            drop(place);
        });
    }
    answering.shutdown().await;
}
