//! Waiting until rollouts are over, or wait for a person.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use dsbus_schema::command::{Ask, RevisionRow, RolloutRow, Verb};
use dsbus_schema::ids::{InstanceId, ProgramName, Target};
use dsbus_schema::rollout::RolloutState;
use tokio::time::Instant;

use super::{feed, live, pause};
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Instances that are named in a line; of more the first ones are, and the rest is counted.
const NAMED_MAX: usize = 4;

/// How waiting for a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Every instance is changed.
    Done,
    /// It stopped because of a failure.
    Failed(String),
    /// It goes on only when a person says so.
    Held(String),
    /// Another declaration came after it: its revision.
    Replaced(u64),
    /// The program is gone.
    Gone,
    /// It was still going on when the time was up: what it stood at.
    Late(String),
}

/// A rollout that was waited for.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// The program.
    pub(crate) program: ProgramName,
    /// How it ended.
    pub(crate) end: End,
    /// What was known of it last.
    pub(crate) row: Option<RolloutRow>,
    /// The revision that came after it, where there is one.
    pub(crate) next: Option<RevisionRow>,
}

impl Ended {
    /// What to say of it when it did not end well, with what to do.
    pub(crate) fn failure(&self) -> Failure {
        let name = &self.program;
        let revision = self.row.as_ref().map_or(0, |row| row.revision);
        let undo = format!("dsbus rollout undo {name} goes back");
        match &self.end {
            End::Done => Failure::told(Code::Done),
            End::Failed(why) => Failure::failed(format!("{name}: the rollout failed: {why}"))
                .hint(format!("{undo}; dsbus rollout resume {name} goes on in spite of it")),
            End::Held(why) if self.row.as_ref().is_some_and(|row| row.awaits_promotion) => {
                let said = format!("{name}: {why}");
                Failure::new(Code::TimedOut, said)
                    .hint(format!("if they are good: dsbus rollout promote {name}; else {undo}"))
            }
            End::Held(why) => {
                let said = format!("{name}: the rollout is paused: {why}");
                let hint = format!("dsbus rollout resume {name} goes on; {undo}");
                Failure::new(Code::TimedOut, said).hint(hint)
            }
            End::Replaced(by) => {
                let next = self.next.as_ref();
                let reason = next.and_then(|next| next.reason.clone());
                let said = match (next.and_then(|next| next.by.as_ref()), reason) {
                    // A scheduler did it.
                    (None, Some(reason)) => {
                        format!("{name}: the rollout failed, and went {reason}")
                    }
                    (Some(user), Some(reason)) => {
                        format!("{name}: {user} declared revision {by} meanwhile: {reason}")
                    }
                    (Some(user), None) => {
                        format!("{name}: {user} declared revision {by} meanwhile")
                    }
                    (None, None) => format!("{name}: revision {by} was declared meanwhile"),
                };
                Failure::failed(said).hint(format!("dsbus history {name} shows what was declared"))
            }
            End::Gone => Failure::failed(format!("{name}: was removed meanwhile")),
            End::Late(what) => {
                let said = format!("{name}: timed out; the rollout of revision {revision} {what}");
                Failure::new(Code::TimedOut, said)
                    .hint(format!("it goes on: dsbus rollout status -w {name} shows it"))
            }
        }
    }

    /// One word for how it ended, for programs.
    pub(crate) fn word(&self) -> &'static str {
        match &self.end {
            End::Done => "done",
            End::Failed(_) | End::Replaced(_) | End::Gone => "failed",
            End::Held(_) | End::Late(_) => "waiting",
        }
    }
}

/// How a rollout of this revision ended, or `None` while it goes on.
pub(crate) fn judge(row: Option<&RolloutRow>, revision: u64) -> Option<End> {
    let Some(row) = row else { return Some(End::Gone) };
    if row.revision > revision {
        return Some(End::Replaced(row.revision));
    }
    // A scheduler that has not heard of it yet.
    if row.revision < revision {
        return None;
    }
    let why = |otherwise: &str| row.reason.clone().unwrap_or_else(|| otherwise.to_owned());
    match row.state {
        None => Some(End::Done),
        Some(RolloutState::Failed) => Some(End::Failed(why("an instance ended FATAL"))),
        Some(RolloutState::Paused) => Some(End::Held(why("somebody paused it"))),
        Some(RolloutState::Rolling) if row.awaits_promotion => {
            let canaries = if row.done.len() == 1 { "canary waits" } else { "canaries wait" };
            Some(End::Held(format!("its {canaries} to be promoted")))
        }
        Some(RolloutState::Rolling) => None,
    }
}

/// How far a rollout is: `2 of 5 changed, changing web:2, 2 to come (why)`.
pub(crate) fn progress(row: &RolloutRow) -> String {
    let all = row.done.len() + row.moving.len() + row.waiting.len();
    let mut said = format!("{} of {all} changed", row.done.len());
    // A line that cannot be written is not; a String can always be.
    if !row.moving.is_empty() {
        let _ = write!(said, ", changing {}", names(&row.moving));
    }
    if !row.waiting.is_empty() {
        let _ = write!(said, ", {} to come", row.waiting.len());
    }
    if let Some(reason) = &row.reason {
        let _ = write!(said, " ({reason})");
    }
    said
}

/// A few names, and how many more.
pub(crate) fn names(all: &[InstanceId]) -> String {
    let named: Vec<String> = all.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    match all.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The rollouts of these programs, those included that are over.
///
/// # Errors
/// When one of them does not exist, or nobody answers.
pub(crate) async fn rows(
    connection: &Connection,
    names: &[Target],
) -> Result<Vec<RolloutRow>, Failure> {
    let last = |row: &RolloutRow| InstanceId::new(row.program.clone(), 0);
    connection.all(Verb::Rollouts, names, last).await
}

/// A program, and the revision that is rolled out.
type Wanted = (ProgramName, u64);

/// Waits until the rollouts of these revisions are over, or wait for a person, or the time is up.
/// Tells each instance as it is changed, and each rollout as it ends, unless `quiet`.
///
/// # Errors
/// When nobody reads what is told.
pub(crate) async fn wait(
    connection: &Connection,
    wanted: &[Wanted],
    timeout: Duration,
    quiet: bool,
) -> Result<Vec<Ended>, Failure> {
    let began = Instant::now();
    let deadline = began + timeout;
    let mut feed = feed(connection).await;
    let mut left: Vec<&Wanted> = wanted.iter().collect();
    let mut told = Told::default();
    let mut ended = Vec::new();
    while !left.is_empty() {
        let over = Instant::now() >= deadline;
        let known = known(connection, &left).await;
        let (mut going, mut passing) = (Vec::new(), Vec::new());
        for want in left {
            let (name, revision) = want;
            let row = known.as_ref().and_then(|rows| rows.iter().find(|r| r.program == *name));
            if let Some(row) = row.filter(|row| !quiet && row.revision == *revision) {
                for instance in told.news(row) {
                    output::success(format_args!("{instance}: changed"))?;
                }
            }
            let end = match (known.is_some().then(|| judge(row, *revision)).flatten(), row) {
                (Some(end), _) => end,
                (None, Some(row)) if over => End::Late(format!("is at {}", progress(row))),
                (None, None) if over => End::Late("is not known: nobody answers".to_owned()),
                (None, row) => {
                    passing.extend(row.cloned());
                    going.push(want);
                    continue;
                }
            };
            let this = end_of(connection, name, end, row).await;
            if !quiet {
                tell(&this)?;
            }
            ended.push(this);
        }
        left = going;
        if !left.is_empty() {
            if !quiet {
                live::show(connection, &passing, began).await;
            }
            pause(&mut feed, deadline).await;
        }
    }
    output::passing(&[]);
    Ok(ended)
}

/// What is known of these programs; those that are gone are left out. `None` when nobody answers.
async fn known(connection: &Connection, wanted: &[&Wanted]) -> Option<Vec<RolloutRow>> {
    let target = |name: &ProgramName| Target::Program(name.clone());
    let targets: Vec<Target> = wanted.iter().map(|(name, _)| target(name)).collect();
    match rows(connection, &targets).await {
        Ok(rows) => return Some(rows),
        Err(failure) if failure.code != Code::Failed => return None,
        Err(_) => {}
    }
    // One of them does not exist any more; the others are asked for one by one.
    let mut all = Vec::new();
    for target in targets {
        match rows(connection, &[target]).await {
            Ok(rows) => all.extend(rows),
            Err(failure) if failure.code != Code::Failed => return None,
            Err(_) => {}
        }
    }
    Some(all)
}

async fn end_of(
    connection: &Connection,
    name: &ProgramName,
    end: End,
    row: Option<&RolloutRow>,
) -> Ended {
    let next = match &end {
        End::Replaced(by) => revision_of(connection, name, *by).await,
        End::Done | End::Failed(_) | End::Held(_) | End::Gone | End::Late(_) => None,
    };
    Ended { program: name.clone(), end, row: row.cloned(), next }
}

/// Instances that were told of, by program.
#[derive(Debug, Default)]
struct Told(BTreeMap<ProgramName, BTreeSet<InstanceId>>);

impl Told {
    /// Those that are changed and were not told of yet. A rollout that was over before it was
    /// looked at has nothing to tell of instances.
    fn news<'a>(&mut self, row: &'a RolloutRow) -> Vec<&'a InstanceId> {
        if row.state.is_some() {
            self.0.entry(row.program.clone()).or_default();
        }
        let Some(told) = self.0.get_mut(&row.program) else { return Vec::new() };
        row.done.iter().filter(|name| told.insert((*name).clone())).collect()
    }
}

fn tell(ended: &Ended) -> Result<(), Failure> {
    let name = &ended.program;
    match (&ended.end, &ended.row) {
        (End::Done, Some(row)) => {
            output::success(format_args!("{name}: rolled out (revision {})", row.revision))?;
        }
        (End::Done, None) => output::success(format_args!("{name}: rolled out"))?,
        (End::Failed(_) | End::Held(_), Some(row)) => {
            let mut failure = ended.failure();
            let row = RolloutRow { reason: None, ..row.clone() };
            failure.message = format!("{} ({})", failure.message, progress(&row));
            output::failure(&failure);
        }
        (End::Failed(_) | End::Held(_) | End::Replaced(_) | End::Gone | End::Late(_), _) => {
            output::failure(&ended.failure());
        }
    }
    Ok(())
}

/// What is known of a revision.
async fn revision_of(
    connection: &Connection,
    name: &ProgramName,
    revision: u64,
) -> Option<RevisionRow> {
    let ask = Ask { names: vec![Target::Program(name.clone())], ..Ask::default() };
    let rows: Vec<RevisionRow> = connection.command(Verb::History, &ask).await.ok()?;
    rows.into_iter().find(|row| row.revision == revision)
}

/// The exit code of all: what failed outweighs what waits.
pub(crate) fn code(ended: &[Ended]) -> Code {
    let codes: Vec<Code> = ended.iter().map(|ended| ended.failure().code).collect();
    [Code::Failed, Code::TimedOut].into_iter().find(|c| codes.contains(c)).unwrap_or(Code::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(state: Option<&str>, revision: u64, awaits: bool, reason: Option<&str>) -> RolloutRow {
        serde_json::from_value(json!({
            "program": "web", "id": "00000000-0000-0000-0000-000000000001",
            "revision": revision, "stable": state.map(|_| 1), "state": state,
            "done": ["web:0", "web:1"], "moving": ["web:2"],
            "waiting": ["web:3", "web:4", "web:5", "web:6", "web:7"],
            "awaits_promotion": awaits, "reason": reason, "since": null,
        }))
        .unwrap()
    }

    #[test]
    fn rollouts_end() {
        let end =
            |state, revision, awaits| judge(Some(&row(state, revision, awaits, Some("why"))), 3);
        let why = || "why".to_owned();
        assert_eq!(end(None, 3, false), Some(End::Done));
        assert_eq!(end(Some("rolling"), 3, false), None);
        assert_eq!(end(None, 2, false), None, "not heard of yet");
        let canaries = "its canaries wait to be promoted".to_owned();
        assert_eq!(end(Some("rolling"), 3, true), Some(End::Held(canaries)));
        assert_eq!(end(Some("paused"), 3, false), Some(End::Held(why())));
        assert_eq!(end(Some("failed"), 3, false), Some(End::Failed(why())));
        assert_eq!(end(Some("rolling"), 4, false), Some(End::Replaced(4)));
        assert_eq!(judge(None, 3), Some(End::Gone));
    }

    #[test]
    fn what_waits_for_a_person_says_how_to_go_on() {
        let ended =
            |end, row| Ended { program: ProgramName::parse("web").unwrap(), end, row, next: None };
        let held = End::Held("1 of 8".to_owned());
        let canary = ended(held.clone(), Some(row(Some("rolling"), 3, true, None)));
        let failure = canary.failure();
        assert_eq!((failure.code, canary.word()), (Code::TimedOut, "waiting"));
        assert!(failure.hint.unwrap().contains("dsbus rollout promote web"));
        let paused = ended(held, Some(row(Some("paused"), 3, false, None)));
        assert!(paused.failure().hint.unwrap().contains("dsbus rollout resume web"));
        let failed = ended(End::Failed("FATAL".to_owned()), None);
        assert!(failed.failure().hint.unwrap().contains("dsbus rollout undo web"));
        let mut replaced = ended(End::Replaced(5), None);
        assert_eq!(replaced.failure().message, "web: revision 5 was declared meanwhile");
        let next = |by: Option<&str>| -> Option<RevisionRow> {
            serde_json::from_value(json!({
                "program": "web", "id": "00000000-0000-0000-0000-000000000001", "revision": 5,
                "at": "2026-01-01T00:00:00Z", "by": by, "reason": "back to revision 3: FATAL",
                "changed": [], "current": true,
            }))
            .unwrap()
        };
        replaced.next = next(None);
        let said = replaced.failure().message;
        assert_eq!(said, "web: the rollout failed, and went back to revision 3: FATAL");
        replaced.next = next(Some("ann"));
        assert!(replaced.failure().message.starts_with("web: ann declared revision 5"));
        assert_eq!(code(&[paused.clone(), failed]), Code::Failed);
        assert_eq!(code(&[paused]), Code::TimedOut);
        assert_eq!(code(&[]), Code::Done);
    }

    #[test]
    fn each_instance_is_told_once() {
        let mut told = Told::default();
        assert!(told.news(&row(None, 3, false, None)).is_empty(), "over before it was seen");
        let mut rolling = row(Some("rolling"), 3, false, None);
        assert_eq!(told.news(&rolling).len(), 2);
        assert!(told.news(&rolling).is_empty());
        rolling.done.append(&mut rolling.moving);
        rolling.state = None;
        assert_eq!(told.news(&rolling).len(), 1, "also with the look that finds it over");
    }

    #[test]
    fn progress_is_a_line() {
        assert_eq!(
            progress(&row(Some("rolling"), 3, false, Some("min_healthy of 5 s"))),
            "2 of 8 changed, changing web:2, 5 to come (min_healthy of 5 s)"
        );
    }
}
