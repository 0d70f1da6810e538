//! Ids of events that were handled: what is published twice is told once.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

/// How many ids are kept. NATS itself drops the second copy of an event within its window of ten
/// minutes; this is for what comes later, which is rare.
const SEEN_MAX: usize = 10_000;

/// The ids that were handled last.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Seen {
    /// Whether it was handled.
    pub(crate) fn contains(&self, id: Uuid) -> bool {
        self.ids.contains(&id)
    }

    /// It was handled.
    pub(crate) fn insert(&mut self, id: Uuid) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut seen = Seen::default();
        let ids = || (0..=SEEN_MAX as u128).map(Uuid::from_u128);
        ids().for_each(|id| seen.insert(id));
        seen.insert(Uuid::from_u128(1));
        assert!(!seen.contains(Uuid::from_u128(0)));
        assert!(ids().skip(1).all(|id| seen.contains(id)));
        assert_eq!(seen.order.len(), SEEN_MAX);
    }
}
