//! How actions on Supervisor's processes end. Pure.

use dsbus_schema::goal::Wanted;
use dsbus_schema::state::State;
use dsbus_schema::status::{InstanceRow, Unstarted};

/// How an action on a process ended: Supervisor's faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It did not fail.
    None,
    /// There is no such process.
    BadName,
    /// There is no such command.
    NoFile,
    /// The command cannot be executed.
    NotExecutable,
    /// It runs.
    AlreadyStarted,
    /// It does not run.
    NotRunning,
    /// It could not be started, or ended too early.
    SpawnError,
    /// It ended before it ran.
    AbnormalTermination,
    /// There is no such signal.
    BadSignal,
    /// It failed otherwise.
    Failed,
    /// Refused, for a reason of ours.
    Refused(String),
}

impl Fault {
    /// What is told; nothing of a success.
    pub fn text(&self) -> Option<&str> {
        match self {
            Fault::None => None,
            Fault::BadName => Some("no such process"),
            Fault::NoFile => Some("no such file"),
            Fault::NotExecutable => Some("file is not executable"),
            Fault::AlreadyStarted => Some("already started"),
            Fault::NotRunning => Some("not running"),
            Fault::SpawnError => Some("spawn error"),
            Fault::AbnormalTermination => Some("abnormal termination"),
            Fault::BadSignal => Some("bad signal name"),
            Fault::Failed => Some("failed"),
            Fault::Refused(why) => Some(why),
        }
    }

    /// The exit code of supervisorctl.
    pub fn code(&self) -> u8 {
        match self {
            Fault::None | Fault::AlreadyStarted | Fault::NotRunning => 0,
            Fault::SpawnError | Fault::AbnormalTermination => 7,
            Fault::BadName
            | Fault::NoFile
            | Fault::NotExecutable
            | Fault::BadSignal
            | Fault::Failed
            | Fault::Refused(_) => 1,
        }
    }

    /// Whether Supervisor knows it before it starts anything.
    pub fn is_early(&self) -> bool {
        matches!(self, Fault::NoFile | Fault::NotExecutable)
    }
}

/// What became of a start; `None` while that is open.
pub fn started(wanted: &Wanted, row: &InstanceRow) -> Option<Fault> {
    if row.acted.run != wanted.run || row.acted.starts < wanted.starts {
        return None;
    }
    match row.state {
        State::Running | State::Exited => Some(Fault::None),
        State::Backoff | State::Fatal => Some(failed(row)),
        State::Stopped | State::Pending | State::Starting | State::Stopping | State::Unknown => {
            None
        }
    }
}

/// Why a try failed.
fn failed(row: &InstanceRow) -> Fault {
    match row.spawnerr.as_deref().map(Unstarted::of) {
        Some(Unstarted::NoFile(_)) => Fault::NoFile,
        Some(Unstarted::NotExecutable) => Fault::NotExecutable,
        // Supervisor notes a spawn error of one that ended too early, too.
        Some(Unstarted::NoInterpreter | Unstarted::Refused | Unstarted::Other) | None => {
            Fault::SpawnError
        }
    }
}

/// What became of a stop; `None` while that is open.
pub fn stopped(wanted: &Wanted, row: &InstanceRow) -> Option<Fault> {
    let acted = row.acted.run == wanted.run;
    (acted && !row.state.may_have_child() && row.pid.is_none()).then_some(Fault::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_start_failed() {
        let mut row: InstanceRow = serde_json::from_value(serde_json::json!({
            "name": "web:0", "id": "00000000-0000-0000-0000-000000000001", "program": "web",
            "index": 0, "state": "BACKOFF", "statecode": 30, "worker": "w1", "pid": null,
            "epoch": 1, "revision": 1, "since": null, "restarts": 0, "exit": null, "reason": null,
            "spawnerr": null, "stderr_line": null, "stdout_logfile": null, "stderr_logfile": null,
            "wanted": { "run": true, "starts": 1, "restarts": 0, "reloads": 0 },
            "acted": { "run": true, "starts": 1, "restarts": 0, "reloads": 0 }, "ok": false,
        }))
        .unwrap();
        for (why, fault) in [
            (None, Fault::SpawnError),
            (Some("/no/such does not exist"), Fault::NoFile),
            (Some("no file such is in any directory of PATH (/bin)"), Fault::NoFile),
            (Some("/etc/passwd is not executable: it has mode 644"), Fault::NotExecutable),
            (Some("/etc is a directory, and cannot be executed"), Fault::NotExecutable),
            (Some("there is no user nobody-such"), Fault::SpawnError),
            (Some("directory /no/such does not exist"), Fault::SpawnError),
        ] {
            row.spawnerr = why.map(str::to_owned);
            let wanted = row.wanted;
            assert_eq!(started(&wanted, &row), Some(fault), "{why:?}");
            // An older failure says nothing of this start.
            assert_eq!(started(&Wanted { starts: 2, ..wanted }, &row), None);
        }
    }
}
