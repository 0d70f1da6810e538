//! One instance as a state machine: inputs in, effects out, deadlines as values. Pure; the states
//! and their rules are Supervisor's (its manual, "Process States"), and fencing.
//!
//! Invariants:
//! - There is at most one child, but for a reload that starts a new one first, which an exclusive
//!   instance never does. Another one is asked for only when nothing of the last one is left.
//! - Every change of state is reported once, under the epoch it belongs to, with the next `seq`.
//! - An exclusive child is started only under a living lease, and is killed when that ends.
//! - What was acted on is told only when it is done.

mod childless;
mod hooks;
mod living;
mod outcome;
mod phase;
mod placed;
mod questions;
mod refusal;
mod reload;
mod rest;
mod stopping;
mod telling;
#[cfg(test)]
mod tests;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;

use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::{Exit, State, Usage};
use dsbus_schema::worker::Refusal;
use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::fence;
use phase::{Child, Phase, Reload, Stop};

pub use placed::Placed;
pub use words::{Effect, End, Files, HookId, HookOutcome, Input, Question, Word};

/// An instance. As it is handed over to another version of the worker: its fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    placed: Placed,
    /// What it is under: the epoch of its events, and the revision and wishes acted on.
    epoch: Epoch,
    seq: u64,
    /// `seq` to go on from under the epoch of `placed`, once that begins.
    next_seq: u64,
    revision: u64,
    acted: Wanted,
    /// What the last child was started from.
    #[serde(with = "crate::handover::specs::maybe", default)]
    last_spec: Option<Arc<ProgramSpec>>,
    phase: Phase,
    /// A child was asked for, and that was not answered yet.
    spawning: bool,
    reload: Reload,
    /// Children whose place another one has taken.
    retiring: Vec<(Child, Stop)>,
    /// Hooks that run.
    hooks: Vec<HookId>,
    hooks_killed: bool,
    since: Timestamp,
    taken_away: bool,
    /// Nobody has taken it away: the bus has lost its placement, or went back in time.
    #[serde(default)]
    lost: bool,
    shutdown: bool,
    lease: BootTime,
    /// It would start, but for a living lease: only that wakes it up.
    waits: bool,
    /// Failed starts in a row.
    fails: u32,
    quick_deaths: u32,
    restarts: u64,
    /// The start that has begun is not the first.
    again: bool,
    /// Why it is given up, once the last hook of an exclusive instance has ended.
    fatal_due: Option<String>,
    /// When it was started again, for `restart_limit`.
    restarted: VecDeque<BootTime>,
    exit: Option<Exit>,
    usage: Option<Usage>,
    note: Option<String>,
    /// When the note is to be told, and when one was told last.
    note_due: Option<BootTime>,
    note_told: BootTime,
    reason: Option<String>,
    /// It was refused, and that is told.
    refused: Option<Refusal>,
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
        placed: Placed,
        now: Now,
    ) -> Instance {
        Instance {
            name,
            worker,
            incarnation,
            files: Files::default(),
            epoch: Epoch(0),
            seq: 0,
            next_seq: 0,
            revision: 0,
            acted: Wanted::default(),
            last_spec: None,
            placed,
            phase: Phase::Stopped,
            spawning: false,
            reload: Reload::No,
            retiring: Vec::new(),
            hooks: Vec::new(),
            hooks_killed: false,
            since: now.wall,
            taken_away: false,
            lost: false,
            shutdown: false,
            lease: BootTime(0),
            waits: false,
            fails: 0,
            quick_deaths: 0,
            restarts: 0,
            again: false,
            fatal_due: None,
            restarted: VecDeque::new(),
            exit: None,
            usage: None,
            note: None,
            note_due: None,
            note_told: BootTime(0),
            reason: None,
            refused: None,
            spawnerr: None,
            stderr_line: None,
            gone: false,
        }
    }

    /// What it was declared as last.
    pub fn spec(&self) -> &Arc<ProgramSpec> {
        &self.placed.spec
    }

    /// Words after those of the command, for its next child.
    pub(crate) fn arguments(&self) -> &[String] {
        &self.placed.arguments
    }

    /// Identity of the program, epoch and file facts that its events carry.
    pub fn program_id(&self) -> dsbus_schema::ids::ProgramId {
        self.placed.id
    }

    fn main(&self) -> Option<&Child> {
        match &self.phase {
            Phase::Starting { child, .. }
            | Phase::Running { child, .. }
            | Phase::Stopping { child, .. } => Some(child),
            Phase::Stopped
            | Phase::Preparing { .. }
            | Phase::Backoff { .. }
            | Phase::Leaving { .. }
            | Phase::Exited { .. }
            | Phase::Fatal => None,
        }
    }

    /// The child, if there is one, and its spec.
    pub fn child(&self) -> Option<(i32, &ProgramSpec)> {
        self.main().map(|child| (child.pid, &*child.spec))
    }

    /// Whether any process of it may live.
    pub fn busy(&self) -> bool {
        let reloads = matches!(self.reload, Reload::Trying { .. } | Reload::Failing { .. });
        let reloads = reloads || self.spawning;
        self.main().is_some() || reloads || !self.retiring.is_empty() || !self.hooks.is_empty()
    }

    /// Whether no start can begin now, whatever is wanted: something else must end before.
    fn blocked(&self) -> bool {
        let older = self.placed.spec.exclusive && !self.retiring.is_empty();
        self.taken_away || self.spawning || !self.hooks.is_empty() || older
    }

    /// Whether a child that was asked for is still wanted, and may be started.
    pub fn still_wants(&self, spec: &ProgramSpec, epoch: Epoch, now: BootTime) -> bool {
        self.spawning
            && epoch == self.placed.epoch
            && self.placed.wanted.run
            && !self.shutdown
            && !self.taken_away
            && spec.same_child(&self.placed.spec)
            && (!spec.exclusive || fence::may_start(spec, self.lease, now))
    }

    /// Whether a child lives that was not killed. One that was, and takes its time to die, dies no
    /// sooner for anything that is done to its worker.
    pub fn unkilled(&self) -> bool {
        match &self.phase {
            Phase::Starting { .. } | Phase::Running { .. } => true,
            Phase::Stopping { stop, .. } => !stop.killed(),
            Phase::Stopped
            | Phase::Preparing { .. }
            | Phase::Backoff { .. }
            | Phase::Leaving { .. }
            | Phase::Exited { .. }
            | Phase::Fatal => !self.hooks.is_empty() && !self.hooks_killed,
        }
    }

    /// The epoch of the child, and of its events.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Number of its last event under that epoch.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// The lease that its next child will live by, in seconds.
    pub(crate) fn next_lease_seconds(&self) -> u64 {
        self.placed.spec.touch_seconds()
    }

    /// Sets the lease it lives by, before it is told anything else.
    pub(crate) fn lease(&mut self, until: Option<BootTime>) {
        self.lease = until.unwrap_or_default();
    }

    /// Sets where its output can be read.
    pub fn files(&mut self, files: Files) {
        self.files = files;
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.phase.state()
    }

    /// The spec that says by which lease it lives now.
    pub(crate) fn living_spec(&self) -> &ProgramSpec {
        match &self.phase {
            Phase::Preparing { spec } => spec,
            Phase::Stopped
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Backoff { .. }
            | Phase::Stopping { .. }
            | Phase::Leaving { .. }
            | Phase::Exited { .. }
            | Phase::Fatal => self.main().map_or(&self.placed.spec, |child| &child.spec),
        }
    }

    /// The lease it lives by, in seconds, if it is exclusive.
    pub fn lease_seconds(&self) -> Option<u64> {
        let spec = self.living_spec();
        spec.exclusive.then(|| spec.touch_seconds())
    }

    /// When time alone makes a difference.
    pub fn deadline(&self) -> Option<BootTime> {
        let fenced_hook = !self.hooks.is_empty() && !self.hooks_killed;
        let lease = (fenced_hook && self.living_spec().exclusive).then_some(self.lease);
        let retiring = self.retiring.iter().filter_map(|(_, stop)| stop.deadline());
        let reload = match &self.reload {
            Reload::Trying { child, start } => start.deadline(&child.spec),
            Reload::Failing { stop, .. } => stop.deadline(),
            Reload::No | Reload::Preparing | Reload::Asked => None,
        };
        let aside = retiring.chain(reload).chain(lease).chain(self.note_due);
        aside.chain(self.phase_deadline()).min()
    }

    fn phase_deadline(&self) -> Option<BootTime> {
        let ask_at = |spec: &ProgramSpec| spec.exclusive.then(|| fence::ask_at(spec, self.lease));
        match &self.phase {
            Phase::Preparing { .. } if self.spawning => None,
            Phase::Preparing { spec } => ask_at(spec),
            Phase::Starting { child, start } => {
                ask_at(&child.spec).into_iter().chain(start.deadline(&child.spec)).min()
            }
            Phase::Running { child, watch } => {
                let too_old = self.too_old_at(child);
                ask_at(&child.spec).into_iter().chain(watch.deadline()).chain(too_old).min()
            }
            Phase::Stopping { child, stop, .. } => {
                let fence = (child.spec.exclusive && !stop.killed()).then_some(self.lease);
                stop.deadline().into_iter().chain(fence).min()
            }
            Phase::Backoff { .. } | Phase::Exited { .. } if self.waits || self.blocked() => None,
            Phase::Backoff { until } => Some(*until),
            Phase::Exited { restart_at } => *restart_at,
            Phase::Stopped | Phase::Leaving { .. } | Phase::Fatal => None,
        }
    }

    /// Takes what happened; says what to do.
    #[must_use]
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::Place { placed, seq } => {
                self.placed = placed;
                self.next_seq = seq;
                self.taken_away = false;
                self.lost = false;
                // The first report of a placement tells its worker has seen it.
            }
            Input::Unplace { lost } => {
                self.taken_away = true;
                self.lost = lost;
            }
            Input::Shutdown { fence } => {
                self.shutdown = true;
                if fence && self.lease_seconds().is_some() {
                    self.lease = BootTime(0);
                }
            }
            Input::Spawned { pid } => self.spawned(pid, now, &mut out),
            Input::SpawnFailed { why } => self.spawn_failed(&why, now, &mut out),
            Input::Refused { refusal } => self.start_refused(refusal, now, &mut out),
            Input::Judged { refusal } => self.judged(refusal),
            Input::NotSpawned => self.not_spawned(now, &mut out),
            Input::Adopted { pid, main } => self.adopted(pid, main, now, &mut out),
            Input::Ended(end) => self.ended(end, now, &mut out),
            Input::Lease { until } => self.lease = until,
            Input::HookEnded { hook, outcome } => self.hook_ended(hook, &outcome, now, &mut out),
            Input::Probed { pid, question, trouble } => {
                self.probed(pid, question, trouble, now, &mut out);
            }
            Input::Notified { pid, word } => self.notified(pid, word, now, &mut out),
            Input::BinaryChanged => self.binary_changed(now, &mut out),
            Input::Tick => {}
        }
        self.settle(now, &mut out);
        out
    }

    /// Brings what is nearer to what should be, by at most one step; another input follows each.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.settle_aside(now, out);
        match &self.phase {
            Phase::Preparing { .. } => self.settle_preparing(now, out),
            Phase::Starting { .. } | Phase::Running { .. } => self.settle_living(now, out),
            Phase::Stopping { .. } => self.settle_stopping(now, out),
            Phase::Leaving { .. } => self.settle_leaving(now, out),
            Phase::Stopped | Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Fatal => {
                self.settle_childless(now, out);
            }
        }
    }

    /// What goes on beside the state: hooks that outlive a lease, children that retire, a note.
    fn settle_aside(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.hooks.is_empty() {
            self.hooks_killed = false;
        } else if !self.hooks_killed && self.living_spec().exclusive && now.boot >= self.lease {
            self.hooks_killed = true;
            out.extend(self.hooks.iter().map(|id| Effect::KillHook { id: *id }));
        }
        self.settle_retiring(now, out);
        if self.note_due.is_some_and(|at| now.boot >= at) {
            self.note_due = None;
            self.note_told = now.boot;
            self.report(None, out);
        }
    }
}
