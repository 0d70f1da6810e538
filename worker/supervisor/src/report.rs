//! What is to be published, numbered, kept until the agent says that the bus has it.

use std::collections::VecDeque;

use crate::protocol::{Report, Reported, ToAgent};

/// Most reports that wait. With [`REPORTS_BYTES_MAX`]: what a worker remembers of a bus that is
/// away, at some 600 bytes each.
pub const REPORTS_MAX: usize = 100_000;
/// Most bytes of reports that wait.
pub const REPORTS_BYTES_MAX: usize = 64 << 20;
/// Places that an empty queue keeps.
const ROOM_KEPT: usize = 64;

/// The queue. A report is kept as the line that tells it: it is made once, when it is added.
#[derive(Debug, Default)]
pub struct Reports {
    waiting: VecDeque<(u64, Box<[u8]>)>,
    bytes: usize,
    last: u64,
    dropped: u64,
}

impl Reports {
    /// Adds a report, and gives the line that tells the agent; the oldest go when there are too
    /// many.
    pub fn push(&mut self, what: Reported) -> &[u8] {
        self.last += 1;
        let line = ToAgent::Report(Report { number: self.last, what }).line();
        self.bytes += line.len();
        while !self.waiting.is_empty()
            && (self.waiting.len() >= REPORTS_MAX || self.bytes > REPORTS_BYTES_MAX)
        {
            if let Some((_, line)) = self.waiting.pop_front() {
                self.bytes -= line.len();
                self.dropped += 1;
            }
        }
        self.waiting.push_back((self.last, line.into_boxed_slice()));
        self.waiting.back().map_or(&[], |(_, line)| line)
    }

    /// The bus has all reports up to this number.
    pub fn done(&mut self, through: u64) {
        while let Some((number, line)) = self.waiting.front()
            && *number <= through
        {
            self.bytes -= line.len();
            self.waiting.pop_front();
        }
        if self.waiting.is_empty() {
            // What a burst needed is given back.
            self.waiting.shrink_to(ROOM_KEPT);
        }
    }

    /// The lines that wait, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &[u8]> {
        self.waiting.iter().map(|(_, line)| &**line)
    }

    /// Whether the bus has everything.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Something was not added at all.
    pub fn drop_one(&mut self) {
        self.dropped += 1;
    }

    /// How many were dropped since this was last asked; for one report about them.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_schema::ids::Epoch;

    fn gone(n: u64) -> Reported {
        Reported::Gone { name: "web:0".parse().unwrap(), epoch: Epoch(n) }
    }

    #[test]
    fn kept_until_done_and_in_order() {
        let mut reports = Reports::default();
        for n in 1..=5 {
            reports.push(gone(n));
        }
        reports.done(3);
        let numbers = reports.waiting().map(|line| {
            let said: ToAgent = serde_json::from_slice(line).unwrap();
            let ToAgent::Report(report) = said else { panic!("{said:?}") };
            report.number
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [4, 5]);
        reports.done(9);
        assert!(reports.is_empty() && reports.bytes == 0);
    }

    #[test]
    fn the_oldest_go_and_are_counted() {
        let mut reports = Reports::default();
        for n in 0..REPORTS_MAX as u64 + 10 {
            reports.push(gone(n));
        }
        assert_eq!(reports.waiting().count(), REPORTS_MAX);
        assert_eq!((reports.take_dropped(), reports.take_dropped()), (10, 0));
    }
}
