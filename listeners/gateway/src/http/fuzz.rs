//! What fuzzing feeds: see `dsbus_schema`'s module of this name.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::said::{basic, cookie, is_address, is_foreign, is_here, is_rpc, text};

/// Reads what a request says of who asks.
///
/// # Panics
/// When something is read that was not said, or a stranger counts as one of this machine.
pub(crate) fn said(path: &str, headers: &HeaderMap) {
    if let Some(cookie) = cookie(headers) {
        assert!(!cookie.contains(';') && cookie.trim() == cookie, "{cookie:?}");
    }
    if let Some((name, password)) = basic(headers) {
        assert!(!name.contains(':'), "{name}");
        let again = format!("bAsIc {}", BASE64_STANDARD.encode(format!("{name}:{password}")));
        let mut once_more = HeaderMap::new();
        once_more.extend(again.parse().ok().map(|again| (header::AUTHORIZATION, again)));
        assert_eq!(basic(&once_more), Some((name, password)));
    }
    let host = text(headers, header::HOST);
    if let Some(host) = host.filter(|host| is_here(host)) {
        assert!(is_address(host), "{host:?}");
        let lower = host.to_ascii_lowercase();
        let known =
            ["localhost", "127.", ":", "[", "::"].iter().any(|begin| lower.starts_with(begin));
        assert!(
            known || lower.trim_matches(['[', ']']).is_empty() || lower.contains("::"),
            "{host:?}"
        );
    }
    let origin = text(headers, header::ORIGIN);
    let own = origin.is_none_or(|origin| host.is_some_and(|host| origin.ends_with(host)));
    assert!(own || is_foreign(headers, host), "{origin:?} at {host:?}");
    assert!(!is_rpc(path) || path.ends_with("/RPC2") && path.matches('/').count() % 2 == 1);
}
