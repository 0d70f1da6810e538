//! Asks workers whose touch is overdue (DESIGN.md section 5, rule 6).

use std::time::Duration;

use dsbus_client::{Bus, Entry};
use dsbus_schema::call::{Pong, WorkerVerb};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::storage::{Bucket, touch_key};
use tokio::sync::mpsc;

use crate::core::LeaseKey;

/// How long an answer is waited for. Asks do not wait for each other, so a slow answer still
/// counts.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// Asks a worker whether it lives; an answer goes to `answers`.
pub(crate) fn ask(bus: &Bus, worker: WorkerName, answers: mpsc::Sender<WorkerName>) {
    let bus = bus.clone();
    tokio::spawn(async move {
        let empty = serde_json::json!({});
        let answer: Result<Pong, _> =
            bus.call_worker(&worker, WorkerVerb::Ping, &empty, ANSWER_PATIENCE).await;
        if answer.is_ok() {
            // The receiver is gone only when this scheduler stops.
            let _ = answers.send(worker).await;
        }
    });
}

/// Looks at what stands under the key of a lease; it goes to `looked`.
pub(crate) fn look(bus: &Bus, key: LeaseKey, looked: mpsc::Sender<(LeaseKey, Option<Entry>)>) {
    let bus = bus.clone();
    tokio::spawn(async move {
        if let Ok(entry) = bus.get(Bucket::Fleet, &touch_key(&key.0, key.1)).await {
            // The receiver is gone only when this scheduler stops.
            let _ = looked.send((key, entry)).await;
        }
    });
}
