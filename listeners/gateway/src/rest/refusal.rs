//! Answers that refuse: all of them look the same.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dsbus_schema::command::{Refused, code};
use dsbus_schema::program::Problem;

/// Why something was not answered, or not done.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Refused);

impl Refusal {
    pub(super) fn new(code: u16, error: impl Into<String>) -> Refusal {
        Refusal(Refused { code, error: error.into(), problems: Vec::new() })
    }

    /// What was sent is wrong at `key`.
    pub(super) fn bad(key: &str, why: impl Into<String>) -> Refusal {
        let why = why.into();
        let error = if key.is_empty() { why.clone() } else { format!("{key}: {why}") };
        let problems = if key.is_empty() { Vec::new() } else { vec![Problem::new(key, why)] };
        Refusal(Refused { code: code::BAD_REQUEST, error, problems })
    }

    /// There is no such thing.
    pub(super) fn no(what: &str, name: &str) -> Refusal {
        Refusal::new(code::NOT_FOUND, format!("no {what} is named {name:?}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let known = (400..600).contains(&self.0.code);
        let code = StatusCode::from_u16(self.0.code).ok().filter(|_| known);
        // Another implementation of a scheduler may refuse without a code.
        (code.unwrap_or(StatusCode::BAD_GATEWAY), Json(self.0)).into_response()
    }
}
