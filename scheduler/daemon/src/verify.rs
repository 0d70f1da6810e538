//! Asks workers whose touch is overdue (DESIGN.md section 5, rule 6), and tells of losses.

use std::time::Duration;

use dsbus_client::{Bus, Entry};
use dsbus_schema::call::{Pong, WorkerVerb};
use dsbus_schema::event::{Event, Fact, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::storage::{Bucket, touch_key};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::clock;
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

/// Tells what became of a worker. Every scheduler reaches its own verdict; `seq`, the sequence of
/// the marker or touch it stands on, makes their events one.
pub(crate) fn tell(bus: &Bus, worker: WorkerName, change: WorkerChange, seq: u64, reason: &str) {
    let name = format!("{}/{worker}/{change:?}/{seq}", bus.fleet());
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    let reason = Some(reason.to_owned());
    let fact = WorkerFact { worker, change, reason, incarnation: None, dropped: None };
    publish(bus, id, Fact::Worker(fact));
}

/// How often an event is tried to be published before it is given up and logged.
const PUBLISH_ATTEMPTS_MAX: u32 = 20;

/// Pause between two tries.
const PUBLISH_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Publishes an event of the fleet, aside.
pub(crate) fn publish(bus: &Bus, id: Uuid, fact: Fact) {
    let bus = bus.clone();
    let event = Event::new(bus.fleet(), &Source::Fleet, id, clock::wall(), fact);
    tokio::spawn(async move {
        for attempt in 0..PUBLISH_ATTEMPTS_MAX {
            match bus.publish_event(&Source::Fleet, &event).await {
                Ok(()) => return,
                Err(e) => tracing::debug!("event not published, attempt {attempt}: {e}"),
            }
            tokio::time::sleep(PUBLISH_AGAIN_AFTER).await;
        }
        tracing::warn!("event {} about {} could not be published", event.kind, event.subject);
    });
}
