//! One instance as a state machine: inputs in, effects out, deadlines as values. Pure; the states
//! and their rules are Supervisor's (its manual, "Process States"), and fencing.
//!
//! Invariants:
//! - There is at most one child, and a new one is asked for only when the old one is reaped and its
//!   process group is empty.
//! - Every change of state is reported once, under the epoch it belongs to, with the next `seq`.
//! - An exclusive child is started only under a living lease, and is killed when that ends.
//! - What was acted on is told only when it is done.

mod childless;
mod living;
mod outcome;
mod phase;
mod telling;
#[cfg(test)]
mod tests;

use dsbus_schema::event::{ProcessFact, WorkerChange};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{ProgramSpec, Signal};
use dsbus_schema::state::{Exit, State};
use dsbus_schema::status::Status;

use crate::clock::Now;
use crate::fence;
use phase::Phase;

/// What happens to an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Its placement is new or changed; events under its epoch go on after `seq`.
    Place {
        /// The placement.
        placement: Box<Placement>,
        /// Last `seq` under its epoch.
        seq: u64,
    },
    /// Its placement was taken away, or the worker is stopping for good.
    Unplace,
    /// The worker stops: stop the child and start no more.
    Shutdown {
        /// Kill at once where the child is exclusive: the name belongs to another worker.
        fence: bool,
    },
    /// The child that was asked for lives.
    Spawned {
        /// Its process id.
        pid: i32,
    },
    /// It could not be started.
    SpawnFailed {
        /// Why.
        why: String,
    },
    /// The child is reaped, and its process group is empty.
    Ended {
        /// How it ended.
        exit: Exit,
        /// The last line it wrote on standard error.
        stderr_line: Option<String>,
    },
    /// The lease it lives by was extended.
    Lease {
        /// Until when.
        until: BootTime,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start a child of this spec under this epoch, and answer with `Spawned` or `SpawnFailed`.
    Spawn {
        /// The spec.
        spec: Box<ProgramSpec>,
        /// The epoch.
        epoch: Epoch,
    },
    /// Signal the process group of the child.
    Signal {
        /// The child.
        pid: i32,
        /// The signal.
        signal: Signal,
    },
    /// SIGKILL the process group of the child.
    Kill {
        /// The child.
        pid: i32,
    },
    /// Tell how the instance stands, and the event when the state changed.
    Report {
        /// How it stands.
        status: Box<Status>,
        /// The event.
        fact: Option<Box<ProcessFact>>,
    },
    /// The instance was taken away and nothing of it is left: forget it.
    Gone {
        /// The epoch it had.
        epoch: Epoch,
    },
    /// Tell something about the worker.
    Worker {
        /// What.
        change: WorkerChange,
        /// Why.
        reason: String,
    },
}

/// What is known of the files of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// An instance.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own; the state is `phase`"
)]
pub struct Instance {
    name: InstanceId,
    worker: WorkerName,
    incarnation: Incarnation,
    files: Files,
    /// What it should be.
    placement: Placement,
    /// What it is under: the epoch of its events, and the revision and wishes acted on.
    epoch: Epoch,
    seq: u64,
    /// `seq` to go on from under the epoch of `placement`, once that begins.
    next_seq: u64,
    revision: u64,
    acted: Wanted,
    /// What the last child was started from.
    last_spec: Option<ProgramSpec>,
    phase: Phase,
    since: Timestamp,
    taken_away: bool,
    shutdown: bool,
    lease: BootTime,
    /// It would start, but for a living lease: only that wakes it up.
    waits: bool,
    /// Failed starts in a row.
    fails: u32,
    quick_deaths: u32,
    restarts: u64,
    exit: Option<Exit>,
    reason: Option<String>,
    spawnerr: Option<String>,
    stderr_line: Option<String>,
    gone: bool,
}

impl Instance {
    /// An instance that is placed here for the first time in this incarnation. Feed it
    /// [`Input::Lease`] and then the same placement to set it in motion.
    pub fn new(
        name: InstanceId,
        worker: WorkerName,
        incarnation: Incarnation,
        files: Files,
        placement: Placement,
        now: Now,
    ) -> Instance {
        Instance {
            name,
            worker,
            incarnation,
            files,
            epoch: Epoch(0),
            seq: 0,
            next_seq: 0,
            revision: 0,
            acted: Wanted::default(),
            last_spec: None,
            placement,
            phase: Phase::Stopped,
            since: now.wall,
            taken_away: false,
            shutdown: false,
            lease: BootTime(0),
            waits: false,
            fails: 0,
            quick_deaths: 0,
            restarts: 0,
            exit: None,
            reason: None,
            spawnerr: None,
            stderr_line: None,
            gone: false,
        }
    }

    /// The highest epoch it was placed under.
    pub fn placed_epoch(&self) -> Epoch {
        self.placement.epoch
    }

    /// The child, if there is one, and its spec.
    pub fn child(&self) -> Option<(i32, &ProgramSpec)> {
        match &self.phase {
            Phase::Starting { pid, spec, .. }
            | Phase::Running { pid, spec, .. }
            | Phase::Stopping { pid, spec, .. } => Some((*pid, spec)),
            Phase::Stopped | Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Fatal => None,
        }
    }

    /// Whether a child lives that was not killed. One that was, and takes its time to die, dies no
    /// sooner for anything that is done to its worker.
    pub fn unkilled(&self) -> bool {
        match &self.phase {
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping { killed: false, .. } => true,
            Phase::Stopping { killed: true, .. }
            | Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Exited { .. }
            | Phase::Fatal => false,
        }
    }

    /// The epoch of the child, and of its events.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The lease that its next child will live by, in seconds.
    pub(crate) fn next_lease_seconds(&self) -> u64 {
        self.placement.spec.touch_seconds()
    }

    /// Sets the lease it lives by, before it is told anything else.
    pub(crate) fn lease(&mut self, until: Option<BootTime>) {
        self.lease = until.unwrap_or_default();
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.phase.state()
    }

    /// The lease it lives by, in seconds, if it is exclusive.
    pub fn lease_seconds(&self) -> Option<u64> {
        let spec = self.child().map_or(&self.placement.spec, |(_, spec)| spec);
        spec.exclusive.then(|| spec.touch_seconds())
    }

    /// When time alone makes a difference.
    pub fn deadline(&self) -> Option<BootTime> {
        match &self.phase {
            Phase::Starting { until, spec, .. } => Some(if spec.exclusive {
                fence::ask_at(spec, self.lease).min(*until)
            } else {
                *until
            }),
            Phase::Running { spec, .. } => spec.exclusive.then(|| fence::ask_at(spec, self.lease)),
            Phase::Stopping { killed: true, .. } => None,
            Phase::Stopping { kill_at, spec, .. } => {
                kill_at.iter().copied().chain(spec.exclusive.then_some(self.lease)).min()
            }
            Phase::Backoff { .. } | Phase::Exited { .. } if self.waits => None,
            Phase::Backoff { until } => Some(*until),
            Phase::Exited { restart_at } => *restart_at,
            Phase::Stopped | Phase::Fatal => None,
        }
    }

    /// Takes what happened; says what to do.
    #[must_use]
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::Place { placement, seq } => {
                self.placement = *placement;
                self.next_seq = seq;
                self.taken_away = false;
                // The first report of a placement tells its worker has seen it.
            }
            Input::Unplace => self.taken_away = true,
            Input::Shutdown { fence } => {
                self.shutdown = true;
                if fence && self.lease_seconds().is_some() {
                    self.lease = BootTime(0);
                }
            }
            Input::Spawned { pid } => self.spawned(pid, now, &mut out),
            Input::SpawnFailed { why } => self.spawn_failed(&why, now, &mut out),
            Input::Ended { exit, stderr_line } => self.ended(exit, stderr_line, now, &mut out),
            Input::Lease { until } => self.lease = until,
            Input::Tick => {}
        }
        self.settle(now, &mut out);
        out
    }

    /// Brings what is nearer to what should be, by at most one step; another input follows each.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        match &self.phase {
            Phase::Starting { .. } | Phase::Running { .. } => self.settle_living(now, out),
            Phase::Stopping { .. } => self.settle_stopping(now, out),
            Phase::Stopped | Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Fatal => {
                self.settle_childless(now, out);
            }
        }
    }
}
