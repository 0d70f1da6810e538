//! What a request says of who asks, and from where: read, and not believed yet. Pure.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The cookie.
pub(super) const COOKIE: &str = "dsbus";

/// The cookie of a request.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|line| line.split(';'));
    let mut named = pairs.filter_map(|pair| pair.trim().split_once('='));
    named.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.trim())
}

/// The name and the password of Basic authentication.
pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, given) = text(headers, header::AUTHORIZATION)?.split_once(' ')?;
    let given = BASE64_STANDARD.decode(given.trim()).ok()?;
    let given = String::from_utf8(given).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (name, password) = given.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Where everybody may ask by POST, since each method is judged apart: `/RPC2` and
/// `/workers/NAME/RPC2`, and nothing else that ends so, such as a program of that name.
pub(super) fn is_rpc(path: &str) -> bool {
    let of_worker = path.strip_prefix("/workers/").and_then(|rest| rest.strip_suffix("/RPC2"));
    path == "/RPC2" || of_worker.is_some_and(|worker| !worker.contains('/'))
}

pub(super) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A `Host` without its port.
fn name(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
}

/// Whether a `Host` is this machine.
pub(super) fn is_here(host: &str) -> bool {
    let name = name(host);
    let is_loopback = |ip: IpAddr| ip.is_loopback();
    // Supervisor's clients name a unix socket `localhost`, or nothing.
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

/// Whether a `Host` is no name that somebody could point elsewhere.
pub(super) fn is_address(host: &str) -> bool {
    is_here(host) || name(host).parse::<IpAddr>().is_ok()
}

/// Whether a browser says that a page of another site asks. Tools say nothing.
pub(super) fn is_foreign(headers: &HeaderMap, host: Option<&str>) -> bool {
    let Some(origin) = text(headers, header::ORIGIN) else { return false };
    let from = origin.split_once("://").map(|(_, from)| from);
    from.is_none() || from != host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_among_others() {
        let read = |line: &str| {
            let headers = HeaderMap::from_iter([(header::COOKIE, line.parse().unwrap())]);
            cookie(&headers).map(str::to_owned)
        };
        for line in ["dsbus=a.1.b", "x=y; dsbus=a.1.b", " dsbus=a.1.b ;x", "dsbus= \ta.1.b"] {
            assert_eq!(read(line).as_deref(), Some("a.1.b"), "{line}");
        }
        assert_eq!(read("dsbus2=a; dsbus"), None);
    }

    #[test]
    fn what_is_here() {
        for host in ["localhost", "LocalHost:9001", "127.0.0.1:9001", "[::1]:9001", "127.9.9.9", ""]
        {
            assert!(is_here(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9001",
            "10.0.0.1:9001",
            "localhost.evil",
            "[fe80::1]",
            "]:80",
            "[[::1]",
        ] {
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
