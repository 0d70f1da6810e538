//! What the planner may ask for. Every action names the guard under which it is still right; a bus
//! that has moved on refuses it.

use dsbus_schema::event::GroupFact;
use dsbus_schema::goal::RefusedBy;
use dsbus_schema::ids::{Epoch, InstanceId, ProgramName, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::Program;
use dsbus_schema::rollout::RolloutChange;
use dsbus_schema::state::State;
use dsbus_schema::worker_goal::WorkerGoal;

use crate::jobs::Due;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Put an instance that has no place on a worker.
    Place {
        /// The instance.
        name: InstanceId,
        /// Where to.
        worker: WorkerName,
        /// Last sequence over all placement keys of the instance.
        guard: u64,
        /// What to put.
        placement: Box<Placement>,
    },
    /// Change a placement where it is: same worker, same epoch.
    Update {
        /// The instance.
        name: InstanceId,
        /// Where.
        worker: WorkerName,
        /// Last sequence over all placement keys of the instance.
        guard: u64,
        /// What to put.
        placement: Box<Placement>,
    },
    /// Take an instance from one worker and put it on another, in one atomic batch.
    Move {
        /// The instance.
        name: InstanceId,
        /// From where.
        from: WorkerName,
        /// Where to.
        to: WorkerName,
        /// Last sequence over all placement keys of the instance.
        guard: u64,
        /// The lease of `from` that it stands on: refused when it was touched meanwhile.
        lease: Option<LeaseGuard>,
        /// What to put.
        placement: Box<Placement>,
        /// Why, for people.
        reason: String,
    },
    /// Take a placement away.
    Remove {
        /// The instance.
        name: InstanceId,
        /// From where.
        worker: WorkerName,
        /// Last sequence over all placement keys of the instance.
        guard: u64,
        /// The lost lease that it stands on, if it does: refused when it was touched meanwhile.
        lease: Option<LeaseGuard>,
        /// Epoch of what is taken away.
        epoch: Epoch,
        /// Why, for people.
        reason: String,
    },
    /// Write over what no scheduler wrote under a placement key.
    Repair {
        /// The instance.
        name: InstanceId,
        /// Under whose key.
        worker: WorkerName,
        /// Last sequence over all placement keys of the instance.
        guard: u64,
        /// What to put; nothing, where nothing should stand.
        placement: Option<Box<Placement>>,
        /// Epoch of what is put, or one that none there was above.
        epoch: Epoch,
        /// Why what stands there does not count.
        why: String,
    },
    /// Count, in the instance's goal, that it ended FATAL on a worker.
    CountFailure {
        /// The instance.
        name: InstanceId,
        /// Where.
        worker: WorkerName,
        /// Under which epoch; each counts once.
        epoch: Epoch,
        /// How often a person had asked for something new by then; see [`crate::plan()`].
        asked: u64,
    },
    /// Note, in the instance's goal, that a worker refused to run it.
    NoteRefusal {
        /// The instance.
        name: InstanceId,
        /// Who, under which epoch, and why.
        by: RefusedBy,
        /// See [`Action::CountFailure`].
        asked: u64,
    },
    /// Tell what only schedulers know of an instance: PENDING, or FATAL over the fleet.
    SetFleetStatus {
        /// The instance.
        name: InstanceId,
        /// State.
        state: State,
        /// Why, for people.
        reason: String,
        /// Sequence of the entry that is replaced; 0 for none.
        guard: u64,
    },
    /// That is true no longer.
    ClearFleetStatus {
        /// The instance.
        name: InstanceId,
        /// Sequence of the entry.
        guard: u64,
    },
    /// Delete the last known state that a lost worker left behind.
    DropStatus {
        /// The instance.
        name: InstanceId,
        /// The worker.
        worker: WorkerName,
        /// Sequence of the entry.
        guard: u64,
    },
    /// Stop an instance as if a person had asked for it: its `on_worker_loss` says so.
    Stop {
        /// The instance.
        name: InstanceId,
        /// Epoch of the placement whose worker is lost.
        epoch: Epoch,
        /// How many starts were asked for by then: it is stopped once for each, and a later one is
        /// not overruled.
        starts: u64,
        /// Why, for people.
        reason: String,
    },
    /// A scheduled run is due: fire it, or note that it is skipped.
    Fire {
        /// The program.
        program: ProgramName,
        /// The run.
        due: Due,
    },
    /// A rollout came to an end, failed, or goes back.
    Rollout {
        /// Sequence of the program's entry.
        guard: u64,
        /// The program as it is written.
        record: Box<Program>,
        /// What is told.
        change: RolloutChange,
        /// Why, for people.
        reason: String,
    },
    /// A worker that is drained has no instance any more: note that in its goal.
    Drained {
        /// The worker.
        worker: WorkerName,
        /// Sequence of its goal.
        guard: u64,
        /// The goal as it is written.
        goal: Box<WorkerGoal>,
    },
    /// How a group is has changed: write down what is told of it.
    TellGroup {
        /// What is told.
        fact: GroupFact,
        /// Sequence of what was last told; 0 for none.
        guard: u64,
    },
    /// Nothing is in a group any more: delete what was told of it.
    ForgetGroup {
        /// The group.
        group: ProgramName,
        /// Sequence of what was last told.
        guard: u64,
    },
    /// A worker that stopped in order holds nothing any more: delete its record.
    ForgetWorker {
        /// The worker.
        worker: WorkerName,
        /// Sequence of its record.
        guard: u64,
    },
    /// Nothing of a removed program runs any more: delete its goals, states and itself.
    Forget {
        /// The program.
        program: ProgramName,
        /// Sequence of its entry.
        guard: u64,
    },
}

/// The lease that a move stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseGuard {
    /// Its length, in seconds.
    pub seconds: u64,
    /// Sequence of its marker; 0 when the key was never written or its marker is gone.
    pub seq: u64,
}

impl Action {
    /// The lease that it stands on: whose, and which.
    pub fn lease(&self) -> Option<(&WorkerName, LeaseGuard)> {
        match self {
            Action::Move { from: worker, lease, .. } | Action::Remove { worker, lease, .. } => {
                lease.map(|lease| (worker, lease))
            }
            Action::Place { .. }
            | Action::Update { .. }
            | Action::Repair { .. }
            | Action::CountFailure { .. }
            | Action::NoteRefusal { .. }
            | Action::SetFleetStatus { .. }
            | Action::ClearFleetStatus { .. }
            | Action::DropStatus { .. }
            | Action::Stop { .. }
            | Action::Fire { .. }
            | Action::Rollout { .. }
            | Action::Drained { .. }
            | Action::TellGroup { .. }
            | Action::ForgetGroup { .. }
            | Action::ForgetWorker { .. }
            | Action::Forget { .. } => None,
        }
    }

    /// The worker it is about as a whole, where it is about one.
    pub fn worker(&self) -> Option<&WorkerName> {
        match self {
            Action::Drained { worker, .. } | Action::ForgetWorker { worker, .. } => Some(worker),
            Action::Place { .. }
            | Action::Update { .. }
            | Action::Repair { .. }
            | Action::Move { .. }
            | Action::Remove { .. }
            | Action::CountFailure { .. }
            | Action::NoteRefusal { .. }
            | Action::SetFleetStatus { .. }
            | Action::ClearFleetStatus { .. }
            | Action::DropStatus { .. }
            | Action::Stop { .. }
            | Action::Fire { .. }
            | Action::Rollout { .. }
            | Action::TellGroup { .. }
            | Action::ForgetGroup { .. }
            | Action::Forget { .. } => None,
        }
    }

    /// The program or the group it is about, where it is about one.
    pub fn program(&self) -> Option<&ProgramName> {
        match self {
            Action::Fire { program, .. } | Action::Forget { program, .. } => Some(program),
            Action::Rollout { record, .. } => Some(&record.name),
            Action::TellGroup { fact, .. } => Some(&fact.group),
            Action::ForgetGroup { group, .. } => Some(group),
            Action::Place { .. }
            | Action::Update { .. }
            | Action::Repair { .. }
            | Action::Move { .. }
            | Action::Remove { .. }
            | Action::CountFailure { .. }
            | Action::NoteRefusal { .. }
            | Action::SetFleetStatus { .. }
            | Action::ClearFleetStatus { .. }
            | Action::DropStatus { .. }
            | Action::Stop { .. }
            | Action::Drained { .. }
            | Action::ForgetWorker { .. } => self.instance().map(|name| &name.program),
        }
    }

    /// The instance it is about, where it is about one.
    pub fn instance(&self) -> Option<&InstanceId> {
        match self {
            Action::Place { name, .. }
            | Action::Update { name, .. }
            | Action::Repair { name, .. }
            | Action::Move { name, .. }
            | Action::Remove { name, .. }
            | Action::CountFailure { name, .. }
            | Action::NoteRefusal { name, .. }
            | Action::SetFleetStatus { name, .. }
            | Action::ClearFleetStatus { name, .. }
            | Action::Stop { name, .. }
            | Action::DropStatus { name, .. } => Some(name),
            Action::Fire { .. }
            | Action::Rollout { .. }
            | Action::Drained { .. }
            | Action::TellGroup { .. }
            | Action::ForgetGroup { .. }
            | Action::ForgetWorker { .. }
            | Action::Forget { .. } => None,
        }
    }
}
