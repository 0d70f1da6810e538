//! The agent's pings to the supervisor: the proof that it speaks for a living one. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use dsbus_schema::moment::BootTime;

/// Pings without an answer whose send time is remembered.
const UNANSWERED_MAX: usize = 64;

/// The pings.
#[derive(Debug, Default)]
pub struct Pings {
    number: u64,
    unanswered: VecDeque<(u64, BootTime)>,
    next: BootTime,
}

impl Pings {
    /// When the next one is to be sent.
    pub fn deadline(&self) -> BootTime {
        self.next
    }

    /// The number of the ping to send now, if it is time for one.
    pub fn due(&mut self, every: Duration, now: BootTime) -> Option<u64> {
        if now < self.next {
            return None;
        }
        self.next = now + every;
        self.number += 1;
        if self.unanswered.len() >= UNANSWERED_MAX {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((self.number, now));
        Some(self.number)
    }

    /// An answer came: says when the ping that it answers was sent. The supervisor lived after
    /// that moment; how long the answer lay about unread proves nothing.
    pub fn answered(&mut self, number: u64) -> Option<BootTime> {
        let at = self.unanswered.iter().position(|(sent, _)| *sent == number)?;
        self.unanswered.drain(..=at).next_back().map(|(_, sent)| sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_proves_life_at_the_time_of_its_ping() {
        let (mut pings, every) = (Pings::default(), Duration::from_nanos(10));
        assert_eq!(pings.due(every, BootTime(100)), Some(1));
        assert_eq!(pings.due(every, BootTime(109)), None);
        assert_eq!(pings.due(every, BootTime(110)), Some(2));
        assert_eq!(pings.due(every, BootTime(120)), Some(3));
        assert_eq!(pings.answered(2), Some(BootTime(110)));
        assert_eq!(pings.answered(1), None, "older than what is known");
        assert_eq!(pings.answered(9), None, "never asked");
        assert_eq!(pings.answered(3), Some(BootTime(120)));
    }
}
