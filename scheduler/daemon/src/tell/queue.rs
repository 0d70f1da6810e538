//! The events that wait to be told, in order. Pure; `outbox.rs` tells them.

use std::collections::VecDeque;

use super::Told;

/// Events that wait. While the bus is away nothing is written, and there is nothing to tell; so this
/// is for the moment in which ten thousand instances move, and for a stream that stores nothing while
/// the buckets do. At a kilobyte each this is some megabytes.
pub const OUTBOX_MAX: usize = 16_384;
/// Events on their way at once: enough to hide the way to the server and back.
pub const WINDOW: usize = 64;
/// The events that wait, and how it goes.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Told>,
    /// On their way.
    sent: usize,
    /// Dropped, and not told of yet.
    dropped: u64,
    /// Dropped ever.
    dropped_ever: u64,
    /// The last ones could not be stored.
    failing: bool,
}

impl Queue {
    /// These are to be told.
    pub fn push(&mut self, told: impl IntoIterator<Item = Told>) {
        self.waiting.extend(told);
        self.trim();
    }

    /// The oldest go first: who listens has most use of what is so now.
    fn trim(&mut self) {
        let surplus = self.waiting.len().saturating_sub(OUTBOX_MAX);
        self.waiting.drain(..surplus);
        self.drop_some(surplus as u64);
    }

    /// So many are dropped.
    pub fn drop_some(&mut self, count: u64) {
        self.dropped += count;
        self.dropped_ever += count;
    }

    /// Those that are sent next.
    pub fn take(&mut self) -> Vec<Told> {
        let window: Vec<Told> = self.waiting.drain(..self.waiting.len().min(WINDOW)).collect();
        self.sent = window.len();
        window
    }

    /// They were sent; these could not be stored, and come first again.
    pub fn sent(&mut self, left: Vec<Told>) {
        self.sent = 0;
        self.failing = !left.is_empty();
        left.into_iter().rev().for_each(|told| self.waiting.push_front(told));
        self.trim();
    }

    /// How many are not told yet.
    pub fn untold(&self) -> usize {
        self.waiting.len() + self.sent
    }

    /// How many were dropped ever.
    pub fn dropped_ever(&self) -> u64 {
        self.dropped_ever
    }

    /// Whether the last ones could not be stored.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// How many were dropped since this was last asked, and ever; asked when events are stored again.
    pub fn take_dropped(&mut self) -> Option<(u64, u64)> {
        let dropped = if self.failing { 0 } else { std::mem::take(&mut self.dropped) };
        (dropped > 0).then_some((dropped, self.dropped_ever))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tell::derive::scheduler;
    use dsbus_schema::event::SchedulerChange;
    use dsbus_schema::ids::FleetName;
    use dsbus_schema::moment::Timestamp;
    use uuid::Uuid;

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
        assert!(queue.is_failing());
        assert_eq!(queue.untold(), 100 - WINDOW + 2);
        let second = queue.take();
        assert_eq!(second[..3], [event(3), event(7), event(WINDOW)]);
        queue.sent(Vec::new());
        assert!(!queue.is_failing());
        assert_eq!(queue.untold(), 0);
    }

    #[test]
    fn beyond_its_limit_the_oldest_are_dropped_and_counted() {
        let mut queue = Queue::default();
        queue.push((0..OUTBOX_MAX + 5).map(event));
        assert_eq!((queue.untold(), queue.take_dropped()), (OUTBOX_MAX, Some((5, 5))));
        assert_eq!(queue.take_dropped(), None, "told once");
        let window = queue.take();
        assert_eq!(window[0], event(5));
        queue.push((0..WINDOW).map(event));
        queue.sent(window);
        assert_eq!((queue.untold(), queue.take_dropped()), (OUTBOX_MAX, None), "not yet");
        queue.sent(Vec::new());
        let more = WINDOW as u64;
        assert_eq!(queue.take_dropped(), Some((more, more + 5)));
    }
}
