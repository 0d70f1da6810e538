//! Reading what is sent: a query, a body. Whatever is wrong is told by its field.

use axum::extract::Query;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, Uri, header};
use bytes::Bytes;
use dsbus_schema::reading::{self, Wrong};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;

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
    let body = body.map_err(|e| Refusal::new(e.status().as_u16(), e.body_text()))?;
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
    reading::message(&body).map_err(|Wrong { field, why }| Refusal::bad(&field, why))
}

/// Finds the field in what serde says of a query.
fn wrong(said: &str) -> Refusal {
    let (path, said) = match said.split_once(": ") {
        Some((key, why)) if !key.contains(' ') => (key, why),
        Some(_) | None => (".", said),
    };
    let Wrong { field, why } = reading::wrong(path, said);
    Refusal::bad(&field, why)
}
