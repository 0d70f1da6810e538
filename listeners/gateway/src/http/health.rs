//! `/healthz` and `/readyz`, for whoever watches the gateway itself. Nobody has to say who he is.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use super::Gateway;

pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready))
}

/// Whether it has something to say that holds now.
async fn ready(State(gateway): State<Gateway>) -> (StatusCode, String) {
    let known = gateway.fleet.known();
    if !known.is_complete() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the fleet is not known yet\n".to_owned());
    }
    if !gateway.fleet.bus().connected() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not connected to NATS\n".to_owned());
    }
    match known.silent() {
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("no scheduler answers: {why}\n")),
        None => (StatusCode::OK, "ok\n".to_owned()),
    }
}
