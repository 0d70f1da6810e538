//! What is too much is dropped, and counted until that is told.

use std::time::Duration;

use dsbus_schema::event::Dropped;
use dsbus_schema::moment::BootTime;

use super::lane::Lane;
use super::record::{Head, Kind};
use super::{OUTPUT, Reports, STATE};

/// Between two reports of what was dropped, while more is.
const DROPPED_PAUSE: Duration = Duration::from_secs(10);

impl Reports {
    pub(super) fn limit(&mut self) {
        let limits = self.limits;
        let too_much = |lanes: &[Lane; 2]| {
            lanes[STATE].count() + lanes[OUTPUT].count() > limits.count
                || lanes[STATE].bytes() + lanes[OUTPUT].bytes() > limits.bytes
                || lanes[OUTPUT].bytes() > limits.output_bytes
        };
        // One that is too long by itself is kept all the same.
        while self.waiting() > 1 && too_much(&self.lanes) {
            let lane = if self.lanes[OUTPUT].count() > 0 { OUTPUT } else { STATE };
            let Some(head) = self.lanes[lane].pop() else { return };
            self.unmarked = true;
            if head.number <= self.given {
                self.limbo.push_back(head);
            } else {
                self.lose(head);
            }
        }
    }

    /// A report is lost.
    pub(super) fn lose(&mut self, head: Head) {
        self.dropped.add(head.kind, head.millis);
        self.stale |= head.kind != Kind::Output;
        if let Some((_, tally)) = self.told.take_if(|(number, _)| *number == head.number) {
            self.dropped.merge(&tally);
        }
        self.progress = false;
    }

    /// What was dropped, when it is time to tell that: the bus takes reports again, and what was told
    /// before is known there. It counts as told by the next report that is pushed, whose own place
    /// may cost another one, which is not in it. Should that report be dropped itself, all that counts
    /// as not told.
    pub fn tell_dropped(&mut self, now: BootTime) -> Option<Dropped> {
        let dropped = self.dropped(now)?;
        self.told = Some((self.last + 1, std::mem::take(&mut self.dropped)));
        self.told_at = now;
        self.unmarked = true;
        Some(dropped)
    }

    /// What [`Reports::tell_dropped`] would tell.
    pub(super) fn dropped(&self, now: BootTime) -> Option<Dropped> {
        let pause = now.since(self.told_at) < DROPPED_PAUSE && !self.is_empty();
        if self.dropped.is_empty() || !self.progress || self.told.is_some() || pause {
            return None;
        }
        Some(self.dropped.told())
    }

    /// Whether statuses on the bus may be older than they seem, because reports were dropped that no
    /// later one has made void, and the bus takes reports again. Said once.
    pub fn take_stale(&mut self) -> bool {
        self.progress && std::mem::take(&mut self.stale)
    }
}
