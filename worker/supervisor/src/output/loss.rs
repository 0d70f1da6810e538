//! What could not be written is counted, and told.

use std::time::Duration;

use dsbus_schema::moment::BootTime;
use serde::{Deserialize, Serialize};

use super::Said;

/// Between two tellings of one place: a reader that is too slow loses something many times a
/// second, and each telling is an event on the bus.
const TOLD_PAUSE: Duration = Duration::from_secs(10);

/// Bytes that were not written, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) bytes: u64,
    pub(super) why: String,
}

/// What one place has lost.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Loss {
    dropped: u64,
    /// It was told that something is lost, and not yet how much.
    told: bool,
    told_at: Option<BootTime>,
}

impl Loss {
    /// Something was written, or was not.
    pub(super) fn note(
        &mut self,
        outcome: Result<(), Dropped>,
        now: BootTime,
        said: &mut Vec<Said>,
    ) {
        match outcome {
            Ok(()) if self.told => {
                self.told = false;
                said.push(Said::WrittenAgain(std::mem::take(&mut self.dropped)));
            }
            Ok(()) => {}
            Err(Dropped { bytes, why }) => {
                self.dropped += bytes;
                let quiet = self.told_at.is_none_or(|at| now.since(at) >= TOLD_PAUSE);
                if !self.told && quiet {
                    self.told = true;
                    self.told_at = Some(now);
                    said.push(Said::Lost(why));
                }
            }
        }
    }

    /// Nothing comes any more: what was not told, is told now.
    pub(super) fn end(&mut self, place: &str, said: &mut Vec<Said>) {
        let dropped = std::mem::take(&mut self.dropped);
        self.told = false;
        if dropped > 0 {
            said.push(Said::Lost(format!("{place}: {dropped} bytes were lost")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_once_and_then_how_much_it_was() {
        let (mut loss, mut said) = (Loss::default(), Vec::new());
        let at = |seconds| BootTime(0) + Duration::from_secs(seconds);
        let full = || Err(Dropped { bytes: 3, why: "full".to_owned() });
        loss.note(Ok(()), at(0), &mut said);
        for second in 0..3 {
            loss.note(full(), at(second), &mut said);
        }
        assert_eq!(said, [Said::Lost("full".to_owned())]);
        loss.note(Ok(()), at(3), &mut said);
        loss.note(Ok(()), at(3), &mut said);
        assert_eq!(said[1..], [Said::WrittenAgain(9)]);
        // Too early to be told again, but it counts.
        loss.note(full(), at(4), &mut said);
        loss.note(Ok(()), at(5), &mut said);
        assert_eq!(said.len(), 2);
        loss.note(full(), at(10), &mut said);
        assert_eq!(said[2..], [Said::Lost("full".to_owned())]);
        loss.end("x", &mut said);
        assert_eq!(said[3..], [Said::Lost("x: 6 bytes were lost".to_owned())]);
        loss.end("x", &mut said);
        assert_eq!(said.len(), 4);
    }
}
