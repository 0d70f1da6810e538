//! What was dropped: how much of which kind, and of which time.

use std::collections::BTreeMap;

use dsbus_schema::event::Dropped;
use dsbus_schema::moment::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::Kind;

/// A count of events that are lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    kinds: BTreeMap<Kind, u64>,
    /// When the first and the last of them happened, in milliseconds since 1970.
    times: Option<(i64, i64)>,
}

impl Tally {
    /// Counts one. What tells no event is none: a later report says how its instance stands.
    pub(super) fn add(&mut self, kind: Kind, millis: i64) {
        if kind != Kind::Silent {
            *self.kinds.entry(kind).or_default() += 1;
            self.during((millis, millis));
        }
    }

    /// Counts some that nobody can read, and whose time nobody knows.
    pub(super) fn unreadable(&mut self, count: u64) {
        if count > 0 {
            *self.kinds.entry(Kind::Unreadable).or_default() += count;
        }
    }

    /// Counts all of another one.
    pub(super) fn merge(&mut self, other: &Tally) {
        for (kind, count) in &other.kinds {
            *self.kinds.entry(*kind).or_default() += count;
        }
        other.times.into_iter().for_each(|times| self.during(times));
    }

    fn during(&mut self, (from, to): (i64, i64)) {
        let (first, last) = self.times.get_or_insert((from, to));
        *first = from.min(*first);
        *last = to.max(*last);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// As it is told.
    pub(super) fn told(&self) -> Dropped {
        let time = |millis: i64| Timestamp::from_unix_nanos(i128::from(millis) * 1_000_000);
        let kinds = self.kinds.iter().map(|(kind, count)| (kind.name().to_owned(), *count));
        Dropped {
            events: self.kinds.values().sum(),
            kinds: kinds.collect(),
            from: self.times.map(|(from, _)| time(from)),
            to: self.times.map(|(_, to)| time(to)),
        }
    }
}
