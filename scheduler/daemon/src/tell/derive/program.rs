//! Which events stand on the entry of a program.

use dsbus_schema::event::{Fact, ProgramChange, ProgramFact};
use dsbus_schema::goal::{Answered, Commands};
use dsbus_schema::ids::UserName;
use dsbus_schema::program::Program;
use dsbus_schema::rollout::{Rollout, RolloutChange, RolloutFact, RolloutState};

use super::{At, accepted};
use crate::commands::revise::{changed_keys, rolls};
use crate::tell::Told;

/// A program was written.
pub fn program(at: At<'_>, before: Option<&Program>, after: &Program) -> Vec<Told> {
    let before = before.filter(|before| before.id == after.id);
    let none = Commands::default();
    let known = before.map_or(&none, |before| &before.commands);
    let last = after.commands.since(known).last();
    let mut all: Vec<Told> = declared(before, after, last.and_then(|last| last.by.as_ref()))
        .into_iter()
        .map(|fact| {
            let (id, revision) = (fact.id, fact.revision);
            at.told(&format!("program/{id}/{revision}/{:?}", fact.change), Fact::Program(fact))
        })
        .collect();
    if let Some(before) = before
        && let Some((change, reason)) = step(before, after, last)
    {
        let fact = RolloutFact {
            program: after.name.clone(),
            id: after.id,
            change,
            revision: after.revision,
            reason,
            by: last.and_then(|last| last.by.clone()),
        };
        let words = format!("rollout/{}/{}/{}", after.name, change.type_name(), at.seq);
        all.push(at.told(&words, Fact::Rollout(fact)));
    }
    all.extend(accepted(at, after.name.as_str(), known, &after.commands));
    all
}

/// What was done with the declaration. It may be declared anew and removed by one entry, where those
/// between were not seen.
fn declared(before: Option<&Program>, after: &Program, by: Option<&UserName>) -> Vec<ProgramFact> {
    let fact = |change, changed, by: Option<&UserName>| ProgramFact {
        program: after.name.clone(),
        id: after.id,
        change,
        revision: after.revision,
        group: after.spec.group.clone(),
        changed,
        by: by.cloned(),
    };
    let mut all = Vec::new();
    match before {
        None => all.push(fact(ProgramChange::Added, Vec::new(), after.by.as_ref())),
        Some(before) if before.revision < after.revision => {
            let changed = changed_keys(&before.spec, &after.spec);
            all.push(fact(ProgramChange::Changed, changed, after.by.as_ref()));
        }
        Some(_) => {}
    }
    if after.removing && before.is_none_or(|before| !before.removing) {
        all.push(fact(ProgramChange::Removed, Vec::new(), by));
    }
    all
}

/// The step of a rollout, and why it was taken. `last` is the last command that acted since.
fn step(
    before: &Program,
    after: &Program,
    last: Option<&Answered>,
) -> Option<(RolloutChange, String)> {
    if before.revision < after.revision {
        return begun(before, after, last);
    }
    let asked = match last.and_then(|last| last.by.as_ref()) {
        Some(by) => format!("asked by {by}"),
        None => "asked for".to_owned(),
    };
    let (was, is) = match (before.rollout.as_deref(), after.rollout.as_deref()) {
        (Some(was), Some(is)) => (was, is),
        (Some(_), None) => {
            return Some((RolloutChange::Done, "every instance is changed".to_owned()));
        }
        (None, _) => return None,
    };
    let why = |rollout: &Rollout| rollout.reason.clone().unwrap_or_default();
    match (was.state, is.state) {
        (RolloutState::Rolling, RolloutState::Paused) => Some((RolloutChange::Paused, asked)),
        (RolloutState::Rolling | RolloutState::Paused, RolloutState::Failed) => {
            Some((RolloutChange::Failed, why(is)))
        }
        (RolloutState::Paused | RolloutState::Failed, RolloutState::Rolling) => {
            Some((RolloutChange::Resumed, asked))
        }
        _ if is.promoted && !was.promoted => Some((RolloutChange::Promoted, asked)),
        (RolloutState::Rolling, RolloutState::Rolling)
        | (RolloutState::Paused | RolloutState::Failed, RolloutState::Paused)
        | (RolloutState::Failed, RolloutState::Failed) => None,
    }
}

/// What a new revision begins: a change, or a way back.
fn begun(
    before: &Program,
    after: &Program,
    last: Option<&Answered>,
) -> Option<(RolloutChange, String)> {
    let Some(last) = last else {
        // Nobody asked for it: it failed.
        let back = after.rollout.as_ref().filter(|r| r.reverts == Some(before.revision))?;
        return Some((RolloutChange::Reverted, back.reason.clone().unwrap_or_default()));
    };
    let needs = || format!("revision {} needs new children", after.revision);
    let reason = after.reason.clone().unwrap_or_else(needs);
    if last.verb == "rollout" {
        return Some((RolloutChange::Reverted, reason));
    }
    let rolls = after.rollout.is_some() && rolls(&before.spec, &after.spec);
    rolls.then_some((RolloutChange::Started, reason))
}
