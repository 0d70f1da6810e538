//! `GET /metrics`: what monitors want to know.

mod collect;
mod daemons;
mod families;
mod requests;
mod sheet;
mod tally;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dsbus_client::Meter;
use dsbus_schema::event::{Event, Fact};
use dsbus_schema::stats::DURATION_BOUNDS_US;
use tokio::sync::broadcast::error::RecvError;

use crate::fleet::{Change, Fleet};
use crate::http::Gateway;
use crate::usage::Usage;
use daemons::Daemons;
use requests::Requests;
use sheet::Form;
use tally::Tally;

pub(crate) use requests::count;

/// The page of the documentation that lists all metrics.
pub fn document() -> String {
    families::document()
}

/// What is counted; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fleet: Fleet,
    usage: Usage,
    daemons: Daemons,
    tally: Mutex<Tally>,
    requests: Requests,
    browsers: Arc<AtomicU64>,
    round_trip: Meter,
}

impl Metrics {
    /// Has counted nothing yet; see [`Metrics::keep`].
    pub(crate) fn new(fleet: Fleet) -> Metrics {
        Metrics(Arc::new(Inner {
            fleet,
            usage: Usage::new(),
            daemons: Daemons::default(),
            tally: Mutex::default(),
            requests: Requests::default(),
            browsers: Arc::default(),
            round_trip: Meter::new(DURATION_BOUNDS_US),
        }))
    }

    /// Counts events, and asks what instances use, for ever.
    pub(crate) async fn keep(&self) {
        tokio::join!(self.count_events(), self.0.usage.keep(&self.0.fleet));
    }

    /// What instances use.
    pub(crate) fn usage(&self) -> &Usage {
        &self.0.usage
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn count_events(&self) {
        let mut changes = self.0.fleet.changes();
        loop {
            match changes.recv().await {
                Ok(Change::Event(event)) => self.heard(&event),
                Ok(Change::Rows { .. } | Change::Workers | Change::Programs | Change::Silence) => {}
                Err(RecvError::Lagged(count)) => self.tally().missed += count,
                // The fleet lives as long as this does.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    fn heard(&self, event: &Event) {
        if let Fact::Scheduler(fact) = &event.data {
            self.0.daemons.heard(fact);
        }
        let known = self.0.fleet.known();
        self.tally().count(event, |worker| known.workers().get(worker)?.last_touch);
    }
}

/// Somebody follows the fleet live, for as long as this lives.
#[derive(Debug)]
struct Browser(Arc<AtomicU64>);

impl Browser {
    fn new(all: &Arc<AtomicU64>) -> Browser {
        all.fetch_add(1, Ordering::Relaxed);
        Browser(Arc::clone(all))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn routes() -> Router<Gateway> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(gateway): State<Gateway>, headers: HeaderMap) -> Response {
    let form = Form::wanted(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
    let sheet = gateway.metrics.collect().await;
    match sheet.write(gateway.fleet.bus().fleet().to_string(), form) {
        Ok(text) => ([(header::CONTENT_TYPE, form.content_type())], text).into_response(),
        Err(e) => {
            let said = format!("the metrics cannot be written: {e}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, said).into_response()
        }
    }
}
