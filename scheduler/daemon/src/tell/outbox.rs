//! The events that this scheduler has still to tell: told in order, again and again until they are
//! stored. Beside the loop, so that nothing waits for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsbus_client::{Bus, Error, STORING_ALREADY};
use dsbus_schema::event::{Fact, SchedulerChange, SchedulerFact, Source};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::queue::Queue;
use super::{Told, past};
use crate::clock;
use crate::counts::Counts;

/// Pause after one that could not be stored.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long a command waits until its event is stored. An acknowledgement takes half a millisecond;
/// a client waits a second before it asks somebody else.
const FIRST_WITHIN: Duration = Duration::from_millis(250);

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Stored,
    /// It is to be sent again.
    Again,
    /// It can never be stored.
    Never,
}

/// See the top. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    bus: Bus,
    /// This scheduler, and its run.
    id: String,
    run: Uuid,
    queue: Arc<Mutex<Queue>>,
    counts: Arc<Counts>,
    /// Told when something waits, and when all is told.
    changed: Arc<Notify>,
}

impl Outbox {
    pub(crate) fn new(bus: Bus, id: String, run: Uuid, counts: Arc<Counts>) -> Outbox {
        Outbox { bus, id, run, queue: Arc::default(), counts, changed: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells events, when their turn comes.
    pub(crate) fn push(&self, told: Vec<Told>) {
        if !told.is_empty() {
            self.lock().push(told);
            self.changed.notify_waiters();
        }
    }

    /// Tells an event before all others, if that is possible in a moment; else when its turn comes.
    pub(crate) async fn tell_first(&self, told: Told) {
        let failing = self.lock().is_failing();
        if !failing
            && let Ok(Sent::Stored | Sent::Never) = timeout(FIRST_WITHIN, self.send(&told)).await
        {
            return;
        }
        self.push(vec![told]);
    }

    /// How many are not told yet.
    pub(crate) fn untold(&self) -> u64 {
        self.lock().untold() as u64
    }

    /// How many were dropped ever.
    pub(crate) fn dropped_ever(&self) -> u64 {
        self.lock().dropped_ever()
    }

    /// Waits until all are told.
    pub(crate) async fn drained(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that nothing is missed between the two.
            changed.as_mut().enable();
            if self.untold() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Tells for ever.
    pub(crate) async fn run(self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let window = self.lock().take();
            if window.is_empty() {
                changed.await;
                continue;
            }
            let was_failing = self.lock().is_failing();
            // Polled, and so sent, in their order.
            let sends: Vec<_> = window.iter().map(|told| self.send(told)).collect();
            let sent = futures::future::join_all(sends).await;
            let never = sent.iter().filter(|sent| **sent == Sent::Never).count();
            let again = window.into_iter().zip(sent).filter(|(_, sent)| *sent == Sent::Again);
            let left: Vec<Told> = again.map(|(told, _)| told).collect();
            let failing = !left.is_empty();
            let dropped = {
                let mut queue = self.lock();
                queue.sent(left);
                queue.drop_some(never as u64);
                queue.take_dropped()
            };
            if let Some((dropped, ever)) = dropped {
                tracing::error!("{dropped} events were dropped: they could not be stored");
                self.push(vec![self.dropped(dropped, ever)]);
            }
            self.changed.notify_waiters();
            if failing {
                if !was_failing {
                    tracing::warn!("events cannot be stored; they wait, {} now", self.untold());
                }
                sleep(AGAIN_AFTER).await;
            }
        }
    }

    async fn send(&self, told: &Told) -> Sent {
        match past::is_told(&self.bus, told).await {
            Ok(true) => return Sent::Stored,
            Ok(false) => {}
            Err(e) => {
                tracing::debug!("the events cannot be read: {e}");
                return Sent::Again;
            }
        }
        match self.bus.publish_event(&Source::Fleet, &told.event(self.bus.fleet())).await {
            Ok(()) => {
                self.counts.event_stored();
                Sent::Stored
            }
            Err(e @ Error::Malformed { .. }) => {
                tracing::error!("an event about {} is dropped: {e}", told.fact.kind());
                Sent::Never
            }
            // Another scheduler's copy of it.
            Err(Error::Api { code: STORING_ALREADY, .. }) => Sent::Again,
            Err(e) => {
                tracing::debug!("an event is not stored: {e}");
                Sent::Again
            }
        }
    }

    /// Tells that events were dropped.
    fn dropped(&self, count: u64, ever: u64) -> Told {
        let fact = SchedulerFact {
            scheduler: self.id.clone(),
            change: SchedulerChange::EventsDropped,
            schedulers: 1,
            count: Some(count),
        };
        let words = format!("scheduler/{}/{}/dropped/{ever}", self.id, self.run);
        Told::new(self.bus.fleet(), &words, clock::wall(), Fact::Scheduler(fact))
    }
}
