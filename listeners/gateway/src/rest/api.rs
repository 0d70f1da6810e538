//! Routes with what they take and give: the router and the `OpenAPI` document are both made of this
//! one list, so that they say the same.

use std::future::Future;

use axum::extract::rejection::BytesRejection;
use axum::extract::{RawPathParams, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use axum::{Extension, Router};
use bytes::Bytes;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::document;
use super::given::{self, Given, Nothing};
use super::refusal::Refusal;
use crate::http::{Caller, Gateway};

/// A call of a route.
#[derive(Debug)]
pub(super) struct Call<Q = Nothing, B = Nothing> {
    /// What the answer stands on.
    pub(super) gateway: Gateway,
    /// Who asks.
    pub(super) caller: Caller,
    /// The name in the path; empty where it has none.
    pub(super) name: String,
    /// What stands after the `?`.
    pub(super) query: Q,
    /// The body.
    pub(super) body: B,
}

/// An answer.
pub(super) trait Answer {
    /// Its media types, each with the schema of its content where that is JSON.
    fn media(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)>;

    /// As it is sent.
    fn into_response(self) -> Response;
}

/// Routes, and the document about them.
pub(super) struct Api {
    router: Router<Gateway>,
    paths: Map<String, Value>,
    generator: SchemaGenerator,
}

impl Api {
    pub(super) fn new() -> Api {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        let generator = settings.into_generator();
        Api { router: Router::new(), paths: Map::new(), generator }
    }

    /// Something to look at.
    pub(super) fn get<Q: Given, A: Answer + 'static, F, T>(
        self,
        path: &str,
        summary: &str,
        handler: F,
    ) -> Api
    where
        F: Fn(Call<Q>) -> T + Clone + Send + Sync + 'static,
        T: Future<Output = Result<A, Refusal>> + Send,
    {
        self.route((Method::GET, MethodFilter::GET), path, summary, handler)
    }

    /// Something to do.
    pub(super) fn post<Q: Given, B: Given, A: Answer + 'static, F, T>(
        self,
        path: &str,
        summary: &str,
        handler: F,
    ) -> Api
    where
        F: Fn(Call<Q, B>) -> T + Clone + Send + Sync + 'static,
        T: Future<Output = Result<A, Refusal>> + Send,
    {
        self.route((Method::POST, MethodFilter::POST), path, summary, handler)
    }

    /// A route of any method.
    pub(super) fn route<Q: Given, B: Given, A: Answer + 'static, F, T>(
        mut self,
        (method, filter): (Method, MethodFilter),
        path: &str,
        summary: &str,
        handler: F,
    ) -> Api
    where
        F: Fn(Call<Q, B>) -> T + Clone + Send + Sync + 'static,
        T: Future<Output = Result<A, Refusal>> + Send,
    {
        let handle = async move |State(gateway): State<Gateway>,
                                 Extension(caller): Extension<Caller>,
                                 names: Result<RawPathParams, _>,
                                 uri: Uri,
                                 headers: HeaderMap,
                                 body: Result<Bytes, BytesRejection>| {
            let call = || {
                let names = names.map_err(|_| Refusal::bad("", "the path is no UTF-8"))?;
                let name = names.iter().next().map(|(_, name)| name.to_owned());
                let name = name.unwrap_or_default();
                let query = given::query(&uri)?;
                let body = given::body(&headers, body)?;
                Ok(Call { gateway, caller, name, query, body })
            };
            let answer = match call() {
                Ok(call) => handler(call).await,
                Err(refusal) => Err(refusal),
            };
            answer.map_or_else(IntoResponse::into_response, Answer::into_response)
        };
        self.router = self.router.route(path, on(filter, handle));
        let body = (!B::IS_NOTHING).then(|| self.schema::<B>());
        let query = Q::json_schema(&mut self.generator);
        let answers = A::media(&mut self.generator);
        let operation = document::operation(
            &document::Route { method: &method, path, summary },
            &query,
            body,
            answers,
        );
        let at = self.paths.entry(path).or_insert_with(|| json!({}));
        if let Some(at) = at.as_object_mut() {
            at.insert(method.as_str().to_lowercase(), operation);
        }
        self
    }

    fn schema<T: JsonSchema>(&mut self) -> Schema {
        self.generator.subschema_for::<T>()
    }

    /// The router, with the document at `/openapi.json`.
    pub(super) fn finish(mut self) -> Router<Gateway> {
        let refusal = self.schema::<dsbus_schema::command::Refused>();
        let schemas = self.generator.take_definitions(true);
        let document = Bytes::from(document::whole(self.paths, &schemas, &refusal));
        let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
        self.router
            .route("/openapi.json", axum::routing::get(async move || (json, document)))
            .fallback(async |uri: Uri| {
                Refusal::no("path", &format!("{}{}", super::BELOW, uri.path()))
            })
            .method_not_allowed_fallback(async |method: Method| {
                Refusal::new(405, format!("nothing here answers to {method}"))
            })
    }
}
