//! Supervisor's interface, for the tools that were made for it: XML-RPC at `/RPC2`, logs at `/logtail`
//! and `/mainlogtail`, and `/ok.html`. All of it is about the whole fleet; below `/workers/NAME`, about
//! what runs on one machine.
//!
//! What is the same as with Supervisor and what is not: docs/xmlrpc.md.

mod acts;
mod call;
mod config;
mod fault;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod groups;
mod info;
mod logs;
mod methods;
mod request;
mod stdin;
mod tail;
mod value;
mod view;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use dsbus_schema::ids::WorkerName;

use crate::http::{Caller, Gateway};
use call::Desk;
use view::Roll;

/// All paths; those that name no worker show `worker`, or the fleet.
pub(crate) fn routes(worker: Option<WorkerName>) -> Router<Gateway> {
    let views = Views { roll: Arc::default(), worker };
    Router::new()
        .route("/RPC2", post(rpc))
        .route("/logtail/{*path}", get(logtail))
        .route("/mainlogtail", get(mainlogtail))
        .route("/ok.html", get(ok))
        .route("/workers/{worker}/RPC2", post(rpc_of))
        .route("/workers/{worker}/logtail/{*path}", get(logtail_of))
        .route("/workers/{worker}/mainlogtail", get(mainlogtail_of))
        .route("/workers/{worker}/ok.html", get(ok))
        .layer(Extension(views))
}

/// What there is to look at; cheap to clone.
#[derive(Debug, Clone)]
struct Views {
    roll: Arc<Roll>,
    /// Whose view it is where nobody names one.
    worker: Option<WorkerName>,
}

/// Who asks, and what for.
type Asked = (State<Gateway>, Extension<Views>, Extension<Caller>);

async fn ok() -> Response {
    ([(header::CONTENT_TYPE, "text/html;charset=utf-8")], "OK").into_response()
}

async fn rpc(asked: Asked, request: Request) -> Response {
    answer(&desk(asked), request).await
}

async fn rpc_of(Path(worker): Path<String>, asked: Asked, request: Request) -> Response {
    match desk_of(asked, &worker) {
        Ok(desk) => answer(&desk, request).await,
        Err(missing) => missing,
    }
}

async fn logtail(Path(path): Path<String>, asked: Asked) -> Response {
    tail::process(&desk(asked), &path).await
}

async fn logtail_of(Path((worker, path)): Path<(String, String)>, asked: Asked) -> Response {
    match desk_of(asked, &worker) {
        Ok(desk) => tail::process(&desk, &path).await,
        Err(missing) => missing,
    }
}

async fn mainlogtail(asked: Asked) -> Response {
    tail::main(&desk(asked)).await
}

async fn mainlogtail_of(Path(worker): Path<String>, asked: Asked) -> Response {
    match desk_of(asked, &worker) {
        Ok(desk) => tail::main(&desk).await,
        Err(missing) => missing,
    }
}

fn desk((State(gateway), Extension(views), Extension(caller)): Asked) -> Desk {
    let Views { roll, worker } = views;
    Desk { fleet: gateway.fleet, caller, roll, worker }
}

#[expect(clippy::result_large_err, reason = "it is answered at once")]
fn desk_of(asked: Asked, worker: &str) -> Result<Desk, Response> {
    let mut desk = desk(asked);
    let known = WorkerName::parse(worker).ok();
    match known.filter(|worker| desk.fleet.known().workers().contains_key(worker)) {
        Some(worker) => {
            desk.worker = Some(worker);
            Ok(desk)
        }
        None => {
            let said = format!("404: no worker is named {worker:?}\n");
            Err((StatusCode::NOT_FOUND, said).into_response())
        }
    }
}

async fn answer(desk: &Desk, request: Request) -> Response {
    let unreadable = |why: String| {
        (StatusCode::BAD_REQUEST, format!("400: this is no XML-RPC call: {why}\n")).into_response()
    };
    let body = match axum::body::to_bytes(request.into_body(), crate::http::BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(e) => return unreadable(e.to_string()),
    };
    let text = match std::str::from_utf8(&body) {
        Ok(text) => text,
        Err(e) => return unreadable(e.to_string()),
    };
    let request = match request::read(text) {
        Ok(request) => request,
        Err(request::Unreadable(why)) => return unreadable(why),
    };
    let xml = match desk.call(request).await {
        Ok(value) => value::response(&value),
        Err(wrong) => value::fault(&wrong.value()),
    };
    ([(header::CONTENT_TYPE, "text/xml")], xml).into_response()
}
