//! JSON over HTTP, below `/api/v1`, and the `OpenAPI` document about it.

mod act;
mod answer;
mod api;
mod document;
mod events;
mod failed;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod given;
mod instances;
mod log;
mod look;
mod programs;
mod refusal;
mod usage;
pub(crate) mod wait;
mod worker;

use axum::Router;

use crate::http::Gateway;

/// Where it lies.
pub(crate) const BELOW: &str = "/api/v1";

/// All of its paths.
pub(crate) fn routes() -> Router<Gateway> {
    let api = api::Api::new();
    let api = look::add(api);
    let api = events::add(api);
    let api = instances::add(api);
    let api = programs::add(api);
    let api = usage::add(api);
    let api = worker::add(api);
    act::add(api).finish()
}
