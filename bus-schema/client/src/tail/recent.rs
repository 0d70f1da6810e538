//! What a watch read last, by which it recognises the stream after it was cut off: an old copy that
//! has grown since may end where the stream ended, or after it. Pure.

use std::collections::{BTreeMap, VecDeque};

use dsbus_schema::moment::Timestamp;

/// Entries that are remembered: of a worker some in a second, so half a minute or more; of all touches
/// of a large fleet less. A copy that is older ends before what was read for as long as it is older,
/// which is seen without them by whoever connects in that time.
const ENTRIES_MAX: usize = 64;

/// The entries.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Sequence, time and key of each, and whether it stays until something else is written: what has a
    /// TTL does not, nor do tombstones and markers. In the order of the stream.
    read: VecDeque<(u64, Timestamp, String, bool)>,
    /// Keys that have to be delivered, since the stream was opened anew, at these sequences or later.
    awaited: BTreeMap<String, u64>,
}

/// What an entry is that is delivered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    New,
    /// It was read before.
    Again,
    /// The stream that was read has none such.
    Other,
}

impl Recent {
    /// An entry was read.
    pub(super) fn add(&mut self, seq: u64, time: Timestamp, key: &str, stays: bool) {
        if self.read.len() == ENTRIES_MAX {
            self.read.pop_front();
        }
        self.read.push_back((seq, time, key.to_owned(), stays));
    }

    pub(super) fn clear(&mut self) {
        *self = Recent::default();
    }

    /// The stream is opened anew: where to begin, if anything is remembered.
    pub(super) fn open(&mut self) -> Option<u64> {
        let last: BTreeMap<&String, (u64, bool)> =
            self.read.iter().map(|(seq, _, key, stays)| (key, (*seq, *stays))).collect();
        let awaited = last.into_iter().filter(|(_, (_, stays))| *stays);
        self.awaited = awaited.map(|(key, (seq, _))| (key.clone(), seq)).collect();
        self.read.front().map(|(seq, ..)| *seq)
    }

    /// An entry is delivered.
    pub(super) fn see(&mut self, seq: u64, time: Timestamp, key: &str) -> Seen {
        if self.awaited.get(key).is_some_and(|least| seq >= *least) {
            self.awaited.remove(key);
        }
        if self.read.back().is_none_or(|(last, ..)| seq > *last) {
            return Seen::New;
        }
        let same = |entry: &&(u64, Timestamp, String, bool)| entry.0 == seq;
        let known = match self.read.iter().find(same) {
            Some((_, at, of, _)) => *at == time && of == key,
            // An earlier revision of a key, which was not delivered at first; none is younger than all.
            None => self.read.iter().any(|(_, at, ..)| *at >= time),
        };
        if known { Seen::Again } else { Seen::Other }
    }

    /// Whether everything that was read is there, or something later of the same key.
    pub(super) fn is_there(&self) -> bool {
        self.awaited.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i128) -> Timestamp {
        Timestamp::from_unix_nanos(second * 1_000_000_000)
    }

    /// Reads a history: sequence, second, key; a key in capitals does not stay.
    fn read(history: &[(u64, i128, &str)]) -> Recent {
        let mut recent = Recent::default();
        for &(seq, second, key) in history {
            let stays = key != key.to_uppercase();
            recent.add(seq, at(second), &key.to_lowercase(), stays);
        }
        recent
    }

    /// What comes of it when these are delivered after it was opened anew.
    fn seen(recent: &mut Recent, history: &[(u64, i128, &str)]) -> (Vec<Seen>, bool) {
        let seen = history.iter().map(|&(seq, second, key)| recent.see(seq, at(second), key));
        (seen.collect(), recent.is_there())
    }

    #[test]
    fn the_same_stream_is_recognised_however_it_went_on() {
        use Seen::{Again, New};
        let history = [(4, 1, "a"), (6, 2, "b"), (7, 3, "C"), (9, 4, "b")];
        let mut recent = read(&history);
        assert_eq!(recent.open(), Some(4));
        assert_eq!(seen(&mut recent, &[(4, 1, "a"), (9, 4, "b")]), (vec![Again, Again], true));
        // Each was written over, or expired.
        recent.open();
        assert_eq!(seen(&mut recent, &[(10, 5, "b"), (11, 6, "a")]), (vec![New, New], true));
        // An earlier revision of a bucket with history; and clocks of leaders differ.
        recent.open();
        let more = [(4, 1, "a"), (5, 2, "b"), (6, 2, "b"), (9, 4, "b")];
        assert_eq!(seen(&mut recent, &more), (vec![Again, Again, Again, Again], true));
        assert_eq!(recent.see(8, at(4), "d"), Again);
    }

    #[test]
    fn an_old_copy_that_has_grown_is_another_stream() {
        use Seen::{Again, New, Other};
        let mut recent = read(&[(4, 1, "a"), (6, 2, "b"), (7, 3, "c")]);
        // It has another entry where one was, or where none is.
        recent.open();
        assert_eq!(recent.see(6, at(8), "b"), Other);
        assert_eq!(recent.see(5, at(8), "d"), Other);
        assert_eq!(recent.see(6, at(2), "x"), Other);
        // Or lacks what was read, however far it goes.
        recent.open();
        let (what, there) = seen(&mut recent, &[(4, 1, "a"), (8, 9, "b"), (9, 9, "d")]);
        assert_eq!((what, there), (vec![Again, New, New], false));
        // What stood there before is no more than that.
        let mut recent = read(&[(1, 1, "a"), (2, 2, "b"), (3, 3, "a")]);
        recent.open();
        let (what, there) = seen(&mut recent, &[(1, 1, "a"), (2, 2, "b"), (5, 9, "d")]);
        assert_eq!((what, there), (vec![Again, Again, New], false));
        recent.clear();
        assert_eq!((recent.open(), recent.is_there()), (None, true));
        assert_eq!(recent.see(1, at(1), "a"), New);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut recent = Recent::default();
        for seq in 1..=100 {
            recent.add(seq, at(i128::from(seq)), "a", true);
        }
        assert_eq!(recent.open(), Some(100 - ENTRIES_MAX as u64 + 1));
    }
}
