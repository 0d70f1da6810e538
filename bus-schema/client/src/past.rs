//! Where in the stream of events something is: by number, by time, by counting from the end.

mod reader;

use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::events_stream;
use dsbus_schema::subject;
use futures::future::try_join_all;
use serde_json::json;

use crate::consumer::API_MAX;
use crate::{Bus, Error};

pub use reader::EventReader;

/// What the stream of events holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Sequence of the first event that is there; of the next one, when there is none.
    pub first: u64,
    /// Sequence of the next event.
    pub end: u64,
    /// When the first one was stored; `None` when there is none.
    pub since: Option<Timestamp>,
}

impl Bus {
    /// What the stream of events holds.
    ///
    /// # Errors
    /// [`Error::NotProvisioned`], and whatever keeps the server from answering.
    pub async fn events_kept(&self) -> Result<Kept, Error> {
        let stream = events_stream(self.fleet());
        let state = self.stream_info(&stream, API_MAX).await?.state;
        let (first, end) = (state.first_seq.max(1), state.last_seq + 1);
        let since = (first < end).then_some(state.first_ts).flatten();
        Ok(Kept { first: first.min(end), end, since })
    }

    /// Sequence of the first event that was stored then or later; `None` when there is none.
    ///
    /// # Errors
    /// As [`Bus::events_kept`].
    pub async fn event_since(&self, time: Timestamp) -> Result<Option<u64>, Error> {
        let all = subject::events(self.fleet());
        let ask = json!({ "start_time": time.to_string(), "next_by_subj": all });
        let Some(found) = self.message(&events_stream(self.fleet()), &ask).await? else {
            return Ok(None);
        };
        let seq = found["seq"].as_u64();
        seq.map(Some).ok_or_else(|| Error::malformed(&all, "a message without a sequence"))
    }

    /// How many events on any of `subjects` there are from `start` on.
    ///
    /// # Errors
    /// As [`Bus::events_kept`].
    pub async fn count_events(&self, subjects: &[String], start: u64) -> Result<u64, Error> {
        let stream = events_stream(self.fleet());
        let counts = subjects.iter().map(|subject| self.count_patiently(&stream, subject, start));
        Ok(try_join_all(counts).await?.into_iter().sum())
    }

    /// The answer to a consumer on a server that has just died never comes; the next one is made
    /// elsewhere.
    async fn count_patiently(&self, stream: &str, subject: &str, start: u64) -> Result<u64, Error> {
        for _ in 1..COUNT_TRIES {
            match self.count(stream, subject, start).await {
                Err(Error::Timeout) => {}
                counted_or_failed => return counted_or_failed,
            }
        }
        self.count(stream, subject, start).await
    }

    /// Sequence, from `first` on, such that there are `n` events or a few times more on any of
    /// `subjects` from it to before `end`; `first` when there are fewer. Found by counting.
    ///
    /// # Errors
    /// As [`Bus::events_kept`].
    pub async fn events_back(
        &self,
        subjects: &[String],
        first: u64,
        end: u64,
        n: u64,
    ) -> Result<u64, Error> {
        let after = self.count_events(subjects, end).await?;
        let mut search = Search::new(first, end, (n, n.saturating_mul(SURPLUS)));
        while let Some(seq) = search.ask() {
            search.told(self.count_events(subjects, seq).await?.saturating_sub(after));
        }
        Ok(search.start)
    }

    /// Sequence from which on at most `n` messages match `filter`, and exactly `n` where there are
    /// that many.
    pub(crate) async fn nth_last(
        &self,
        stream: &str,
        filter: &str,
        (first, end): (u64, u64),
        n: u64,
    ) -> Result<u64, Error> {
        let mut search = Search::new(first, end, (n, n));
        while let Some(seq) = search.ask() {
            search.told(self.count(stream, filter, seq).await?);
        }
        Ok(search.start)
    }
}

/// How often a count is tried: [`API_MAX`] each, and an election takes up to 9 s.
const COUNT_TRIES: usize = 20;

/// How many times more events than were asked for may be read rather than counted once more.
const SURPLUS: u64 = 4;

/// Looks for the sequence from which on so many messages match. NATS knows no such start; it is
/// found by counting, first in steps that grow, then by halves.
#[derive(Debug)]
struct Search {
    first: u64,
    /// The least and the greatest count that will do; where the count jumps over both, fewer do.
    wanted: (u64, u64),
    /// Best known start; at the end, the answer.
    start: u64,
    /// From here on more match than are wanted; unknown while steps grow.
    more: Option<u64>,
    /// From here on fewer match than are wanted.
    fewer: u64,
    end: u64,
    step: u64,
    asked: u64,
    done: bool,
}

impl Search {
    fn new(first: u64, end: u64, wanted: (u64, u64)) -> Search {
        let done = wanted.1 == 0 || first >= end;
        let step = wanted.0.max(1);
        Search { first, wanted, start: end, more: None, fewer: end, end, step, asked: end, done }
    }

    /// From where to count next; `None` when `start` is the answer.
    fn ask(&mut self) -> Option<u64> {
        if self.done {
            return None;
        }
        self.asked = match self.more {
            None => self.end.saturating_sub(self.step).max(self.first),
            Some(more) if more + 1 < self.fewer => more.midpoint(self.fewer),
            Some(_) => return None,
        };
        Some(self.asked)
    }

    /// So many match from there on.
    fn told(&mut self, count: u64) {
        if count > self.wanted.1 {
            self.more = Some(self.asked);
            return;
        }
        self.start = self.asked;
        self.fewer = self.asked;
        self.step = self.step.saturating_mul(4);
        self.done = count >= self.wanted.0 || self.asked == self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer for messages at these sequences, and how often was counted.
    fn find(at: &[u64], range: (u64, u64), wanted: (u64, u64)) -> (u64, usize) {
        let (mut search, mut counts) = (Search::new(range.0, range.1, wanted), 0);
        while let Some(seq) = search.ask() {
            counts += 1;
            search.told(at.iter().filter(|at| **at >= seq).count() as u64);
        }
        (at.iter().filter(|at| **at >= search.start).count() as u64, counts)
    }

    #[test]
    fn as_many_are_found_as_are_wanted_and_soon() {
        let all: Vec<u64> = (1..=1_000_000).collect();
        let every_third: Vec<u64> = (1..=30).map(|n| n * 3).collect();
        let early: Vec<u64> = (1..=1000).collect();
        for (at, range, wanted, answer, most) in [
            (&all[..], (1, 1_000_001), (50, 50), 50, 1),
            (&all, (1, 1_000_001), (0, 0), 0, 0),
            (&all, (1, 1_000_001), (2_000_000, 2_000_000), 1_000_000, 1),
            (&every_third, (1, 91), (4, 4), 4, 6),
            (&every_third, (1, 91), (100, 100), 30, 2),
            (&early, (1, 1_000_001), (50, 200), 125, 20),
            (&early, (1, 1_000_001), (50, 50), 50, 30),
            (&[], (1, 1_000_001), (50, 50), 0, 10),
            (&[], (1, 1), (50, 50), 0, 0),
        ] {
            let (found, counts) = find(at, range, wanted);
            let near =
                if wanted.0 == wanted.1 { found == answer } else { (50..=200).contains(&found) };
            assert!(near && counts <= most, "{range:?} {wanted:?}: {found} after {counts}");
        }
    }
}
