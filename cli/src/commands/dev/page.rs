//! Where the web page of a `dsbus dev` is.

use std::net::TcpListener;

use dsbus_gateway::Listen;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::{LOOK_EVERY, READY_MAX};
use crate::args::Dev;
use crate::failure::Failure;

/// Where it is to be; nowhere, when nobody wants it. A port that is left to chance is chosen here, so
/// that the page stays where it is when its gateway is started again.
///
/// # Errors
/// When there is something else at that address.
pub(super) fn place(args: &Dev) -> Result<Option<Listen>, Failure> {
    if args.no_gateway {
        return Ok(None);
    }
    match &args.gateway {
        Some(Listen::Unix(path)) => Ok(Some(Listen::Unix(path.clone()))),
        Some(Listen::Tcp(address)) => {
            let taken = |e| {
                Failure::failed(format!("the web page cannot be at {address}: {e}"))
                    .hint("say another address by --gateway, or --no-gateway")
            };
            // It is closed again at once: the gateway opens it.
            let free = TcpListener::bind(address).map_err(taken)?;
            Ok(Some(Listen::Tcp(free.local_addr()?)))
        }
        None => Ok(Some(Listen::Tcp(TcpListener::bind("127.0.0.1:0")?.local_addr()?))),
    }
}

/// Resolves when somebody listens there, or it has taken so long that the log is the place to look.
pub(super) async fn answers(at: Option<&Listen>) {
    let Some(Listen::Tcp(address)) = at else { return };
    let deadline = Instant::now() + READY_MAX;
    while TcpStream::connect(address).await.is_err() && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
    }
}
