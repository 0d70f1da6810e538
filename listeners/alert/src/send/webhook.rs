//! An HTTP request.

use std::error::Error;
use std::time::{Duration, SystemTime};

use dsbus_schema::alert::Letter;
use dsbus_schema::moment::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, redirect};

use super::{Fate, chain, tls};
use crate::spec::{SecretError, WebhookTarget};
use crate::texts::Said;

/// How much of an answer is read, for the reason of a refusal.
const ANSWER_MAX: usize = 2048;
/// Longest that a server may ask to be left alone; a letter is not kept for longer without a try.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// The header that has the id of what is told: the same at each try.
const ID_HEADER: &str = "dsbus-message-id";

/// What is made once for a target.
#[derive(Debug, Clone)]
pub(super) struct Client(reqwest::Client);

impl Client {
    pub(super) fn new(target: &WebhookTarget, timeout: Duration) -> Result<Client, String> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client(target.ca_file.as_deref())?)
            .user_agent(concat!("dsbus-alert/", env!("CARGO_PKG_VERSION")))
            // A POST that is redirected becomes a GET on the way, and would tell nothing.
            .redirect(redirect::Policy::none())
            // Alerts are rare; a connection that was kept would mostly be found closed.
            .pool_max_idle_per_host(0)
            .timeout(timeout);
        client.build().map(Client).map_err(|e| chain(&e))
    }

    pub(super) async fn send(
        &self,
        target: &WebhookTarget,
        letter: &Letter,
        said: Said,
        now: Timestamp,
    ) -> Fate {
        let (body, media) = said.body.unwrap_or_default();
        // Secrets are read at each try: they may have been replaced.
        let url = match target.url.read().map_err(|e| e.to_string()).and_then(|u| super::url(&u)) {
            Ok(url) => url,
            Err(why) => return Fate::later(why),
        };
        let headers = match headers(target, letter, &media) {
            Ok(headers) => headers,
            Err(why) => return Fate::later(why),
        };
        let method = if target.put { Method::PUT } else { Method::POST };
        let request = self.0.request(method, url).headers(headers).body(body);
        let request = match login(request, target) {
            Ok(request) => request,
            Err(e) => return Fate::later(e.to_string()),
        };
        match request.send().await {
            Ok(answer) => fate(answer, now).await,
            Err(e) => Fate::later(failure(e)),
        }
    }
}

/// Why there was no answer, without the address, which may be a secret.
fn failure(e: reqwest::Error) -> String {
    let e = e.without_url();
    let mut cause: &dyn Error = &e;
    // The outer ones only say that a request was sent.
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if e.is_timeout() {
        "no answer in time".to_owned()
    } else if e.is_connect() {
        format!("no connection: {cause}")
    } else {
        cause.to_string()
    }
}

fn headers(target: &WebhookTarget, letter: &Letter, media: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let id = letter.news.id.to_string();
    for (name, text) in [(CONTENT_TYPE.as_str(), media), (ID_HEADER, &id)] {
        put(&mut headers, name, text, false)?;
    }
    for (name, secret) in &target.headers {
        put(&mut headers, name, secret.read().map_err(|e| e.to_string())?.shown(), true)?;
    }
    Ok(headers)
}

fn login(request: RequestBuilder, target: &WebhookTarget) -> Result<RequestBuilder, SecretError> {
    Ok(match (&target.token, &target.basic) {
        (Some(token), _) => request.bearer_auth(token.read()?.shown()),
        (None, Some((user, password))) => request.basic_auth(user, Some(password.read()?.shown())),
        (None, None) => request,
    })
}

fn put(headers: &mut HeaderMap, name: &str, text: &str, secret: bool) -> Result<(), String> {
    let wrong = || format!("the header {name} cannot have the value that it is given");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
    let mut value = HeaderValue::from_str(text).map_err(|_| wrong())?;
    value.set_sensitive(secret);
    headers.insert(name, value);
    Ok(())
}

/// What an answer means.
async fn fate(answer: Response, now: Timestamp) -> Fate {
    let status = answer.status();
    if status.is_success() {
        return Fate::Delivered;
    }
    let header = |name| answer.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    if status.is_redirection() {
        let to = header(LOCATION).unwrap_or("somewhere else");
        return Fate::never(format!("{status}: redirected to {to}; name that address in the file"));
    }
    let after = header(RETRY_AFTER).and_then(|text| retry_after(text, now));
    let why = reason(status, answer).await;
    let temporary = status.is_server_error()
        || status == StatusCode::REQUEST_TIMEOUT
        || status == StatusCode::TOO_MANY_REQUESTS;
    match Fate::later(why) {
        Fate::Later { why, .. } if temporary => Fate::Later { why, after },
        Fate::Later { why, .. } | Fate::Never { why } => Fate::Never { why },
        Fate::Delivered => Fate::Delivered,
    }
}

/// The status, and the first line of what the server says about it.
async fn reason(status: StatusCode, mut answer: Response) -> String {
    let mut body = Vec::new();
    while body.len() < ANSWER_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    body.truncate(ANSWER_MAX);
    let text = String::from_utf8_lossy(&body);
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => format!("{status}: {line}"),
        None => status.to_string(),
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let asked = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text.trim()).ok()?;
            let date = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            (Timestamp::from_unix_nanos(0) + date).since(now)
        }
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_when_to_come_again() {
        let now = Timestamp::from_unix_nanos(784_111_777_000_000_000);
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
