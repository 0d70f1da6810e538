//! `/login` and `/logout`: a cookie for browsers.

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use axum::{Extension, Router};
use serde::Deserialize;

use super::{Caller, Gateway};

/// The cookie.
const COOKIE: &str = "dsbus";
/// How long it counts, in seconds: a day of work.
const SECONDS: i64 = 12 * 3600;

pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/login", post(login)).route("/logout", post(logout))
}

/// What a form says.
#[derive(Deserialize)]
struct Given {
    user: String,
    password: String,
}

/// The cookie of a request.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|line| line.split(';'));
    let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
    named.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

async fn login(State(gateway): State<Gateway>, Form(given): Form<Given>) -> Response {
    let Some((user, role)) = gateway.users.role(&given.user, &given.password) else {
        tracing::warn!("somebody who calls himself {:?} was not let in", given.user);
        return Redirect::to("/login?wrong").into_response();
    };
    let until = jiff::Timestamp::now().as_second() + SECONDS;
    let Some(cookie) = gateway.seal.cookie(user.as_str(), until) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "no random numbers\n").into_response();
    };
    tracing::info!("{user} is here, as {}", role.name());
    let cookie = format!("{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SECONDS}");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

async fn logout(Extension(caller): Extension<Caller>) -> Response {
    tracing::info!("{} has left", caller.user);
    let gone = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, gone)], Redirect::to("/login")).into_response()
}
