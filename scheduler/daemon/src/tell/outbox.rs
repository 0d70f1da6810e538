//! The events that this scheduler has still to tell: told in order, again and again until they are
//! stored. Beside the loop, so that nothing waits for them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsbus_client::{Bus, Error};
use dsbus_schema::event::{Fact, SchedulerChange, SchedulerFact, Source};
use futures::StreamExt;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{Told, past};
use crate::clock;

/// Events that wait. While the bus is away nothing is written, and there is nothing to tell; so this
/// is for the moment in which ten thousand instances move, and for a stream that stores nothing while
/// the buckets do. At a kilobyte each this is some megabytes.
pub(crate) const OUTBOX_MAX: usize = 16_384;
/// Events on their way at once: enough to hide the way to the server and back.
const WINDOW: usize = 64;
/// Pause after one that could not be stored.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long a command waits until its event is stored. An acknowledgement takes half a millisecond;
/// a client waits a second before it asks somebody else.
const FIRST_WITHIN: Duration = Duration::from_millis(250);
/// `JSStreamDuplicateMessageConflict`: another scheduler's copy of it is being stored right now.
const IN_PROCESS: u64 = 10158;

/// The events that wait, and how it goes.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Told>,
    /// On their way.
    sent: usize,
    /// Dropped, and not told of yet.
    dropped: u64,
    /// Dropped ever.
    dropped_ever: u64,
    /// The last one could not be stored.
    failing: bool,
}

impl Queue {
    fn push(&mut self, told: impl IntoIterator<Item = Told>) {
        self.waiting.extend(told);
        self.trim();
    }

    /// The oldest go first: who listens has most use of what is so now.
    fn trim(&mut self) {
        let surplus = self.waiting.len().saturating_sub(OUTBOX_MAX);
        self.waiting.drain(..surplus);
        self.drop_some(surplus as u64);
    }

    fn drop_some(&mut self, count: u64) {
        self.dropped += count;
        self.dropped_ever += count;
    }

    /// Those that are sent next.
    fn take(&mut self) -> Vec<Told> {
        let window: Vec<Told> = self.waiting.drain(..self.waiting.len().min(WINDOW)).collect();
        self.sent = window.len();
        window
    }

    /// They were sent; these could not be stored, and come first again.
    fn sent(&mut self, left: Vec<Told>) {
        self.sent = 0;
        self.failing = !left.is_empty();
        left.into_iter().rev().for_each(|told| self.waiting.push_front(told));
        self.trim();
    }

    fn untold(&self) -> usize {
        self.waiting.len() + self.sent
    }
}

/// What became of an event.
enum Sent {
    Stored,
    /// It is to be sent again.
    Again(Told),
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
    /// Told when something waits, and when all is told.
    changed: Arc<Notify>,
}

impl Outbox {
    pub(crate) fn new(bus: Bus, id: String, run: Uuid) -> Outbox {
        Outbox { bus, id, run, queue: Arc::default(), changed: Arc::default() }
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
        let failing = self.lock().failing;
        if !failing
            && let Ok(Sent::Stored | Sent::Never) =
                timeout(FIRST_WITHIN, self.send(told.clone())).await
        {
            return;
        }
        self.push(vec![told]);
    }

    /// How many are not told yet.
    pub(crate) fn untold(&self) -> u64 {
        self.lock().untold() as u64
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
            let was_failing = self.lock().failing;
            let sent = futures::stream::iter(window.into_iter().map(|told| self.send(told)));
            let sent: Vec<Sent> = sent.buffered(WINDOW).collect().await;
            let never = sent.iter().filter(|sent| matches!(sent, Sent::Never)).count();
            let left: Vec<Told> = sent
                .into_iter()
                .filter_map(|sent| match sent {
                    Sent::Again(told) => Some(told),
                    Sent::Stored | Sent::Never => None,
                })
                .collect();
            let failing = !left.is_empty();
            let (dropped, ever) = {
                let mut queue = self.lock();
                queue.sent(left);
                queue.drop_some(never as u64);
                let dropped = if failing { 0 } else { std::mem::take(&mut queue.dropped) };
                (dropped, queue.dropped_ever)
            };
            if dropped > 0 {
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

    async fn send(&self, told: Told) -> Sent {
        match past::is_told(&self.bus, &told).await {
            Ok(true) => return Sent::Stored,
            Ok(false) => {}
            Err(e) => {
                tracing::debug!("the events cannot be read: {e}");
                return Sent::Again(told);
            }
        }
        match self.bus.publish_event(&Source::Fleet, &told.event(self.bus.fleet())).await {
            Ok(()) => Sent::Stored,
            Err(e @ Error::Malformed { .. }) => {
                tracing::error!("an event about {} is dropped: {e}", told.fact.kind());
                Sent::Never
            }
            Err(Error::Api { code: IN_PROCESS, .. }) => Sent::Again(told),
            Err(e) => {
                tracing::debug!("an event is not stored: {e}");
                Sent::Again(told)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tell::derive::scheduler;
    use dsbus_schema::ids::FleetName;
    use dsbus_schema::moment::Timestamp;

    fn event(n: usize) -> Told {
        let (fleet, time) = (FleetName::default(), Timestamp::from_unix_nanos(0));
        scheduler((&fleet, time), ("s", Uuid::nil()), SchedulerChange::Lost, n as u64, 0)
    }

    #[test]
    fn what_was_not_stored_comes_first_again_and_in_order() {
        let mut queue = Queue::default();
        queue.push((0..100).map(event));
        let first = queue.take();
        assert_eq!((first.len(), queue.untold()), (WINDOW, 100));
        queue.sent(vec![first[3].clone(), first[7].clone()]);
        assert!(queue.failing);
        assert_eq!(queue.untold(), 100 - WINDOW + 2);
        let second = queue.take();
        assert_eq!(second[..3], [event(3), event(7), event(WINDOW)]);
        queue.sent(Vec::new());
        assert!(!queue.failing);
        assert_eq!(queue.untold(), 0);
    }

    #[test]
    fn beyond_its_limit_the_oldest_are_dropped_and_counted() {
        let mut queue = Queue::default();
        queue.push((0..OUTBOX_MAX + 5).map(event));
        assert_eq!((queue.untold(), queue.dropped), (OUTBOX_MAX, 5));
        let window = queue.take();
        assert_eq!(window[0], event(5));
        queue.push((0..WINDOW).map(event));
        queue.sent(window);
        assert_eq!((queue.untold(), queue.dropped), (OUTBOX_MAX, 5 + WINDOW as u64));
    }
}
