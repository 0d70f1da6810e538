//! Who asks, and whether he may.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use futures::StreamExt as _;
use futures::stream::unfold;
use tokio::time::{Instant, timeout_at};

use super::login::escape;
use super::said::{basic, cookie, is_address, is_foreign, is_here, is_rpc, text};
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

fn caller(gateway: &Gateway, headers: &HeaderMap, now: i64) -> Option<Caller> {
    if gateway.users.is_empty() {
        let user = gateway.fleet.bus().user().clone();
        return Some(Caller { user, role: Role::Operator, token: None });
    }
    if headers.contains_key(header::AUTHORIZATION) {
        let (name, password) = basic(headers)?;
        let (user, role) = gateway.users.role(&name, &password)?;
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
