//! Kinds of answers.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::api::Answer;

/// JSON.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize + JsonSchema> Answer for Json<T> {
    fn media(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
        vec![("application/json", generator.subschema_for::<T>())]
    }

    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// What is known, as it is kept: nothing is copied to be sent.
#[derive(Debug)]
pub(super) struct Shared<T>(pub(super) Arc<T>);

impl<T> Shared<T> {
    pub(super) fn of(one: &Arc<T>) -> Shared<T> {
        Shared(Arc::clone(one))
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<T: JsonSchema> JsonSchema for Shared<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Server-sent events, for as long as somebody reads them.
#[derive(Debug)]
pub(super) struct Live(pub(super) Body);

impl Answer for Live {
    fn media(_: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
        vec![("text/event-stream", json_schema!({ "type": "string" }))]
    }

    fn into_response(self) -> Response {
        crate::stream::response(self.0)
    }
}

/// What an instance printed, and perhaps what it prints.
#[derive(Debug)]
pub(super) enum Output {
    /// Text that ends.
    Text(Body),
    /// Events that go on.
    Live(Live),
}

impl Answer for Output {
    fn media(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
        let mut all = vec![("text/plain", json_schema!({ "type": "string" }))];
        all.extend(Live::media(generator));
        all
    }

    fn into_response(self) -> Response {
        match self {
            Output::Text(body) => {
                ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
            }
            Output::Live(live) => live.into_response(),
        }
    }
}
