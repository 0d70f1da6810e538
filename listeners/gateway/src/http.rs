//! HTTP: which paths there are, and who may use them.

mod admit;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod health;
mod login;
mod said;
mod seal;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::{Router, middleware};
use dsbus_schema::ids::{UserName, WorkerName};

use crate::fleet::Fleet;
use crate::metrics::{self, Metrics};
use crate::rpc;
use crate::stream::Stream;
use crate::users::{Role, Users};
use crate::{distsuper, page, rest};
use seal::Seal;

/// Most bytes of a body: a message of the bus holds 1 MiB, and what is in it can be longer here.
pub(crate) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What every answer stands on; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    /// The fleet.
    pub(crate) fleet: Fleet,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// What happens, for whoever watches.
    pub(crate) stream: Stream,
    users: Arc<Users>,
    seal: Arc<Seal>,
    /// Nobody says who he is, where there are no users.
    open: Option<Open>,
}

/// To whom a gateway without users is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Open {
    /// This machine.
    Here,
    /// Everybody who reaches it.
    Everywhere,
}

impl Gateway {
    /// `secret` seals cookies; made up where there is none. `open`: to whom it is while there are no
    /// users. Must be called on a tokio runtime.
    pub(crate) fn new(fleet: Fleet, users: Users, secret: Option<&[u8]>, open: Open) -> Gateway {
        let open = users.is_empty().then_some(open);
        let seal = Seal::new(secret);
        let metrics = Metrics::new(fleet.clone());
        let stream = Stream::begin(&fleet);
        let (users, seal) = (Arc::new(users), Arc::new(seal));
        Gateway { fleet, metrics, stream, users, seal, open }
    }
}

/// Who asks; every handler may take it as an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// His name; commands are sent in it.
    pub(crate) user: UserName,
    /// What he may do.
    pub(crate) role: Role,
    /// What a page sends with whatever it changes, where a cookie says who it is.
    pub(crate) token: Option<String>,
}

/// All paths; with `worker`, those of Supervisor are about what runs there.
pub(crate) fn router(gateway: Gateway, worker: Option<WorkerName>) -> Router {
    Router::new()
        .merge(health::routes())
        .merge(login::routes())
        .merge(page::routes())
        .merge(metrics::routes())
        .merge(rpc::routes(worker))
        .nest(rest::BELOW, rest::routes())
        .merge(distsuper::routes())
        .fallback(async |uri: Uri| {
            (StatusCode::NOT_FOUND, format!("404: there is nothing at {}\n", uri.path()))
        })
        .method_not_allowed_fallback(async |method: Method| {
            (StatusCode::METHOD_NOT_ALLOWED, format!("405: nothing here answers to {method}\n"))
        })
        .layer(middleware::from_fn_with_state(gateway.clone(), admit::admit))
        .layer(middleware::from_fn_with_state(gateway.clone(), metrics::count))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(gateway)
}
