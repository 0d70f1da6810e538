//! Whether an instance has come to what was asked for. Pure.

use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::WorkerName;
use dsbus_schema::state::State;
use dsbus_schema::status::{InstanceRow, RELOAD_FAILED};

use crate::describe;

/// What an instance should come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It runs, or has ended as expected, after this was acted on.
    Runs(Wanted),
    /// It has no child, after this was acted on.
    Stops(Wanted),
    /// It was reloaded, where it has a child.
    Reloads(Wanted),
    /// Nothing is known of it any more.
    Gone,
    /// It runs under this revision of its declaration, if it is wanted to run at all.
    Revision(u64),
    /// It runs, and no longer on this worker.
    Leaves(WorkerName),
    /// It runs, or has ended as expected, whoever asked for that.
    Running,
    /// It has no child, whoever asked for that.
    Stopped,
}

/// What is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the case.
    Done,
    /// It will not be the case by itself; why.
    Failed(String),
    /// It may yet be; what it stands at.
    Waiting(String),
}

/// Judges one instance by what is known of it. `settled`: it has stood like this for a while.
pub(crate) fn judge(goal: &Goal, row: Option<&InstanceRow>, settled: bool) -> Verdict {
    let Some(row) = row else {
        return match goal {
            Goal::Gone => Verdict::Done,
            Goal::Runs(_)
            | Goal::Stops(_)
            | Goal::Reloads(_)
            | Goal::Revision(_)
            | Goal::Leaves(_)
            | Goal::Running
            | Goal::Stopped => Verdict::Waiting("not yet known to the scheduler".to_owned()),
        };
    };
    match goal {
        Goal::Gone => Verdict::Waiting(describe::state(row)),
        Goal::Running => running(row, settled),
        Goal::Stopped => stopped(row),
        Goal::Runs(wanted) if overruled(wanted, row) => {
            Verdict::Failed("someone asked to stop it meanwhile".to_owned())
        }
        Goal::Stops(wanted) if overruled(wanted, row) => {
            Verdict::Failed("someone asked to start it meanwhile".to_owned())
        }
        Goal::Runs(wanted) if reached(wanted, &row.acted) => running(row, settled),
        Goal::Reloads(wanted) if row.acted.reloads >= wanted.reloads => reloaded(row, settled),
        Goal::Stops(wanted) if reached(wanted, &row.acted) => stopped(row),
        Goal::Revision(_) if !row.wanted.run && !row.state.may_have_child() => Verdict::Done,
        Goal::Revision(revision) if row.revision >= *revision => running(row, settled),
        Goal::Leaves(_) if !row.wanted.run && !row.state.may_have_child() => Verdict::Done,
        Goal::Leaves(from) if row.worker.as_ref().is_some_and(|worker| worker != from) => {
            running(row, settled)
        }
        Goal::Runs(_) | Goal::Stops(_) | Goal::Reloads(_) | Goal::Revision(_) | Goal::Leaves(_) => {
            Verdict::Waiting(describe::state(row))
        }
    }
}

/// Whether what was acted on includes what was asked.
fn reached(asked: &Wanted, acted: &Wanted) -> bool {
    acted.run == asked.run
        && acted.starts >= asked.starts
        && acted.restarts >= asked.restarts
        && acted.reloads >= asked.reloads
}

/// Whether a later command asks for the opposite. A scheduler that has not yet heard of ours knows
/// smaller counters, and is not taken for one that knows better.
fn overruled(asked: &Wanted, row: &InstanceRow) -> bool {
    let newest = &row.wanted;
    let knows_ours = newest.starts >= asked.starts && newest.restarts >= asked.restarts;
    let knows_more = newest.starts > asked.starts || newest.restarts > asked.restarts;
    newest.run != asked.run && if asked.run { knows_ours } else { knows_more }
}

fn running(row: &InstanceRow, settled: bool) -> Verdict {
    match row.state {
        State::Running => Verdict::Done,
        State::Exited if row.ok => Verdict::Done,
        State::Exited | State::Fatal if settled => Verdict::Failed(describe::state(row)),
        State::Stopped
        | State::Pending
        | State::Starting
        | State::Backoff
        | State::Stopping
        | State::Exited
        | State::Fatal
        | State::Unknown => Verdict::Waiting(describe::state(row)),
    }
}

fn reloaded(row: &InstanceRow, settled: bool) -> Verdict {
    match &row.reason {
        // There is no child that could be reloaded, and there should be one.
        _ if !row.ok && settled => Verdict::Failed(describe::state(row)),
        _ if !row.ok => Verdict::Waiting(describe::state(row)),
        Some(reason) if reason.starts_with(RELOAD_FAILED) => Verdict::Failed(reason.clone()),
        Some(_) | None => Verdict::Done,
    }
}

fn stopped(row: &InstanceRow) -> Verdict {
    if row.state.may_have_child() || row.pid.is_some() {
        Verdict::Waiting(describe::state(row))
    } else {
        Verdict::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(text: &str) -> Wanted {
        let parts: Vec<&str> = text.split('/').collect();
        Wanted {
            run: parts[0] == "run",
            starts: parts[1].parse().unwrap(),
            restarts: parts[2].parse().unwrap(),
            reloads: parts.get(3).map_or(0, |text| text.parse().unwrap()),
        }
    }

    /// `STATE wanted acted [ok] [pid] [torn]`, revision 2.
    fn row(text: &str) -> InstanceRow {
        let words: Vec<&str> = text.split(' ').collect();
        let (want, acted) = (wanted(words[1]), wanted(words[2]));
        serde_json::from_value(json!({
            "name": "web:0", "id": "00000000-0000-0000-0000-000000000001", "program": "web",
            "index": 0, "state": words[0], "statecode": 0, "worker": "w1",
            "pid": words.contains(&"pid").then_some(7), "epoch": 1, "revision": 2, "since": null,
            "restarts": 0, "exit": null,
            "reason": words.contains(&"torn").then_some("reload failed: FATAL"), "spawnerr": null, "stderr_line": null,
            "stdout_logfile": null, "stderr_logfile": null,
            "wanted": want, "acted": acted, "ok": words.contains(&"ok"),
        }))
        .unwrap()
    }

    fn check(goal: &Goal, table: &[(&str, bool, &str)]) {
        for (text, settled, expected) in table {
            let verdict = match judge(goal, Some(&row(text)), *settled) {
                Verdict::Done => "done",
                Verdict::Failed(_) => "failed",
                Verdict::Waiting(_) => "waiting",
            };
            assert_eq!(verdict, *expected, "{goal:?}: {text} settled={settled}");
        }
    }

    #[test]
    fn starts() {
        check(
            &Goal::Runs(wanted("run/2/0")),
            &[
                ("RUNNING run/2/0 run/2/0 ok pid", false, "done"),
                ("RUNNING run/3/1 run/2/0 ok pid", false, "done"),
                ("RUNNING run/2/0 run/1/0 ok pid", false, "waiting"),
                ("RUNNING run/2/0 stop/2/0 ok pid", false, "waiting"),
                ("EXITED run/2/0 run/2/0 ok", false, "done"),
                ("EXITED run/2/0 run/2/0", false, "waiting"),
                ("EXITED run/2/0 run/2/0", true, "failed"),
                ("FATAL run/2/0 run/2/0", false, "waiting"),
                ("FATAL run/2/0 run/2/0", true, "failed"),
                ("FATAL run/2/0 run/1/0", true, "waiting"),
                ("BACKOFF run/2/0 run/2/0", true, "waiting"),
                ("PENDING run/2/0 run/2/0", true, "waiting"),
                ("STARTING run/2/0 run/2/0 ok pid", true, "waiting"),
                ("STOPPED stop/2/0 stop/2/0 ok", true, "failed"),
                ("STOPPED stop/1/0 stop/1/0 ok", true, "waiting"),
            ],
        );
    }

    #[test]
    fn stops() {
        check(
            &Goal::Stops(wanted("stop/2/0")),
            &[
                ("STOPPED stop/2/0 stop/2/0 ok", false, "done"),
                ("EXITED stop/2/0 stop/2/0 ok", false, "done"),
                ("FATAL stop/2/0 stop/2/0", false, "done"),
                ("STOPPING stop/2/0 stop/2/0 ok pid", false, "waiting"),
                ("STOPPED stop/2/0 stop/2/0 ok pid", false, "waiting"),
                ("RUNNING run/2/0 run/2/0 ok pid", true, "waiting"),
                ("RUNNING run/3/0 run/3/0 ok pid", false, "failed"),
                ("UNKNOWN stop/2/0 run/2/0", true, "waiting"),
            ],
        );
    }

    #[test]
    fn revisions() {
        check(
            &Goal::Revision(2),
            &[
                ("RUNNING run/0/0 run/0/0 ok pid", false, "done"),
                ("FATAL run/0/0 run/0/0", true, "failed"),
                ("STOPPED stop/0/0 stop/0/0 ok", false, "done"),
                ("STOPPING stop/0/0 run/0/0 ok pid", false, "waiting"),
            ],
        );
        check(
            &Goal::Revision(3),
            &[
                ("RUNNING run/0/0 run/0/0 ok pid", true, "waiting"),
                ("STOPPED stop/0/0 stop/0/0 ok", true, "done"),
            ],
        );
    }

    #[test]
    fn moves() {
        let from = |name| Goal::Leaves(WorkerName::parse(name).unwrap());
        let table = [
            ("RUNNING run/0/0 run/0/0 ok pid", false, "done"),
            ("STARTING run/0/0 run/0/0 ok pid", true, "waiting"),
            ("FATAL run/0/0 run/0/0", true, "failed"),
        ];
        check(&from("w9"), &table);
        check(&from("w1"), &[("RUNNING run/0/0 run/0/0 ok pid", true, "waiting")]);
        check(&from("w1"), &[("STOPPED stop/0/0 stop/0/0 ok", true, "done")]);
    }

    #[test]
    fn reloads() {
        check(
            &Goal::Reloads(wanted("run/1/0/2")),
            &[
                ("RUNNING run/1/0/2 run/1/0/1 ok pid", true, "waiting"),
                ("RUNNING run/1/0/2 run/1/0/1 ok pid torn", true, "waiting"),
                ("RUNNING run/1/0/2 run/1/0/2 ok pid torn", false, "failed"),
                ("RUNNING run/1/0/2 run/1/0/2 ok pid", false, "done"),
                ("RUNNING run/1/0/3 run/1/0/3 ok pid", false, "done"),
                ("STOPPED stop/1/0/2 stop/1/0/2 ok", false, "done"),
                ("FATAL run/1/0/2 run/1/0/2", false, "waiting"),
                ("FATAL run/1/0/2 run/1/0/2", true, "failed"),
            ],
        );
    }

    #[test]
    fn what_is_gone_is_gone() {
        assert_eq!(judge(&Goal::Gone, None, false), Verdict::Done);
        assert!(matches!(judge(&Goal::Revision(1), None, true), Verdict::Waiting(_)));
        check(&Goal::Gone, &[("STOPPING stop/0/0 stop/0/0 ok pid", true, "waiting")]);
    }
}
