//! What a person is told while waiting takes long: what does not go on by itself, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_schema::ids::InstanceId;
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;

use crate::describe;

/// How long nothing is said: most of what is asked for is the case by then.
const SILENT: Duration = Duration::from_secs(2);

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    told: BTreeMap<InstanceId, State>,
}

impl Progress {
    /// What is to be told of this instance after waiting for so long; each state once in a row.
    pub(super) fn news(&mut self, row: &InstanceRow, waited: Duration) -> Option<String> {
        let stuck = match row.state {
            State::Backoff | State::Fatal | State::Pending => true,
            State::Stopped
            | State::Starting
            | State::Running
            | State::Stopping
            | State::Exited
            | State::Unknown => false,
        };
        if !stuck || waited < SILENT {
            return None;
        }
        let before = self.told.insert(row.name.clone(), row.state);
        (before != Some(row.state)).then(|| format!("{}: {}", row.name, describe::state(row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_trouble_is_told_once_and_not_at_once() {
        let mut progress = Progress::default();
        let mut news = |state: &str, seconds| {
            let row = serde_json::from_value(json!({
                "name": "web:0", "id": "00000000-0000-0000-0000-000000000001", "program": "web",
                "index": 0, "state": state, "statecode": 0, "worker": "w1", "pid": null,
                "epoch": 1, "revision": 2, "since": null, "restarts": 0, "exit": null,
                "reason": "why", "spawnerr": null, "stderr_line": null, "stdout_logfile": null,
                "stderr_logfile": null, "wanted": {"run": true, "starts": 0, "restarts": 0},
                "acted": {"run": true, "starts": 0, "restarts": 0}, "ok": false,
            }));
            progress.news(&row.unwrap(), Duration::from_secs(seconds))
        };
        assert_eq!(news("PENDING", 1), None);
        assert_eq!(news("PENDING", 3).as_deref(), Some("web:0: PENDING: why"));
        assert_eq!(news("PENDING", 4), None);
        assert_eq!(news("STARTING", 5), None);
        assert_eq!(news("BACKOFF", 6).as_deref(), Some("web:0: BACKOFF: why"));
        assert_eq!(news("STARTING", 7), None);
        assert_eq!(news("BACKOFF", 8), None);
    }
}
