//! Waiting until instances have come to what was asked of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dsbus_schema::command::{ActedInstance, Verb};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::State;
use dsbus_schema::status::{InstanceRow, RELOAD_FAILED};
use tokio::time::Instant;

use crate::fleet::{Fleet, Until};

/// How long FATAL and EXITED must stand before they count as the end: a scheduler may place the
/// instance elsewhere, and a worker may start it again.
const SETTLE: Duration = Duration::from_secs(1);

/// What an instance should come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It runs if it is wanted to, and has no child if it is not.
    Wanted,
    /// It was reloaded, where it has a child.
    Reloaded,
    /// Nothing is known of it any more.
    Gone,
}

impl Goal {
    /// What is waited for after a verb.
    pub(crate) fn of(verb: Verb) -> Goal {
        match verb {
            Verb::Reload => Goal::Reloaded,
            Verb::Remove => Goal::Gone,
            _ => Goal::Wanted,
        }
    }
}

/// What is to be said of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the case.
    Done(String),
    /// It will not be the case by itself; why.
    Failed(String),
    /// It may yet be; what it stands at.
    Waiting(String),
}

/// Waits until there is a verdict on each, or the time is up.
pub(crate) async fn wait(
    fleet: &Fleet,
    acted: Vec<ActedInstance>,
    goal: Goal,
    limit: Duration,
) -> BTreeMap<InstanceId, Verdict> {
    let deadline = Instant::now() + limit;
    let mut left: BTreeMap<InstanceId, ActedInstance> =
        acted.into_iter().map(|one| (one.name.clone(), one)).collect();
    let seen = Mutex::new(BTreeMap::new());
    let mut verdicts = BTreeMap::new();
    while !left.is_empty() {
        let now = Instant::now();
        let over = now >= deadline;
        // What stands still is looked at again when it has settled.
        let slice = deadline.saturating_duration_since(now).min(SETTLE);
        let judge = |wanted: &Wanted, row: Option<&InstanceRow>| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let verdict = judge(goal, wanted, row, settled(&mut seen, row));
            (over || !matches!(verdict, Verdict::Waiting(_))).then_some(verdict)
        };
        let Until { verdicts: found, late } =
            fleet.until(left.values().cloned().collect(), slice, judge).await;
        verdicts.extend(found);
        left.retain(|name, _| late.contains_key(name));
    }
    verdicts
}

type Seen = BTreeMap<InstanceId, (State, Option<Timestamp>, Instant)>;

/// Whether it has stood like this for so long that it will not leave it by itself.
fn settled(seen: &mut Seen, row: Option<&InstanceRow>) -> bool {
    let Some(row) = row else { return false };
    let now = Instant::now();
    let entry = seen.entry(row.name.clone()).or_insert((row.state, row.since, now));
    if (entry.0, entry.1) != (row.state, row.since) {
        *entry = (row.state, row.since, now);
    }
    now.duration_since(entry.2) >= SETTLE
}

fn judge(goal: Goal, wanted: &Wanted, row: Option<&InstanceRow>, settled: bool) -> Verdict {
    let Some(row) = row else {
        return match goal {
            Goal::Gone => Verdict::Done("removed".to_owned()),
            Goal::Wanted | Goal::Reloaded => Verdict::Waiting("not known yet".to_owned()),
        };
    };
    let stands = describe(row);
    let acted = &row.acted;
    match goal {
        Goal::Gone => Verdict::Waiting(stands),
        Goal::Wanted if overruled(wanted, row) => {
            Verdict::Failed("somebody asked for the opposite meanwhile".to_owned())
        }
        Goal::Wanted
            if acted.run != wanted.run
                || acted.starts < wanted.starts
                || acted.restarts < wanted.restarts =>
        {
            Verdict::Waiting(stands)
        }
        Goal::Wanted if !wanted.run => {
            let lives = row.state.may_have_child() || row.pid.is_some();
            if lives { Verdict::Waiting(stands) } else { Verdict::Done(stands) }
        }
        Goal::Wanted => match row.state {
            State::Running => Verdict::Done(stands),
            State::Exited if row.ok => Verdict::Done(stands),
            State::Exited | State::Fatal if settled => Verdict::Failed(stands),
            State::Exited
            | State::Fatal
            | State::Stopped
            | State::Pending
            | State::Starting
            | State::Backoff
            | State::Stopping
            | State::Unknown => Verdict::Waiting(stands),
        },
        Goal::Reloaded if acted.reloads < wanted.reloads => Verdict::Waiting(stands),
        Goal::Reloaded => match &row.reason {
            _ if !row.ok && settled => Verdict::Failed(stands),
            _ if !row.ok => Verdict::Waiting(stands),
            Some(why) if why.starts_with(RELOAD_FAILED) => Verdict::Failed(why.clone()),
            Some(_) | None => Verdict::Done(stands),
        },
    }
}

/// Whether a later command asks for the opposite. A scheduler that has not yet heard of ours knows
/// smaller counters, and is not taken for one that knows better.
fn overruled(asked: &Wanted, row: &InstanceRow) -> bool {
    let newest = &row.wanted;
    let knows_ours = newest.starts >= asked.starts && newest.restarts >= asked.restarts;
    let knows_more = newest.starts > asked.starts || newest.restarts > asked.restarts;
    newest.run != asked.run && if asked.run { knows_ours } else { knows_more }
}

/// `RUNNING`, `FATAL: /no/such does not exist`.
pub(crate) fn describe(row: &InstanceRow) -> String {
    if row.ok && matches!(row.state, State::Running | State::Stopped) {
        return row.state.to_string();
    }
    let exit = row.exit.map(|exit| exit.to_string());
    let why = [row.spawnerr.as_deref(), row.reason.as_deref(), exit.as_deref()];
    let mut told: Vec<&str> = Vec::new();
    for why in why.into_iter().flatten() {
        if !told.iter().any(|told| told.contains(why)) {
            told.push(why);
        }
    }
    if told.is_empty() {
        return row.state.to_string();
    }
    format!("{}: {}", row.state, told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(text: &str) -> Wanted {
        let parts: Vec<&str> = text.split('/').collect();
        let number = |n: usize| parts.get(n).map_or(0, |text| text.parse().unwrap());
        Wanted {
            run: parts[0] == "run",
            starts: number(1),
            restarts: number(2),
            reloads: number(3),
        }
    }

    /// `STATE wanted acted [ok] [pid] [torn]`.
    fn row(text: &str) -> InstanceRow {
        let words: Vec<&str> = text.split(' ').collect();
        let (want, acted) = (wanted(words[1]), wanted(words[2]));
        serde_json::from_value(json!({
            "name": "web:0", "id": "00000000-0000-0000-0000-000000000001", "program": "web",
            "index": 0, "state": words[0], "statecode": 0, "worker": "w1",
            "pid": words.contains(&"pid").then_some(7), "epoch": 1, "revision": 2, "since": null,
            "restarts": 0, "exit": null,
            "reason": words.contains(&"torn").then_some("reload failed: FATAL"), "spawnerr": null,
            "stderr_line": null, "stdout_logfile": null, "stderr_logfile": null,
            "wanted": want, "acted": acted, "ok": words.contains(&"ok"),
        }))
        .unwrap()
    }

    #[test]
    fn verdicts() {
        for (goal, asked, row_, settled, expected) in [
            (Goal::Wanted, "run/2/0", "RUNNING run/2/0 run/2/0 ok pid", false, "done"),
            (Goal::Wanted, "run/2/0", "RUNNING run/2/0 run/1/0 ok pid", false, "waiting"),
            (Goal::Wanted, "run/2/1", "RUNNING run/2/1 run/2/0 ok pid", true, "waiting"),
            (Goal::Wanted, "run/2/0", "FATAL run/2/0 run/2/0", false, "waiting"),
            (Goal::Wanted, "run/2/0", "FATAL run/2/0 run/2/0", true, "failed"),
            (Goal::Wanted, "run/2/0", "BACKOFF run/2/0 run/2/0", true, "waiting"),
            (Goal::Wanted, "run/2/0", "EXITED run/2/0 run/2/0 ok", false, "done"),
            (Goal::Wanted, "run/2/0", "STOPPED stop/2/0 stop/2/0 ok", true, "failed"),
            (Goal::Wanted, "run/2/0", "STOPPED stop/1/0 stop/1/0 ok", true, "waiting"),
            (Goal::Wanted, "stop/2/0", "STOPPED stop/2/0 stop/2/0 ok", false, "done"),
            (Goal::Wanted, "stop/2/0", "STOPPED stop/2/0 stop/2/0 ok pid", false, "waiting"),
            (Goal::Wanted, "stop/2/0", "STOPPING stop/2/0 stop/2/0 ok pid", true, "waiting"),
            (Goal::Wanted, "stop/2/0", "RUNNING run/3/0 run/3/0 ok pid", false, "failed"),
            (Goal::Reloaded, "run/1/0/2", "RUNNING run/1/0/2 run/1/0/1 ok pid", true, "waiting"),
            (Goal::Reloaded, "run/1/0/2", "RUNNING run/1/0/2 run/1/0/2 ok pid", true, "done"),
            (
                Goal::Reloaded,
                "run/1/0/2",
                "RUNNING run/1/0/2 run/1/0/2 ok pid torn",
                true,
                "failed",
            ),
            (Goal::Reloaded, "run/1/0/2", "FATAL run/1/0/2 run/1/0/2", true, "failed"),
            (Goal::Gone, "stop/1/0", "STOPPED stop/1/0 stop/1/0 ok", true, "waiting"),
        ] {
            let verdict = match judge(goal, &wanted(asked), Some(&row(row_)), settled) {
                Verdict::Done(_) => "done",
                Verdict::Failed(_) => "failed",
                Verdict::Waiting(_) => "waiting",
            };
            assert_eq!(verdict, expected, "{goal:?} {asked}: {row_} settled={settled}");
        }
        let none = judge(Goal::Gone, &wanted("stop/1/0"), None, false);
        assert_eq!(none, Verdict::Done("removed".to_owned()));
        assert!(matches!(judge(Goal::Wanted, &wanted("run/1/0"), None, true), Verdict::Waiting(_)));
    }
}
