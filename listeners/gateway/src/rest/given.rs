//! Reading what is sent: a query, a body. Whatever is wrong is told by its field.

use axum::extract::Query;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use crate::http::BODY_BYTES_MAX;

/// What a query or a body says.
pub(super) trait Given: DeserializeOwned + JsonSchema + Send + 'static {
    /// There is none.
    const IS_NOTHING: bool = false;
}

/// No query, or no body.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl Given for Nothing {
    const IS_NOTHING: bool = true;
}

/// Reads what stands after the `?`.
///
/// # Errors
/// Which word is wrong.
pub(super) fn query<Q: Given>(uri: &Uri) -> Result<Q, Refusal> {
    match Query::try_from_uri(uri) {
        Ok(Query(query)) => Ok(query),
        Err(e) => {
            let text = e.body_text();
            let (_, why) = text.split_once("query string: ").unwrap_or(("", &text));
            Err(wrong(why))
        }
    }
}

/// Reads a body of JSON.
///
/// # Errors
/// Which field is wrong, that it is too long, or no JSON.
pub(super) fn body<B: Given>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<B, Refusal> {
    let body = body.map_err(|e| match e.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Refusal::new(413, format!("the body is longer than {BODY_BYTES_MAX} bytes"))
        }
        status => Refusal::new(status.as_u16(), e.body_text()),
    })?;
    if B::IS_NOTHING {
        // Whatever clients send with a POST that has nothing to say.
        return serde_json::from_str("{}").map_err(|e| Refusal::bad("", e.to_string()));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        let found = kind.unwrap_or("nothing");
        let why = format!("the header Content-Type must be application/json, and is {found}");
        return Err(Refusal::new(415, why));
    }
    // What has names could be written as an array of values as well: nobody means that.
    if body.trim_ascii_start().first().is_some_and(|first| b"[\"0123456789-tfn".contains(first)) {
        return Err(Refusal::bad("", "the body must be an object: {...}"));
    }
    let mut read = serde_json::Deserializer::from_slice(&body);
    let given = serde_path_to_error::deserialize(&mut read).map_err(|e| {
        let path = e.path().to_string();
        let why = without_place(&e.inner().to_string());
        if [".", "?"].contains(&path.as_str()) { wrong(&why) } else { Refusal::bad(&path, why) }
    })?;
    read.end().map_err(|e| Refusal::bad("", format!("the body is no JSON: {e}")))?;
    Ok(given)
}

/// Without "at line 1 column 2", which says little of a body that a program made.
fn without_place(why: &str) -> String {
    why.split_once(" at line ").map_or(why, |(why, _)| why).to_owned()
}

/// Finds the field in what serde says.
fn wrong(why: &str) -> Refusal {
    let named = ["unknown field `", "missing field `", "duplicate field `"];
    let named = named.iter().find_map(|begin| why.strip_prefix(begin)?.split_once('`'));
    match (named, why.split_once(": ")) {
        (Some((key, _)), _) => Refusal::bad(key, why),
        (None, Some((key, why))) if !key.contains(' ') => Refusal::bad(key, why),
        (None, _) => Refusal::bad("", why),
    }
}
