//! Requests that are answered, and pages that stay.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;

use super::Browser;
use crate::http::Gateway;

/// Where pages hear of changes.
const STREAM: &str = "/api/v1/stream";
/// What stands for a path that there is not.
const NONE: &str = "none";

/// By route and status: both have a limited number of values.
#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<BTreeMap<(String, u16), u64>>);

impl Requests {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, u16), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All so far.
    pub(super) fn read(&self) -> BTreeMap<(String, u16), u64> {
        self.lock().clone()
    }
}

/// Counts a request, once it is answered; and of a page that follows the fleet, that it is there.
pub(crate) async fn count(
    State(gateway): State<Gateway>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| NONE.to_owned(), |path| path.as_str().to_owned());
    let follows = route == STREAM;
    let response = next.run(request).await;
    let metrics = &gateway.metrics.0;
    *metrics.requests.lock().entry((route, response.status().as_u16())).or_default() += 1;
    if !follows || response.status() != StatusCode::OK {
        return response;
    }
    let browser = Browser::new(&metrics.browsers);
    response.map(|body| {
        let parts = body.into_data_stream().map(move |part| {
            let _stays = &browser;
            part
        });
        Body::from_stream(parts)
    })
}
