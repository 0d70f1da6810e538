//! What an action writes: keys, bodies and guards. Pure, so that the simulation writes exactly
//! what a scheduler does. Every write carries the guard under which it was decided, so a loser of a
//! race writes nothing.

mod hold;
mod refusal;

use std::collections::BTreeMap;

use dsbus_client::{BATCH_WRITES_MAX, Entry, Error, Seal, Value, Write};
use dsbus_planner::Action;
use dsbus_planner::action::LeaseGuard;
use dsbus_planner::jobs::{Due, Verdict};
use dsbus_schema::goal::{Goal, Wanted};
use dsbus_schema::ids::{
    Epoch, FleetName, Incarnation, InstanceId, ProgramId, ProgramName, WorkerName,
};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::placement::{Placement, Removal};
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_schema::storage::{
    Bucket, fleet_status_key, group_key, instance_key, placement_guard, scheduler_key, touch_key,
    worker_goal_key,
};
use dsbus_schema::touch::{PRESENCE_SECONDS, SchedulerTouch};
use uuid::Uuid;

pub use hold::hold_key;

/// Who writes.
#[derive(Debug)]
pub struct Writer<'a> {
    /// The scheduler's name.
    pub id: &'a str,
    /// A touch of its own, which carries a guard where nothing else can.
    pub touch: SchedulerTouch,
}

/// Writes that are done together or not at all, in one atomic batch when there are several.
#[derive(Debug, Clone, PartialEq)]
pub struct Writes {
    /// Where.
    pub bucket: Bucket,
    /// What.
    pub writes: Vec<Write>,
}

impl Writes {
    fn one(bucket: Bucket, write: Write) -> Writes {
        Writes { bucket, writes: vec![write] }
    }

    /// The entries that stand there once the last of these writes of the scheduler `by` is
    /// acknowledged under `last`: what the watch will deliver, known already. Own touches are nobody's
    /// news.
    pub fn entries(&self, last: u64, time: Timestamp, by: &str) -> Vec<(Bucket, Entry)> {
        let first = last + 1 - self.writes.len() as u64;
        let entry = |(seq, write): (u64, &Write)| {
            let entry = entry(write, seq, time, by);
            write.ttl_seconds.is_none().then_some((self.bucket, entry))
        };
        (first..).zip(&self.writes).filter_map(entry).collect()
    }
}

/// The entry that a write of a scheduler leaves.
pub(crate) fn entry(write: &Write, seq: u64, time: Timestamp, by: &str) -> Entry {
    let value = write.body.clone().map_or(Value::Deleted, Value::Put);
    let (key, note) = (write.key.clone(), write.note.clone());
    let seal = write.stamp.map(Seal::Ours);
    Entry { key, seq, value, time, by: Some(by.to_owned()), note, seal }
}

/// Most moves in one batch: each is two writes, of which NATS allows a thousand (ADR-50).
pub const BATCH_MOVES_MAX: usize = BATCH_WRITES_MAX / 2;

/// Actions that are done together or not at all: moves away from one lost worker, or one action.
pub type Group = Vec<(Action, Option<ProgramId>)>;

/// The lease that all of a group stands on.
pub fn lease_of(group: &Group) -> Option<(WorkerName, LeaseGuard)> {
    let (action, _) = group.first()?;
    action.lease().map(|(worker, lease)| (worker.clone(), lease))
}

/// Puts moves and removals that stand on the same lost lease together (rule 8), at most `most` of
/// each lease; all else stays alone. Apart and on their way at once they would refuse each other,
/// since a guard of one text is taken by one batch at a time (measured on three nodes: 60 removals
/// took 26 rounds). The order is kept, but for those that join an earlier one.
pub fn groups(
    actions: impl IntoIterator<Item = (Action, Option<ProgramId>)>,
    most: impl Fn(&WorkerName, u64) -> usize,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut open: BTreeMap<(WorkerName, u64, u64), usize> = BTreeMap::new();
    for action in actions {
        let lease = lease_of(&vec![action.clone()]);
        let Some((worker, LeaseGuard { seconds, seq })) = lease else {
            groups.push(vec![action]);
            continue;
        };
        let most = most(&worker, seconds).clamp(1, BATCH_MOVES_MAX);
        let key = (worker, seconds, seq);
        let joined = open.get(&key).and_then(|at| groups.get_mut(*at)).filter(|g| g.len() < most);
        match joined {
            Some(group) => group.push(action),
            None => {
                open.insert(key, groups.len());
                groups.push(vec![action]);
            }
        }
    }
    groups
}

/// What a group writes. One guard on the lost lease is enough for all of a batch, and the server
/// does not take two of one text in it.
///
/// # Errors
/// As [`writes`].
pub fn group_writes(group: &Group, writer: &Writer<'_>) -> Result<Option<Writes>, Error> {
    let Some(first) = group.first() else { return Ok(None) };
    let mut all = writes(first, writer)?;
    for action in group.iter().skip(1) {
        let (Some(all), Some(mut more)) = (&mut all, writes(action, writer)?) else { continue };
        let (action, _) = action;
        if matches!(action, Action::Remove { .. }) {
            // Only its delete: the first of the group carries the guard on the lease.
            more.writes.truncate(1);
        } else if let Some(put) = more.writes.last_mut() {
            put.expect = None;
        }
        all.writes.append(&mut more.writes);
    }
    Ok(all)
}

/// What an action writes; `None` for one that must look at the bus first: see [`goal_of`], [`said`]
/// and [`Action::Forget`].
///
/// # Errors
/// [`Error::Malformed`] when a body cannot be written as JSON.
pub fn writes(
    (action, program): &(Action, Option<ProgramId>),
    writer: &Writer<'_>,
) -> Result<Option<Writes>, Error> {
    let found = match action {
        Action::Place { name, worker, guard, placement }
        | Action::Update { name, worker, guard, placement } => Writes::one(
            Bucket::Fleet,
            put(name, worker, placement, *guard)?.guard(&placement_guard(name), *guard),
        ),
        Action::Move { name, from, to, guard, lease, placement, .. } => Writes {
            bucket: Bucket::Fleet,
            writes: relocation((name, from, to), *guard, *lease, placement)?,
        },
        Action::Remove { name, worker, guard, lease, epoch, reason } => {
            let id = program.unwrap_or(ProgramId(Uuid::nil()));
            let words = Removal { id, epoch: *epoch, reason: reason.clone() };
            let delete = Write::delete(instance_key(worker, name))
                .guard(&placement_guard(name), *guard)
                .stamp(*epoch, *guard)
                .saying(&words)?;
            Writes { bucket: Bucket::Fleet, writes: removal(delete, worker, *lease, writer)? }
        }
        Action::Repair { name, worker, guard, placement, epoch, .. } => {
            let write = match placement {
                Some(placement) => put(name, worker, placement, *guard)?,
                None => Write::delete(instance_key(worker, name)).stamp(*epoch, *guard),
            };
            Writes::one(Bucket::Fleet, write.guard(&placement_guard(name), *guard))
        }
        Action::ClearFleetStatus { name, guard } => {
            Writes::one(Bucket::Status, Write::delete(fleet_status_key(name)).expect(*guard))
        }
        Action::DropStatus { name, worker, guard } => {
            Writes::one(Bucket::Status, Write::delete(instance_key(worker, name)).expect(*guard))
        }
        Action::Rollout { guard, record, .. } => {
            let write = Write::put(record.name.as_str(), record)?.expect(*guard);
            Writes::one(Bucket::Programs, write)
        }
        Action::Drained { worker, guard, goal } => {
            let write = Write::put(worker_goal_key(worker), goal)?.expect(*guard);
            Writes::one(Bucket::Goals, write)
        }
        Action::TellGroup { fact, guard } => {
            let write = Write::put(group_key(&fact.group), fact)?.expect(*guard);
            Writes::one(Bucket::Status, write)
        }
        Action::ForgetGroup { group, guard } => {
            Writes::one(Bucket::Status, Write::delete(group_key(group)).expect(*guard))
        }
        Action::ForgetWorker { worker, guard } => {
            Writes::one(Bucket::Workers, Write::delete(worker.as_str()).expect(*guard))
        }
        Action::CountFailure { .. }
        | Action::NoteRefusal { .. }
        | Action::Stop { .. }
        | Action::Fire { .. }
        | Action::SetFleetStatus { .. }
        | Action::Forget { .. } => return Ok(None),
    };
    Ok(Some(found))
}

fn put(
    name: &InstanceId,
    worker: &WorkerName,
    placement: &Placement,
    guard: u64,
) -> Result<Write, Error> {
    Ok(Write::put(instance_key(worker, name), placement)?.stamp(placement.epoch, guard))
}

/// Delete before put. The put stands on the lost worker's lease, if the move does.
fn relocation(
    (name, from, to): (&InstanceId, &WorkerName, &WorkerName),
    guard: u64,
    lease: Option<LeaseGuard>,
    placement: &Placement,
) -> Result<Vec<Write>, Error> {
    // What is taken away has an epoch below this one, and none between the two was ever placed there.
    let delete = Write::delete(instance_key(from, name))
        .guard(&placement_guard(name), guard)
        .stamp(placement.epoch, guard);
    let mut put = put(name, to, placement, guard)?;
    if let Some(lease) = lease {
        put = put.guard(&touch_key(from, lease.seconds), lease.seq);
    }
    Ok(vec![delete, put])
}

/// A delete; in one batch with a write that stands on a lost lease, if it does.
fn removal(
    delete: Write,
    worker: &WorkerName,
    lease: Option<LeaseGuard>,
    writer: &Writer<'_>,
) -> Result<Vec<Write>, Error> {
    let Some(lease) = lease else { return Ok(vec![delete]) };
    // A delete has one guard only. The other is carried by a touch of this scheduler's own.
    let touch = Write::put(scheduler_key(writer.id), &writer.touch)?
        .ttl(PRESENCE_SECONDS)
        .guard(&touch_key(worker, lease.seconds), lease.seq);
    Ok(vec![delete, touch])
}

/// The goals of a program that an action about one of them must know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Goals {
    /// The one that is written.
    pub own: Option<Goal>,
    /// That of the whole program.
    pub all: Option<Goal>,
    /// The last sequence over all goals of the program.
    pub last: u64,
}

/// Which goal an action writes: of a program, or of one instance.
pub fn goal_of(action: &Action) -> Option<(&ProgramName, Option<u32>)> {
    match action {
        Action::CountFailure { name, .. }
        | Action::NoteRefusal { name, .. }
        | Action::Stop { name, .. } => Some((&name.program, Some(name.index))),
        Action::Fire { program, .. } => Some((program, None)),
        _ => None,
    }
}

/// The goal after such an action; `None` when it was done already.
pub fn goal_after(action: &Action, fleet: &FleetName, goals: &Goals) -> Option<Goal> {
    match action {
        Action::CountFailure { worker, epoch, asked, .. } => counted(goals, worker, *epoch, *asked),
        Action::NoteRefusal { by, asked, .. } => refusal::refused(goals, by, *asked),
        Action::Stop { name, epoch, starts, .. } => stopped(goals, fleet, name, (*epoch, *starts)),
        Action::Fire { due, .. } => fired(goals, due),
        _ => None,
    }
}

/// The goal of an instance. One that is made only to count says what the program's says, and is
/// never the later.
fn own(goals: &Goals) -> Goal {
    let run = || goals.all.as_ref().is_none_or(|goal| goal.run);
    goals.own.clone().unwrap_or_else(|| Goal { run: run(), ..Goal::default() })
}

/// Counts a failure.
fn counted(goals: &Goals, worker: &WorkerName, epoch: Epoch, asked: u64) -> Option<Goal> {
    let mut goal = own(goals);
    if goal.failed_epoch >= epoch && goal.fails_since >= asked {
        return None;
    }
    if goal.fails_since < asked {
        (goal.fails, goal.fails_since) = (0, asked);
        goal.failed_on.clear();
    }
    goal.fails = goal.fails.saturating_add(1);
    goal.failed_epoch = epoch;
    if !goal.failed_on.contains(worker) {
        goal.failed_on.push(worker.clone());
    }
    Some(goal)
}

/// Stops an instance whose worker is lost, once for each epoch and each start that was asked for.
fn stopped(
    goals: &Goals,
    fleet: &FleetName,
    name: &InstanceId,
    (epoch, starts): (Epoch, u64),
) -> Option<Goal> {
    let mut goal = goals.own.clone().unwrap_or_default();
    if goal.starts.saturating_add(goals.all.as_ref().map_or(0, |all| all.starts)) > starts {
        return None;
    }
    let text = format!("{fleet}/{name}/{epoch}/{starts}/lost");
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes());
    if goal.commands.has_acted(id) {
        return None;
    }
    goal.commands.remember(id, "stop", None);
    (goal.run, goal.stamp) = (false, goals.last.saturating_add(1));
    Some(goal)
}

/// Fires a scheduled run, or notes that it is skipped: whoever is first.
fn fired(goals: &Goals, due: &Due) -> Option<Goal> {
    let mut goal = goals.own.clone().unwrap_or_default();
    if goal.last_due >= Some(due.at) || goal.commands.has_acted(due.id) {
        return None;
    }
    goal.last_due = Some(due.at);
    // It may have been stopped since that was decided. A run is one more start and nothing else: what
    // was stopped alone stays stopped.
    let stopped = goal.disabled || (goal.stamp > 0 && !goal.run);
    if due.verdict == Verdict::Run && !stopped {
        goal.commands.remember(due.id, "start", None);
        goal.starts = goal.starts.saturating_add(1);
    }
    Some(goal)
}

/// Every goal of a program: what a write to any of them is guarded by.
pub fn goal_pattern(program: &ProgramName) -> String {
    format!("{program}.*")
}

/// What a scheduler says of an instance.
pub fn said(
    program: Option<ProgramId>,
    (state, reason): (State, &str),
    event: Uuid,
    since: Timestamp,
) -> Status {
    Status {
        id: program.unwrap_or(ProgramId(Uuid::nil())),
        epoch: Epoch(0),
        revision: 0,
        wanted: Wanted { run: true, ..Wanted::default() },
        state,
        rests: false,
        since,
        pid: None,
        restarts: 0,
        exit: None,
        usage: None,
        note: None,
        reason: Some(reason.to_owned()),
        spawnerr: None,
        refused: None,
        stderr_line: None,
        stdout_logfile: None,
        stderr_logfile: None,
        seq: 0,
        event: Some(event),
        incarnation: Incarnation(Uuid::nil()),
    }
}
