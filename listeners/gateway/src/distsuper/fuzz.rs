//! What fuzzing feeds: see `dsbus_schema`'s module of this name.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use futures::FutureExt as _;

use super::read;

/// Reads what is said, and the declaration that it makes.
///
/// # Panics
/// When a refusal does not say why, or a declaration lacks what it must have.
pub(crate) fn said(request: Request<Body>) {
    // All of it is there: nothing is waited for.
    let said = match read::said(request).now_or_never() {
        Some(Ok(said)) => said,
        Some(Err(fault)) => {
            assert!(!fault.why.is_empty(), "refused without a word");
            return;
        }
        None => panic!("waits for what is there"),
    };
    let named = said.name();
    assert!(named.is_err() || said.has_name());
    match read::declaration(&said, &BTreeMap::new()) {
        Ok((_, _, keys)) => {
            let command = keys.get("command").and_then(|command| command.as_str());
            assert!(command.is_some_and(|command| !command.is_empty()), "{keys:?}");
        }
        Err(fault) => assert!(!fault.why.is_empty(), "refused without a word"),
    }
}
