//! Which logs are being followed, and whether those who follow have been told all: a worker that
//! leaves waits for them, for a moment. Pure.

use std::collections::HashMap;
use std::time::Duration;

use dsbus_schema::call::Channel;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;

/// Who has not asked for so long does not follow, or cannot: they ask at once for what comes next,
/// and every 2 s when nothing does.
const ASKED_WITHIN: Duration = Duration::from_secs(4);
/// Most logs that are kept in mind: each has a follower.
const LOGS_MAX: usize = 512;

/// A log; nobody's is the worker's own.
type Log = (Option<InstanceId>, Channel);

/// The logs that are followed.
#[derive(Debug, Default)]
pub(super) struct Readers(HashMap<Log, Last>);

/// The last answer about one.
#[derive(Debug)]
struct Last {
    at: BootTime,
    /// It told all that there is, and nothing comes any more.
    all: bool,
}

impl Readers {
    /// An answer is sent.
    pub(super) fn told(&mut self, log: Log, all: bool, now: BootTime) {
        self.0.retain(|_, last| now.since(last.at) < ASKED_WITHIN);
        if self.0.len() < LOGS_MAX {
            self.0.insert(log, Last { at: now, all });
        }
    }

    /// Whether all who follow were told all.
    pub(super) fn know_all(&self, now: BootTime) -> bool {
        self.0.values().all(|last| last.all || now.since(last.at) >= ASKED_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_follows_and_was_not_told_all_is_waited_for() {
        let at = |seconds| BootTime(0) + Duration::from_secs(seconds);
        let log = |index: u32| (Some(format!("web:{index}").parse().unwrap()), Channel::Stdout);
        let mut readers = Readers::default();
        assert!(readers.know_all(at(0)));
        readers.told(log(0), false, at(0));
        readers.told(log(1), true, at(1));
        assert!(!readers.know_all(at(3)));
        assert!(readers.know_all(at(4)), "it does not follow any more");
        readers.told(log(1), false, at(5));
        assert!(!readers.know_all(at(5)));
        readers.told(log(1), true, at(6));
        assert!(readers.know_all(at(6)));
    }
}
