//! Who asks, and whether he may.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt as _;
use futures::stream::unfold;
use tokio::time::{Instant, timeout_at};

use super::login::{cookie, escape};
use super::{Caller, Gateway, Open};
use crate::page::is_page;
use crate::users::Role;

/// Paths that everybody may ask for.
const OPEN: [&str; 4] = ["/healthz", "/readyz", "/login", "/favicon.ico"];
/// Below this lies what a page is made of, and nothing about the fleet.
const OPEN_BELOW: &str = "/assets/";
/// How long whoever gave a wrong password waits for his answer: guessing is slow.
pub(super) const WRONG_WAITS: Duration = Duration::from_secs(1);
/// What distsuper's clients look at by POST.
const LOOKS: [&str; 3] = ["/check", "/touch", "/status"];
/// The header with the token of a page; see [`Caller::token`].
pub(super) const TOKEN: &str = "x-csrf-token";

/// How much of what somebody sends who is not let in is read before he is told, and how long that may
/// take: a call has some hundred bytes.
const UNREAD_BYTES_MAX: usize = 64 * 1024;
const UNREAD_MAX: Duration = Duration::from_secs(1);
/// How long all of a body may take: whoever does not send the rest gives his place away.
const BODY_MAX: Duration = Duration::from_secs(60);

/// Why somebody may not.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// He has to say who he is.
    Unknown,
    /// He may not do that.
    Role,
    /// Another site's page asks.
    Foreign(&'static str),
}

/// Lets a request in, or answers it.
pub(super) async fn admit(
    State(gateway): State<Gateway>,
    mut request: Request,
    next: Next,
) -> Response {
    let now = jiff::Timestamp::now().as_second();
    match judge(&gateway, request.method(), request.uri(), request.headers(), now) {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request.map(in_time)).await
        }
        Err(refused) => {
            let answer = answer(&refused, request.headers(), request.uri());
            let guessed = request.headers().contains_key(header::AUTHORIZATION);
            if refused == Refused::Unknown && guessed {
                tracing::warn!("somebody with a wrong name or password was not let in");
                tokio::time::sleep(WRONG_WAITS).await;
            }
            // Whoever still sends when the connection closes sees no answer: Supervisor's clients do.
            let rest = axum::body::to_bytes(request.into_body(), UNREAD_BYTES_MAX);
            drop(tokio::time::timeout(UNREAD_MAX, rest).await);
            answer
        }
    }
}

/// The body, which breaks off when it takes too long.
fn in_time(body: Body) -> Body {
    let (body, until) = (body.into_data_stream(), Instant::now() + BODY_MAX);
    Body::from_stream(unfold(body, move |mut body| async move {
        let part = match timeout_at(until, body.next()).await {
            Ok(part) => part?,
            Err(late) => Err(axum::Error::new(late)),
        };
        Some((part, body))
    }))
}

fn judge(
    gateway: &Gateway,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    now: i64,
) -> Result<Option<Caller>, Refused> {
    let host = uri.authority().map(Authority::as_str).or_else(|| text(headers, header::HOST));
    let path = uri.path();
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    // A page of another site whose name was pointed to this machine would come with that name.
    match gateway.open {
        Some(Open::Here) if !host.is_none_or(is_here) => {
            return Err(Refused::Foreign("this gateway is for this machine only"));
        }
        Some(Open::Everywhere) if !host.is_none_or(is_address) => {
            return Err(Refused::Foreign("without users it goes by its IP address only"));
        }
        _ => {}
    }
    if !reads && is_foreign(headers, host) {
        return Err(Refused::Foreign("a page of another site must not change anything here"));
    }
    if OPEN.contains(&path) || path.starts_with(OPEN_BELOW) {
        return Ok(None);
    }
    let caller = caller(gateway, headers, now).ok_or(Refused::Unknown)?;
    if reads {
        return Ok(Some(caller));
    }
    if let Some(cookie) = caller.token.as_ref().and_then(|_| cookie(headers)) {
        let given = headers.get(TOKEN).and_then(|token| token.to_str().ok()).unwrap_or("");
        if !gateway.seal.fits_token(cookie, given) {
            return Err(Refused::Foreign("the header X-CSRF-Token is missing or wrong"));
        }
    }
    let looks = LOOKS.contains(&path) || path == "/logout" || is_rpc(path);
    let may = looks || caller.role >= Role::Operator;
    if may { Ok(Some(caller)) } else { Err(Refused::Role) }
}

/// Where everybody may ask by POST, since each method is judged apart: `/RPC2` and
/// `/workers/NAME/RPC2`, and nothing else that ends so, such as a program of that name.
fn is_rpc(path: &str) -> bool {
    let of_worker = path.strip_prefix("/workers/").and_then(|rest| rest.strip_suffix("/RPC2"));
    path == "/RPC2" || of_worker.is_some_and(|worker| !worker.contains('/'))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A `Host` without its port.
fn name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.trim_start_matches('[').trim_end_matches(']')
}

/// Whether a `Host` is this machine.
fn is_here(host: &str) -> bool {
    let name = name(host);
    let is_loopback = |ip: IpAddr| ip.is_loopback();
    // Supervisor's clients name a unix socket `localhost`, or nothing.
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

/// Whether a `Host` is no name that somebody could point elsewhere.
fn is_address(host: &str) -> bool {
    is_here(host) || name(host).parse::<IpAddr>().is_ok()
}

/// Whether a browser says that a page of another site asks. Tools say nothing.
fn is_foreign(headers: &HeaderMap, host: Option<&str>) -> bool {
    let Some(origin) = text(headers, header::ORIGIN) else { return false };
    let from = origin.split_once("://").map(|(_, from)| from);
    from.is_none() || from != host
}

fn caller(gateway: &Gateway, headers: &HeaderMap, now: i64) -> Option<Caller> {
    if gateway.users.is_empty() {
        let user = gateway.fleet.bus().user().clone();
        return Some(Caller { user, role: Role::Operator, token: None });
    }
    if let Some(basic) = text(headers, header::AUTHORIZATION) {
        let (scheme, given) = basic.split_once(' ')?;
        let given = BASE64_STANDARD.decode(given.trim()).ok()?;
        let given =
            String::from_utf8(given).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let (name, password) = given.split_once(':')?;
        let (user, role) = gateway.users.role(name, password)?;
        return Some(Caller { user, role, token: None });
    }
    let cookie = cookie(headers)?;
    let stamp = |name: &str| gateway.users.stamp(name);
    let (user, role) = gateway.users.known(gateway.seal.user(cookie, stamp, now)?)?;
    Some(Caller { user, role, token: gateway.seal.token(cookie) })
}

fn answer(refused: &Refused, headers: &HeaderMap, uri: &Uri) -> Response {
    match refused {
        Refused::Unknown => {
            let page = text(headers, header::ACCEPT).is_some_and(|all| all.contains("text/html"));
            if page && uri.path() == "/" {
                return Redirect::to("/login").into_response();
            }
            if page && is_page(uri.path()) {
                let next = uri.path_and_query().map_or("/", |all| all.as_str());
                return Redirect::to(&format!("/login?next={}", escape(next))).into_response();
            }
            let realm = [(header::WWW_AUTHENTICATE, "Basic realm=\"default\"")];
            // A browser's page asks by itself who it is.
            let fetched = headers.contains_key("sec-fetch-mode") && !page;
            let said = "401: say who you are, by Basic authentication\n";
            if fetched {
                (StatusCode::UNAUTHORIZED, said).into_response()
            } else {
                (StatusCode::UNAUTHORIZED, realm, said).into_response()
            }
        }
        Refused::Role => {
            (StatusCode::FORBIDDEN, "403: a viewer may look, and not act\n").into_response()
        }
        Refused::Foreign(why) => (StatusCode::FORBIDDEN, format!("403: {why}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here() {
        for host in ["localhost", "LocalHost:9001", "127.0.0.1:9001", "[::1]:9001", "127.9.9.9", ""]
        {
            assert!(is_here(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:9001", "10.0.0.1:9001", "localhost.evil", "[fe80::1]"]
        {
            assert!(!is_here(host), "{host}");
        }
        for host in ["10.0.0.1:9001", "[fe80::1]:80", "localhost", "127.0.0.1"] {
            assert!(is_address(host), "{host}");
        }
        for host in ["evil.example:9001", "10.0.0.1.evil.example", "web"] {
            assert!(!is_address(host), "{host}");
        }
    }

    #[test]
    fn what_is_judged_by_its_method() {
        for path in ["/RPC2", "/workers/w1/RPC2"] {
            assert!(is_rpc(path), "{path}");
        }
        for path in
            ["/api/v1/programs/RPC2", "/workers/w1/x/RPC2", "/x/RPC2", "/RPC2/", "/workers/RPC2"]
        {
            assert!(!is_rpc(path), "{path}");
        }
    }

    #[test]
    fn what_is_foreign() {
        let foreign = |origin: Option<&str>, host| {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            is_foreign(&headers, host)
        };
        assert!(!foreign(None, Some("a:1")));
        assert!(!foreign(Some("http://a:1"), Some("a:1")));
        assert!(!foreign(Some("https://a"), Some("a")));
        assert!(foreign(Some("http://a:2"), Some("a:1")));
        assert!(foreign(Some("http://b"), Some("a")));
        assert!(foreign(Some("null"), Some("a")));
        assert!(foreign(Some("http://a"), None));
    }
}
