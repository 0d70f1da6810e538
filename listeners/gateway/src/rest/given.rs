//! Reading what is sent: a query, a body. Whatever is wrong is told by its field.

use axum::extract::Query;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::refusal::Refusal;
use crate::http::BODY_BYTES_MAX;

/// Greatest float of which the next one is 1 more (2^53): a greater one may stand for several numbers.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

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
    let mut read: Value = serde_json::from_slice(&body)
        .map_err(|e| Refusal::bad("", format!("the body is no JSON: {e}")))?;
    // What has names could be written as an array of values as well: nobody means that.
    if !read.is_object() {
        return Err(Refusal::bad("", "the body must be an object: {...}"));
    }
    make_whole(&mut read);
    serde_path_to_error::deserialize(read).map_err(|e| {
        let (path, why) = (e.path().to_string(), e.inner().to_string());
        if [".", "?"].contains(&path.as_str()) { wrong(&why) } else { Refusal::bad(&path, why) }
    })
}

/// Writes 4.0 as 4. To JSON, and so to the document, they are one number; to serde they are not.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|x| x.fract() == 0.0 && x.abs() <= WHOLE_MAX);
            if let Some(whole) = whole
                && number.is_f64()
            {
                #[expect(clippy::cast_possible_truncation, reason = "it is whole, and not greater")]
                let whole = whole as i64;
                *number = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(map) => map.values_mut().for_each(make_whole),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_whole_number_may_have_a_point() {
        for (given, made) in [
            (json!({ "to": [88.0, -3.0, 0.0] }), json!({ "to": [88, -3, 0] })),
            (json!([1.5, 1e300, "4.0", true, null]), json!([1.5, 1e300, "4.0", true, null])),
            (json!(u64::MAX), json!(u64::MAX)),
            (json!(WHOLE_MAX), json!(1_i64 << 53)),
        ] {
            let mut value = given.clone();
            make_whole(&mut value);
            assert_eq!(value, made, "{given}");
        }
    }
}
