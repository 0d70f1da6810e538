//! All that a scheduler knows, folded out of what the bus delivered. It holds nothing that is not
//! on the bus, but for the verdicts on leases, which every scheduler reaches for itself.

use std::collections::BTreeMap;

use dsbus_schema::goal::{Goal, Wanted, wanted};
use dsbus_schema::ids::{Incarnation, InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{Facility, Program};
use dsbus_schema::state::WorkerState;
use dsbus_schema::status::Status;
use dsbus_schema::touch::PRESENCE_SECONDS;
use dsbus_schema::worker::Worker;

/// Something read from the bus, with its sequence there.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen<T> {
    /// Sequence in its stream.
    pub seq: u64,
    /// The value.
    pub value: T,
}

/// A placement and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Where.
    pub worker: WorkerName,
    /// Sequence of the entry.
    pub seq: u64,
    /// The placement.
    pub placement: Placement,
}

/// Goals of a program.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Goals {
    /// For all of its instances.
    pub all: Option<Goal>,
    /// For single ones.
    pub each: BTreeMap<u32, Goal>,
}

/// Whether a lease lives, in this scheduler's judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Life {
    /// It was touched, and is not overdue.
    #[default]
    Live,
    /// Overdue, expired, or never seen; not yet judged.
    Silent,
    /// Expired, and its worker did not answer: rules 4 to 6 of DESIGN.md section 5 are met.
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
    pub incarnation: Option<Incarnation>,
    /// When it was last touched, for people.
    pub touched: Option<Timestamp>,
}

/// All that a scheduler knows.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Programs.
    pub programs: BTreeMap<ProgramName, Seen<Program>>,
    /// Goals.
    pub goals: BTreeMap<ProgramName, Goals>,
    /// Placements: one per instance, or more where an invariant was broken.
    pub placements: BTreeMap<InstanceId, Vec<Placed>>,
    /// Last sequence over all placement keys of an instance, tombstones included.
    pub guards: BTreeMap<InstanceId, u64>,
    /// Workers.
    pub workers: BTreeMap<WorkerName, Worker>,
    /// Leases by worker and seconds.
    pub leases: BTreeMap<(WorkerName, u64), Lease>,
    /// Last known states, by the worker that told them.
    pub statuses: BTreeMap<InstanceId, BTreeMap<WorkerName, Seen<Status>>>,
    /// What schedulers told.
    pub fleet_statuses: BTreeMap<InstanceId, Seen<Status>>,
    /// Last sequence of what schedulers told, tombstones included: what a write must expect.
    pub fleet_status_guards: BTreeMap<InstanceId, u64>,
}

impl View {
    /// What people want of an instance of `program`.
    pub fn wanted(&self, program: &Program, index: u32) -> Wanted {
        let goals = self.goals.get(&program.name);
        wanted(
            goals.and_then(|g| g.all.as_ref()),
            goals.and_then(|g| g.each.get(&index)),
            program.spec.autostart,
        )
    }

    /// The goal of one instance, if it has one of its own.
    pub fn goal(&self, name: &InstanceId) -> Option<&Goal> {
        self.goals.get(&name.program)?.each.get(&name.index)
    }

    /// Guard of an instance: what a write to any of its placement keys must expect.
    pub fn guard(&self, name: &InstanceId) -> u64 {
        self.guards.get(name).copied().unwrap_or(0)
    }

    /// The placement of an instance: of several, the one that was placed last.
    pub fn placed(&self, name: &InstanceId) -> Option<&Placed> {
        self.placements.get(name)?.iter().max_by_key(|p| p.placement.epoch)
    }

    /// The last known state of a placed instance, if it is about this very placement.
    pub fn status(&self, name: &InstanceId, placed: &Placed) -> Option<&Status> {
        let status = &self.statuses.get(name)?.get(&placed.worker)?.value;
        (status.epoch == placed.placement.epoch).then_some(status)
    }

    /// The lease by which a placement lives, if its key was ever seen.
    pub fn lease(&self, placed: &Placed) -> Option<&Lease> {
        self.leases.get(&(placed.worker.clone(), placed.placement.spec.touch_seconds()))
    }

    /// How the lease stands by which a placement lives.
    pub fn life(&self, placed: &Placed) -> Life {
        self.lease(placed).map_or(Life::Silent, |lease| lease.life)
    }

    fn lease_life(&self, worker: &WorkerName, seconds: u64) -> Life {
        self.leases.get(&(worker.clone(), seconds)).map_or(Life::Silent, |lease| lease.life)
    }

    /// Whether a worker is lost, by its presence. An instance with a longer lease stays placed there
    /// until that has run out, too.
    pub fn is_lost(&self, worker: &WorkerName) -> bool {
        self.lease_life(worker, PRESENCE_SECONDS) == Life::Lost
    }

    /// State of a worker.
    pub fn worker_state(&self, worker: &Worker) -> WorkerState {
        let leases = || self.leases.iter().filter(|((name, _), _)| *name == worker.name);
        match self.lease_life(&worker.name, PRESENCE_SECONDS) {
            Life::Lost => WorkerState::Lost,
            _ if worker.stopping => WorkerState::Stopping,
            Life::Silent => WorkerState::Suspect,
            Life::Live if leases().any(|(_, lease)| lease.life == Life::Lost) => {
                WorkerState::Suspect
            }
            Life::Live => WorkerState::Ready,
        }
    }

    /// What a program needs that a worker lacks.
    pub fn lacks(&self, worker: &WorkerName, needs: &[Facility]) -> Vec<Facility> {
        let has = self.workers.get(worker).map_or(&[][..], |worker| &worker.facilities);
        needs.iter().filter(|need| !has.contains(need)).cloned().collect()
    }

    /// How many instances are placed on each worker.
    pub fn load(&self) -> BTreeMap<WorkerName, usize> {
        let mut load = BTreeMap::new();
        for placed in self.placements.values().flatten() {
            *load.entry(placed.worker.clone()).or_insert(0) += 1;
        }
        load
    }
}
