//! `/login` and `/logout`: a cookie for browsers.

use std::fmt::Write as _;

use axum::extract::{DefaultBodyLimit, Form, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use axum::{Extension, Router};
use serde::Deserialize;

use super::admit::WRONG_WAITS;
use super::said::COOKIE;
use super::{Caller, Gateway};
use crate::page::is_page;

/// How long it counts, in seconds: a day of work.
const SECONDS: i64 = 12 * 3600;
/// Most bytes of a form, which anybody may send: a name, a password, and an address.
const FORM_BYTES_MAX: usize = 16 * 1024;

pub(super) fn routes() -> Router<Gateway> {
    let login = post(login).layer(DefaultBodyLimit::max(FORM_BYTES_MAX));
    Router::new().route("/login", login).route("/logout", post(logout))
}

/// What a form says.
#[derive(Deserialize)]
struct Given {
    user: String,
    password: String,
    /// Where he wanted to go.
    #[serde(default)]
    next: String,
}

async fn login(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Form(given): Form<Given>,
) -> Response {
    let Some((user, role)) = gateway.users.role(&given.user, &given.password) else {
        tracing::warn!("somebody who calls himself {:?} was not let in", given.user);
        tokio::time::sleep(WRONG_WAITS).await;
        let is_deep = given.next != "/" && is_inside(&given.next);
        let next = if is_deep { format!("&next={}", escape(&given.next)) } else { String::new() };
        return Redirect::to(&format!("/login?wrong{next}")).into_response();
    };
    let until = jiff::Timestamp::now().as_second() + SECONDS;
    let stamp = gateway.users.stamp(user.as_str());
    let sealed = stamp.and_then(|stamp| gateway.seal.cookie(user.as_str(), stamp.as_ref(), until));
    let Some(cookie) = sealed else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "no random numbers\n").into_response();
    };
    tracing::info!("{user} is here, as {}", role.name());
    // Where something in front of this gateway speaks TLS, a browser says so here.
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    let secure = if origin.is_some_and(|at| at.starts_with(b"https:")) { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={SECONDS}{secure}");
    let next = if is_inside(&given.next) { given.next.as_str() } else { "/" };
    ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response()
}

/// Whether it is a page of this gateway: nobody is sent elsewhere by a link to a login.
fn is_inside(path: &str) -> bool {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    plain && is_page(path.split('?').next().unwrap_or(path))
}

/// As a value in the query of an address.
pub(super) fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~/:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

async fn logout(Extension(caller): Extension<Caller>) -> Response {
    tracing::info!("{} has left", caller.user);
    let gone = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, gone)], Redirect::to("/login")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_sends_nobody_elsewhere() {
        for path in ["/", "/instances/web:0", "/workers?q=a%20b"] {
            assert!(is_inside(path), "{path}");
        }
        for path in ["", "//evil.example", "/\\evil.example", "https://evil.example/", "/api/v1/me"]
        {
            assert!(!is_inside(path), "{path}");
        }
        assert_eq!(escape("/events?q=a b&x"), "/events%3Fq%3Da%20b%26x");
    }
}
