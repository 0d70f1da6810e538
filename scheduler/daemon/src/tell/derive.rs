//! Which events stand on an entry that a scheduler wrote. Pure: whoever sees the entry, and what was
//! there before, derives the same events under the same ids.

mod program;

use dsbus_client::Entry;
use dsbus_planner::view::Placed;
use dsbus_schema::event::{
    CommandFact, Fact, GroupChange, GroupFact, PlacementChange, PlacementFact, ProcessFact,
    SchedulerChange, SchedulerFact, Verdict, WorkerChange,
};
use dsbus_schema::goal::{Answered, Commands, Goal};
use dsbus_schema::ids::{FleetName, InstanceId, ProgramName, UserName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::placement::{Placement, Removal};
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_schema::touch::SchedulerTouch;
use dsbus_schema::worker_goal::WorkerGoal;
use uuid::Uuid;

use super::{Check, Told};

pub use program::program;

/// The entry that events stand on.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// Whose.
    pub fleet: &'a FleetName,
    /// Its sequence.
    pub seq: u64,
    /// When it was written.
    pub time: Timestamp,
    /// The scheduler that wrote it.
    pub by: &'a str,
}

impl<'a> At<'a> {
    /// That entry.
    pub fn entry(fleet: &'a FleetName, entry: &'a Entry) -> At<'a> {
        let by = entry.by.as_deref().unwrap_or_default();
        At { fleet, seq: entry.seq, time: entry.time, by }
    }

    fn told(self, words: &str, fact: Fact) -> Told {
        Told::new(self.fleet, words, self.time, fact)
    }
}

/// The id of the event of a command, which is the same for every scheduler that answers it.
pub fn command_words(command: Uuid, verdict: Verdict) -> String {
    format!("command/{command}/{verdict:?}")
}

/// Commands of people that have acted on a record since it was as `before`. The one that answered
/// knows by which names it was given; here it is known what it acted on.
fn accepted(at: At<'_>, about: &str, before: &Commands, after: &Commands) -> Vec<Told> {
    after.since(before).filter_map(|answered| command(at, about, answered)).collect()
}

/// Commands of people that have acted on a record since then, in seconds since 1970. What was there
/// before is not known.
pub fn recent(at: At<'_>, about: &str, commands: &Commands, since: i64) -> Vec<Told> {
    commands.recent(since).filter_map(|answered| command(at, about, answered)).collect()
}

fn command(at: At<'_>, about: &str, answered: &Answered) -> Option<Told> {
    let fact = CommandFact {
        by: answered.by.clone()?,
        verb: answered.verb.clone(),
        verdict: Verdict::Accepted,
        names: vec![about.to_owned()],
        count: 1,
        command: Some(answered.id),
        code: None,
        reason: None,
        scheduler: at.by.to_owned(),
    };
    let words = command_words(answered.id, Verdict::Accepted);
    Some(at.told(&words, Fact::Command(fact)))
}

/// The goal of a program or of an instance was written.
pub fn goal(at: At<'_>, about: &str, before: Option<&Goal>, after: &Goal) -> Vec<Told> {
    let none = Commands::default();
    accepted(at, about, before.map_or(&none, |goal| &goal.commands), &after.commands)
}

/// What people want of a worker was written. `before` is nothing where it is not known.
pub fn worker_goal(
    at: At<'_>,
    worker: &WorkerName,
    before: Option<&WorkerGoal>,
    after: &WorkerGoal,
) -> Vec<Told> {
    let verb = after.commands.latest().map_or("", |answered| answered.verb.as_str());
    let asked = |by: &Option<UserName>| match by {
        Some(by) => format!("{verb} was asked by {by}"),
        None => format!("{verb} was asked"),
    };
    let drained = "it is draining, and has no instance any more".to_owned();
    let known = |goal: &WorkerGoal| (goal.cordoned, goal.draining);
    let (change, reason) = match (before, verb) {
        (Some(before), _) if after.drained && !before.drained => (WorkerChange::Drained, drained),
        (Some(before), _) if known(before) == known(after) => return Vec::new(),
        (None, "drain") if after.drained => (WorkerChange::Drained, drained),
        (_, "drain") => (WorkerChange::Draining, asked(&after.by)),
        (_, "cordon") => (WorkerChange::Cordoned, asked(&after.by)),
        _ => (WorkerChange::Uncordoned, asked(&after.by)),
    };
    let mut all = vec![Told::worker(at.fleet, (worker, change), at.seq, at.time, &reason)];
    if let Some(before) = before {
        all.extend(accepted(at, worker.as_str(), &before.commands, &after.commands));
    }
    all
}

/// A placement was written. `before` is what stood on the same worker for that instance, if that is
/// known.
pub fn placement(
    at: At<'_>,
    (worker, name): (&WorkerName, &InstanceId),
    before: Option<&Placed>,
    after: &Placement,
) -> Option<Told> {
    if before.is_some_and(|before| before.epoch == after.epoch) {
        return None;
    }
    // It may have been given another epoch where it was.
    let from = after.from.clone().filter(|_| before.is_none());
    let fact = PlacementFact {
        name: name.clone(),
        id: after.id,
        change: if from.is_some() { PlacementChange::Moved } else { PlacementChange::Placed },
        from,
        to: Some(worker.clone()),
        epoch: after.epoch,
        reason: after.reason.clone().unwrap_or_else(|| "it should run".to_owned()),
        scheduler: at.by.to_owned(),
    };
    let words = format!("placement/{name}/{}", after.epoch);
    Some(at.told(&words, Fact::Placement(fact)))
}

/// A placement was taken away, and its tombstone says so.
pub fn removal(at: At<'_>, worker: &WorkerName, name: &InstanceId, removal: &Removal) -> Told {
    let fact = PlacementFact {
        name: name.clone(),
        id: removal.id,
        change: PlacementChange::Removed,
        from: Some(worker.clone()),
        to: None,
        epoch: removal.epoch,
        reason: removal.reason.clone(),
        scheduler: at.by.to_owned(),
    };
    let words = format!("placement/{name}/{}/removed", removal.epoch);
    at.told(&words, Fact::Placement(fact))
}

/// Schedulers told of an instance what only they know: PENDING, or FATAL over the fleet.
pub fn said(
    at: At<'_>,
    name: &InstanceId,
    group: Option<&ProgramName>,
    before: Option<&Status>,
    after: &Status,
) -> Option<Told> {
    let id = after.event?;
    if before.is_some_and(|before| before.event == after.event) {
        return None;
    }
    let fact = ProcessFact {
        name: name.clone(),
        id: after.id,
        group: group.cloned(),
        process: None,
        worker: None,
        epoch: after.epoch,
        seq: 0,
        revision: after.revision,
        from: before.map_or(State::Stopped, |before| before.state),
        state: after.state,
        pid: None,
        exit: None,
        usage: None,
        expected: None,
        reason: after.reason.clone(),
        spawnerr: None,
        stderr_line: None,
        attempt: None,
    };
    Some(Told { id, time: at.time, fact: Fact::Process(fact), check: Check::Id })
}

/// Something was told of a group; nothing, when it is gone.
pub fn group(at: At<'_>, name: &ProgramName, after: Option<GroupFact>) -> Told {
    let gone =
        || GroupFact { group: name.clone(), change: GroupChange::Removed, failed: Vec::new() };
    let fact = after.unwrap_or_else(gone);
    let words = format!("group/{name}/{}/{}", fact.change.type_name(), at.seq);
    at.told(&words, Fact::Group(fact))
}

/// Something happened to a scheduler, in that run of it. `seq` tells apart what happens to one run
/// more than once.
pub fn scheduler(
    (fleet, time): (&FleetName, Timestamp),
    (id, run): (&str, Uuid),
    change: SchedulerChange,
    seq: u64,
    schedulers: usize,
) -> Told {
    let words = format!("scheduler/{id}/{run}/{}/{seq}", change.type_name());
    let fact = SchedulerFact { scheduler: id.to_owned(), change, schedulers, count: None };
    Told::new(fleet, &words, time, Fact::Scheduler(fact))
}

/// A scheduler is gone, as this entry says, and nobody tells so many events that it may not have told.
pub fn forgotten(at: At<'_>, id: &str, count: u64, schedulers: usize) -> Told {
    let change = SchedulerChange::EventsDropped;
    let fact = SchedulerFact { scheduler: id.to_owned(), change, schedulers, count: Some(count) };
    at.told(&format!("scheduler/{id}/{}/{}", change.type_name(), at.seq), Fact::Scheduler(fact))
}

/// Whether a touch is the first that says that this run is ready.
pub fn joins(before: Option<&SchedulerTouch>, after: &SchedulerTouch) -> bool {
    let known = |before: &SchedulerTouch| before.run == after.run && before.ready;
    after.ready && !after.leaving && !before.is_some_and(known)
}

#[cfg(test)]
mod tests;
