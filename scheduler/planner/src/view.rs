//! All that a scheduler knows, folded out of what the bus delivered. It holds nothing that is not
//! on the bus, but for the verdicts on leases, which every scheduler reaches for itself, and for
//! how long it has seen a child run.
//!
//! Everything about a program is in one `Entry`, everything about a worker in one `Host`. What
//! is folded notes which programs it concerns, so that only these are planned for again.

mod adrift;
mod entry;
mod fold;
mod goals;
pub(crate) mod host;
mod index;
mod reset;
mod unread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dsbus_schema::event::GroupFact;
use dsbus_schema::goal::{Goal, Wanted};
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, ProgramName, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::placement::{Placement, Rest};
use dsbus_schema::program::{Facility, Program, ProgramSpec};
use dsbus_schema::state::WorkerState;
use dsbus_schema::status::Status;
use dsbus_schema::touch::PRESENCE_SECONDS;
use dsbus_schema::worker::Worker;
use dsbus_schema::worker_goal::WorkerGoal;

pub use goals::Goals;
pub use unread::Part;

pub(crate) use entry::{Entry, Forged, Instance, Well};
pub(crate) use host::{Host, Slot};
pub(crate) use index::Index;
pub(crate) use unread::Unread;

/// Now, on the two clocks that a plan needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// This scheduler's CLOCK_BOOTTIME: how long ago it saw something.
    pub boot: BootTime,
    /// Its wall clock: when schedules are due, and what people read.
    pub wall: Timestamp,
}

/// Something read from the bus, with its sequence there.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen<T> {
    /// Sequence in its stream.
    pub seq: u64,
    /// The value.
    pub value: T,
}

/// A placement and where it is. The spec is shared by the instances of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Where.
    pub worker: WorkerName,
    /// That worker's number.
    pub(crate) host: usize,
    /// Sequence of the entry.
    pub seq: u64,
    /// Identity of the program.
    pub id: ProgramId,
    /// Revision of the spec.
    pub revision: u64,
    /// Epoch.
    pub epoch: Epoch,
    /// What the instance should do.
    pub wanted: Wanted,
    /// What to run.
    pub spec: Arc<ProgramSpec>,
    /// Where it was before.
    pub from: Option<WorkerName>,
    /// Why it is here, for people.
    pub reason: Option<String>,
    /// It has ended for good, or was given up.
    pub rest: Option<Rest>,
    /// Words after those of the command, given with the last start.
    pub arguments: Vec<String>,
    /// It is stopped only to leave its place.
    pub leaves: bool,
}

impl Placed {
    /// Shares `spec` with those that are known already.
    fn new(
        (worker, host): (WorkerName, usize),
        seq: u64,
        placement: Placement,
        spec: Arc<ProgramSpec>,
    ) -> Placed {
        let Placement { id, revision, epoch, wanted, .. } = placement;
        let Placement { from, reason, rest, arguments, leaves, .. } = placement;
        Placed {
            worker,
            host,
            seq,
            id,
            revision,
            epoch,
            wanted,
            spec,
            from,
            reason,
            rest,
            arguments,
            leaves,
        }
    }

    /// The same as it is written to the bus.
    pub fn placement(&self) -> Placement {
        Placement {
            from: self.from.clone(),
            reason: self.reason.clone(),
            rest: self.rest.clone(),
            arguments: self.arguments.clone(),
            leaves: self.leaves,
            ..Placement::new(
                self.id,
                self.revision,
                self.epoch,
                self.wanted,
                ProgramSpec::clone(&self.spec),
            )
        }
    }
}

/// Whether a lease lives, in this scheduler's judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Life {
    /// It was touched, and is not overdue.
    #[default]
    Live,
    /// Overdue, expired, or never seen; not yet judged.
    Silent,
    /// Expired, and its worker did not answer: rules 4 to 7 of DESIGN.md section 5 are met.
    Lost,
}

/// A worker's lease.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lease {
    /// Sequence of the last entry of its key, marker included; 0 for none.
    pub seq: u64,
    /// Judgement.
    pub life: Life,
    /// Which run of the worker touched it last.
    pub incarnation: Option<dsbus_schema::ids::Incarnation>,
    /// When it was last touched, for people.
    pub touched: Option<Timestamp>,
}

/// What was told of a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    /// What was told last; `None` when it has gone since.
    pub(crate) told: Option<GroupFact>,
    /// Its sequence, or that of its tombstone.
    pub(crate) guard: u64,
}

/// All that a scheduler knows.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub(crate) programs: BTreeMap<ProgramName, Entry>,
    pub(crate) hosts: BTreeMap<WorkerName, Host>,
    /// Programs of which something cannot be read, or that were removed.
    pub(crate) unread: BTreeMap<ProgramName, Unread>,
    /// What was told of groups.
    pub(crate) groups: BTreeMap<ProgramName, Group>,
    pub(crate) index: Index,
    /// The leases that are lost, by the numbers of their workers.
    pub(crate) lost: BTreeMap<usize, BTreeSet<u64>>,
    /// What is asked of every worker when one is chosen, by their numbers.
    pub(crate) slots: Vec<Slot>,
    /// Numbers of workers, in the order of their names.
    pub(crate) by_name: Vec<usize>,
}

impl View {
    /// A program.
    pub fn program(&self, name: &ProgramName) -> Option<&Program> {
        self.programs.get(name)?.program.as_ref().map(|seen| &seen.value)
    }

    /// Every program, by name.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs.values().filter_map(|entry| Some(&entry.program.as_ref()?.value))
    }

    /// A worker.
    pub fn worker(&self, name: &WorkerName) -> Option<&Worker> {
        self.hosts.get(name)?.record.as_ref().map(|seen| &seen.value)
    }

    /// Every worker that has a record, by name.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.hosts.values().filter_map(|host| Some(&host.record.as_ref()?.value))
    }

    /// Sequence of a worker's record.
    pub fn worker_seq(&self, name: &WorkerName) -> Option<u64> {
        self.hosts.get(name)?.record.as_ref().map(|seen| seen.seq)
    }

    /// What people want of a worker; nothing, mostly.
    pub fn worker_goal(&self, name: &WorkerName) -> Option<&WorkerGoal> {
        self.hosts.get(name).map(|host| &host.goal)
    }

    /// What was last told of a group.
    pub fn group(&self, name: &ProgramName) -> Option<&GroupFact> {
        self.groups.get(name)?.told.as_ref()
    }

    /// Goals of a program.
    pub fn goals(&self, name: &ProgramName) -> Option<&Goals> {
        self.programs.get(name).map(|entry| &entry.goals)
    }

    /// What people want of an instance of `program`.
    pub fn wanted(&self, program: &Program, index: u32) -> Wanted {
        let none = Goals::default();
        self.goals(&program.name).unwrap_or(&none).wanted(program, index)
    }

    /// Words after those of its command, given with the last start.
    pub(crate) fn arguments(&self, name: &InstanceId) -> Vec<String> {
        self.goals(&name.program).map_or(Vec::new(), |goals| goals.arguments(name.index).to_vec())
    }

    /// Whether it refuses to be started.
    pub fn is_disabled(&self, program: &ProgramName, index: u32) -> bool {
        self.goals(program).is_some_and(|goals| goals.is_disabled(index))
    }

    /// The goal of one instance, if it has one of its own.
    pub fn goal(&self, name: &InstanceId) -> Option<&Goal> {
        self.goals(&name.program)?.each.get(&name.index)
    }

    pub(crate) fn instance(&self, name: &InstanceId) -> Option<&Instance> {
        self.programs.get(&name.program)?.instances.get(&name.index)
    }

    /// Guard of an instance: what a write to any of its placement keys must expect.
    pub fn guard(&self, name: &InstanceId) -> u64 {
        self.instance(name).map_or(0, |instance| instance.guard)
    }

    /// The placement of an instance: of several, the one that was placed last.
    pub fn placed(&self, name: &InstanceId) -> Option<&Placed> {
        self.instance(name)?.placed()
    }

    /// Every placement.
    pub fn placements(&self) -> impl Iterator<Item = (InstanceId, &Placed)> {
        self.instances_known().flat_map(|(name, instance)| {
            instance.placements.iter().map(move |placed| (name.clone(), placed))
        })
    }

    pub(crate) fn instances_known(&self) -> impl Iterator<Item = (InstanceId, &Instance)> {
        self.programs.iter().flat_map(|(program, entry)| {
            let name = |index: u32| InstanceId::new(program.clone(), index);
            entry.instances.iter().map(move |(index, instance)| (name(*index), instance))
        })
    }

    /// Instances that have more than one placement.
    pub(crate) fn doubled(&self) -> impl Iterator<Item = (&InstanceId, &Instance)> {
        self.index.doubled.iter().filter_map(|name| Some((name, self.instance(name)?)))
    }

    /// The last known state of a placed instance, if it is about this very placement.
    pub fn status(&self, name: &InstanceId, placed: &Placed) -> Option<&Status> {
        self.instance(name)?.status(placed)
    }

    /// Who has told the state of which instance.
    pub fn statuses(&self) -> impl Iterator<Item = (InstanceId, WorkerName)> {
        self.instances_known().flat_map(|(name, instance)| {
            let told = instance.statuses.iter();
            told.map(move |(worker, _)| (name.clone(), worker.clone()))
        })
    }

    /// What schedulers last told of an instance, and its guard.
    pub fn said(&self, name: &InstanceId) -> (Option<&Status>, u64) {
        self.instance(name).map_or((None, 0), |instance| {
            (instance.said.as_ref().map(|seen| &*seen.value), instance.said_guard)
        })
    }

    /// The lease by which a placement lives, if its key was ever seen.
    pub fn lease(&self, placed: &Placed) -> Option<&Lease> {
        self.lease_of(&placed.worker, placed.spec.touch_seconds())
    }

    /// A worker's lease of so many seconds, if its key was ever seen.
    pub fn lease_of(&self, worker: &WorkerName, seconds: u64) -> Option<&Lease> {
        self.hosts.get(worker)?.leases.get(&seconds)
    }

    /// Every lease.
    pub fn leases(&self) -> impl Iterator<Item = ((WorkerName, u64), &Lease)> {
        self.hosts.iter().flat_map(|(worker, host)| {
            let key = |seconds: u64| (worker.clone(), seconds);
            host.leases.iter().map(move |(seconds, lease)| (key(*seconds), lease))
        })
    }

    /// Leases that somebody lives by: every worker's presence, and those of placements.
    pub fn held(&self) -> BTreeSet<(WorkerName, u64)> {
        let mut held = BTreeSet::new();
        for (worker, host) in &self.hosts {
            let presence = host.record.is_some().then_some(PRESENCE_SECONDS);
            held.extend(presence.map(|seconds| (worker.clone(), seconds)));
            held.extend(host.classes.keys().map(|seconds| (worker.clone(), *seconds)));
        }
        held
    }

    /// How the lease stands by which a placement lives.
    pub fn life(&self, placed: &Placed) -> Life {
        self.lease(placed).map_or(Life::Silent, |lease| lease.life)
    }

    /// Whether the lease by which a placement lives is lost.
    pub(crate) fn is_cut_off(&self, placed: &Placed) -> bool {
        // Mostly none is lost, and this is asked for every instance.
        !self.lost.is_empty()
            && self
                .lost
                .get(&placed.host)
                .is_some_and(|lost| lost.contains(&placed.spec.touch_seconds()))
    }

    /// Whether a worker is lost, by its presence. An instance with a longer lease stays placed there
    /// until that has run out, too.
    pub fn is_lost(&self, worker: &WorkerName) -> bool {
        self.lease_of(worker, PRESENCE_SECONDS).is_some_and(|lease| lease.life == Life::Lost)
    }

    /// Whether a worker is lost, or was never seen to touch.
    pub(crate) fn is_gone(&self, worker: &WorkerName) -> bool {
        self.lease_of(worker, PRESENCE_SECONDS).is_none_or(|lease| lease.life == Life::Lost)
    }

    /// State of a worker.
    pub fn worker_state(&self, worker: &WorkerName) -> WorkerState {
        self.hosts.get(worker).map_or(WorkerState::Lost, |host| host.state)
    }

    /// What a program needs that a worker lacks.
    pub fn lacks(&self, worker: &WorkerName, spec: &ProgramSpec) -> Vec<Facility> {
        let has = |need: &Facility| self.worker(worker).is_some_and(|it| it.has(need, spec));
        spec.needs().into_iter().filter(|need| !has(need)).collect()
    }

    /// How many instances are placed on a worker.
    pub fn load(&self, worker: &WorkerName) -> usize {
        self.hosts.get(worker).map_or(0, |host| host.placed.len())
    }

    /// The copies of a program that there should be, but for the extra ones of a rollout.
    pub fn declared(&self, program: &Program) -> Vec<u32> {
        self.programs.get(&program.name).map(|e| e.declared(program)).unwrap_or_default()
    }

    /// Whether there should be that copy of a program.
    pub fn is_declared(&self, program: &Program, index: u32) -> bool {
        self.programs.get(&program.name).is_some_and(|e| e.is_declared(program, index))
    }

    /// When time alone makes a difference to a plan.
    pub fn next_wake(&self) -> Option<BootTime> {
        self.index.next_wake()
    }
}
