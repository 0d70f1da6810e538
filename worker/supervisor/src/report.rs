//! What is to be published, numbered, kept until the agent says that the bus has it.

use std::collections::VecDeque;

use crate::protocol::{Report, Reported};

/// Most reports that wait. With [`REPORTS_BYTES_MAX`]: what a worker remembers of a bus that is
/// away, at some 600 bytes each.
pub const REPORTS_MAX: usize = 100_000;
/// Most bytes of reports that wait.
pub const REPORTS_BYTES_MAX: usize = 64 << 20;

/// The queue.
#[derive(Debug, Default)]
pub struct Reports {
    waiting: VecDeque<(Report, usize)>,
    bytes: usize,
    last: u64,
    dropped: u64,
}

impl Reports {
    /// Adds a report; the oldest go when there are too many.
    pub fn push(&mut self, what: Reported) -> &Report {
        self.last += 1;
        let report = Report { number: self.last, what };
        let bytes = serde_json::to_vec(&report).map_or(0, |json| json.len());
        self.bytes += bytes;
        while !self.waiting.is_empty()
            && (self.waiting.len() >= REPORTS_MAX || self.bytes > REPORTS_BYTES_MAX)
        {
            if let Some((_, bytes)) = self.waiting.pop_front() {
                self.bytes -= bytes;
                self.dropped += 1;
            }
        }
        self.waiting.push_back((report, bytes));
        let Some((report, _)) = self.waiting.back() else { unreachable!("it was just added") };
        report
    }

    /// The bus has all reports up to this number.
    pub fn done(&mut self, through: u64) {
        while let Some((report, bytes)) = self.waiting.front()
            && report.number <= through
        {
            self.bytes -= bytes;
            self.waiting.pop_front();
        }
    }

    /// What waits, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Report> {
        self.waiting.iter().map(|(report, _)| report)
    }

    /// Whether the bus has everything.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
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
        assert_eq!(reports.waiting().map(|r| r.number).collect::<Vec<_>>(), [4, 5]);
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
