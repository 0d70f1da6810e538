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
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};

use crate::http::Gateway;

/// Where it lies.
pub(crate) const BELOW: &str = "/api/v1";

/// Fewer bytes are sent as they are: they go into one packet, packed or not.
const PACKED_BYTES_MIN: u16 = 1024;

/// All of its paths.
pub(crate) fn routes() -> Router<Gateway> {
    let api = api::Api::new();
    let api = look::add(api);
    let api = events::add(api);
    let api = instances::add(api);
    let api = programs::add(api);
    let api = usage::add(api);
    let api = worker::add(api);
    // Only what has an end: a log that is followed, or the stream, would wait in the packer.
    let packs = SizeAbove::new(PACKED_BYTES_MIN).and(NotForContentType::const_new("text/"));
    // Whoever asks is mostly near: what a better level saves, it costs several times in waiting.
    let pack = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(packs);
    act::add(api).finish().layer(pack)
}
