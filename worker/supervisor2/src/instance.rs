//! One instance as a state machine: inputs in, effects out, deadlines as values. Pure; the states
//! and their rules are Supervisor's (its manual, "Process States"), and fencing.
//!
//! Invariants:
//! - There is at most one child, and a new one is asked for only when the old one is reaped and its
//!   process group is empty.
//! - Every change of state is reported once, under the epoch it belongs to, with the next `seq`.
//! - An exclusive child is started only under a living lease, and is killed when that ends.
//! - What was acted on is told only when it is done.

mod phase;
#[cfg(test)]
mod tests;

use std::time::Duration;

use dsbus_schema::event::{ProcessFact, WorkerChange};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{AutoRestart, ProgramSpec, Signal};
use dsbus_schema::state::{Exit, State};
use dsbus_schema::status::Status;

use crate::clock::Now;
use crate::fence;
use phase::Phase;

/// A child that lived for less than this died quickly.
const QUICK_DEATH: Duration = Duration::from_secs(1);
/// So many quick deaths in a row are repaired at once; after that, once a second, so that a
/// program with `startsecs = 0` that cannot run does not eat a core.
const QUICK_DEATHS_MAX: u32 = 5;

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

/// What changed, beyond the state.
#[derive(Debug, Default)]
struct Told {
    pid: Option<i32>,
    exit: Option<Exit>,
    expected: Option<bool>,
    attempt: Option<u32>,
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

    /// The epoch of the child, and of its events.
    pub fn epoch(&self) -> Epoch {
        self.epoch
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
            Input::SpawnFailed { why } => self.spawn_failed(why, now, &mut out),
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

    fn settle_living(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some((pid, spec)) = self.child() else { return };
        let spec = spec.clone();
        if spec.exclusive && now.boot >= fence::ask_at(&spec, self.lease) {
            let seconds = spec.touch_seconds();
            let reason = format!("fenced: its lease of {seconds} s was not renewed in time");
            let fenced = format!("{} stops: {reason}", self.name);
            out.push(Effect::Worker { change: WorkerChange::Fenced, reason: fenced });
            return self.stop(pid, spec, &reason, now, out);
        }
        if let Some(reason) = self.reason_to_stop(&spec) {
            return self.stop(pid, spec, reason, now, out);
        }
        if let Phase::Starting { until, since, .. } = self.phase
            && now.boot >= until
        {
            self.fails = 0;
            self.phase = Phase::Running { pid, spec, since };
            let told = Told { pid: Some(pid), ..Told::default() };
            self.acknowledge();
            self.change(State::Starting, None, told, now, out);
        } else if self.acknowledge() {
            self.report(None, out);
        }
    }

    /// Why a child that lives must not live on.
    fn reason_to_stop(&self, spec: &ProgramSpec) -> Option<&'static str> {
        let wanted = self.placement.wanted;
        if self.shutdown {
            Some("its worker was told to stop")
        } else if self.taken_away {
            Some("its placement was taken away")
        } else if self.placement.epoch != self.epoch {
            Some("it was placed anew")
        } else if !wanted.run {
            Some("stop was requested")
        } else if wanted.restarts > self.acted.restarts {
            Some("restart was requested")
        } else if !spec.same_child(&self.placement.spec) {
            Some("its declaration changed")
        } else {
            None
        }
    }

    fn stop(&mut self, pid: i32, spec: ProgramSpec, reason: &str, now: Now, out: &mut Vec<Effect>) {
        let from = self.phase.state();
        let kill_at = Some(now.boot + spec.stopwaitsecs.0);
        out.push(Effect::Signal { pid, signal: spec.stopsignal });
        self.phase = Phase::Stopping { pid, spec, kill_at, killed: false };
        self.reason = Some(reason.to_owned());
        let told = Told { pid: Some(pid), ..Told::default() };
        self.change(from, self.reason.clone(), told, now, out);
        self.settle_stopping(now, out);
    }

    fn settle_stopping(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Phase::Stopping { pid, spec, kill_at, killed } = &mut self.phase else { return };
        let late = kill_at.is_some_and(|at| now.boot >= at);
        let fenced = spec.exclusive && now.boot >= self.lease;
        if (late || fenced) && !*killed {
            out.push(Effect::Kill { pid: *pid });
            *killed = true;
            *kill_at = None;
        }
    }

    fn settle_childless(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.gone {
            return;
        }
        if self.taken_away {
            self.gone = true;
            out.push(Effect::Gone { epoch: self.epoch });
            return;
        }
        if self.placement.epoch != self.epoch {
            self.begin_epoch(now);
        }
        if self.shutdown {
            if matches!(self.phase, Phase::Backoff { .. } | Phase::Exited { restart_at: Some(_) }) {
                let from = self.phase.state();
                self.phase = Phase::Stopped;
                let reason = Some("its worker was told to stop".to_owned());
                self.change(from, reason, Told::default(), now, out);
            }
            return;
        }
        let wanted = self.placement.wanted;
        if !wanted.run {
            return self.stay_stopped(now, out);
        }
        let asked = !self.acted.run
            || wanted.starts > self.acted.starts
            || wanted.restarts > self.acted.restarts
            || self.declared_anew();
        let due = match &self.phase {
            Phase::Backoff { until } => now.boot >= *until,
            Phase::Exited { restart_at } => restart_at.is_some_and(|at| now.boot >= at),
            Phase::Stopped => true,
            Phase::Fatal
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. } => false,
        };
        if asked {
            self.fails = 0;
            self.quick_deaths = 0;
        }
        if asked || due {
            self.start(now, out);
        } else if self.revision != self.placement.revision {
            self.revision = self.placement.revision;
            self.report(None, out);
        }
    }

    /// Whether the declaration changed so that it is worth another start: what failed may be
    /// mended, and what has ended would be something else.
    fn declared_anew(&self) -> bool {
        let spec = &self.placement.spec;
        let another = self.last_spec.as_ref().is_none_or(|last| !last.same_child(spec));
        let failed = matches!(self.phase, Phase::Fatal | Phase::Backoff { .. });
        self.revision != self.placement.revision && (failed || another)
    }

    /// Nothing runs, and nothing should.
    fn stay_stopped(&mut self, now: Now, out: &mut Vec<Effect>) {
        let news = self.acknowledge();
        match self.phase {
            Phase::Backoff { .. } | Phase::Exited { restart_at: Some(_) } => {
                let from = self.phase.state();
                self.phase = Phase::Stopped;
                let reason = Some("stop was requested".to_owned());
                self.change(from, reason, Told::default(), now, out);
            }
            Phase::Stopped if self.seq == 0 && news => {
                self.reason = Some("not started".to_owned());
                self.report(None, out);
            }
            _ if news => self.report(None, out),
            _ => {}
        }
    }

    /// The old epoch is over; what was counted and acted on belongs to it.
    fn begin_epoch(&mut self, now: Now) {
        self.epoch = self.placement.epoch;
        self.seq = self.next_seq;
        self.acted = Wanted::default();
        self.revision = 0;
        self.phase = Phase::Stopped;
        self.since = now.wall;
        self.fails = 0;
        self.quick_deaths = 0;
        self.restarts = 0;
        self.exit = None;
        self.reason = None;
        self.spawnerr = None;
        self.stderr_line = None;
    }

    fn start(&mut self, now: Now, out: &mut Vec<Effect>) {
        let spec = &self.placement.spec;
        if spec.exclusive && !fence::may_start(spec, self.lease, now.boot) {
            self.waits = true;
            if self.reason.is_none() {
                self.reason = Some(format!("waits for its lease of {} s", spec.touch_seconds()));
                self.report(None, out);
            }
            return;
        }
        self.waits = false;
        let spec = Box::new(spec.clone());
        out.push(Effect::Spawn { spec, epoch: self.epoch });
    }

    fn spawned(&mut self, pid: i32, now: Now, out: &mut Vec<Effect>) {
        let from = self.phase.state();
        if self.acted.run {
            self.restarts += 1;
        }
        let spec = self.placement.spec.clone();
        self.last_spec = Some(spec.clone());
        let until = now.boot + spec.startsecs.0;
        self.phase = Phase::Starting { pid, spec, until, since: now.boot };
        self.acted = self.placement.wanted;
        self.revision = self.placement.revision;
        self.reason = None;
        self.spawnerr = None;
        let told = Told { pid: Some(pid), attempt: Some(self.fails + 1), ..Told::default() };
        self.change(from, None, told, now, out);
    }

    fn spawn_failed(&mut self, why: String, now: Now, out: &mut Vec<Effect>) {
        let from = self.phase.state();
        self.last_spec = Some(self.placement.spec.clone());
        self.acted = self.placement.wanted;
        self.revision = self.placement.revision;
        self.exit = None;
        self.stderr_line = None;
        self.spawnerr = None;
        // For a moment it was STARTING, as Supervisor tells it.
        self.phase = Phase::Backoff { until: now.boot };
        let told = Told { attempt: Some(self.fails + 1), ..Told::default() };
        self.change_to(State::Starting, from, None, told, now, out);
        self.spawnerr = Some(why.clone());
        self.failed(&why, State::Starting, Told::default(), now, out);
    }

    /// A start failed: again after as many seconds as starts have failed, or never again.
    fn failed(&mut self, why: &str, from: State, told: Told, now: Now, out: &mut Vec<Effect>) {
        self.fails += 1;
        if self.fails > self.placement.spec.startretries {
            self.phase = Phase::Fatal;
            let tries = self.fails;
            let times = if tries == 1 { "1 time".to_owned() } else { format!("{tries} times") };
            let reason = format!("gave up after it failed to start {times}: {why}");
            self.change(from, Some(reason), told, now, out);
        } else {
            let pause = Duration::from_secs(u64::from(self.fails));
            self.phase = Phase::Backoff { until: now.boot + pause };
            let told = Told { attempt: Some(self.fails), ..told };
            self.change(from, Some(why.to_owned()), told, now, out);
        }
    }

    fn ended(&mut self, exit: Exit, stderr_line: Option<String>, now: Now, out: &mut Vec<Effect>) {
        self.exit = Some(exit);
        self.stderr_line = stderr_line;
        match self.phase.clone() {
            Phase::Starting { pid, .. } => {
                let told = Told { pid: Some(pid), exit: Some(exit), ..Told::default() };
                let why = format!("exited too quickly: {exit}");
                self.failed(&why, State::Starting, told, now, out);
            }
            Phase::Running { pid, spec, since } => self.exited(pid, &spec, since, now, out),
            Phase::Stopping { pid, .. } => {
                self.phase = Phase::Stopped;
                self.stderr_line = None;
                let told = Told { pid: Some(pid), exit: Some(exit), ..Told::default() };
                // What was wanted is acted on: it is stopped.
                if !self.placement.wanted.run && self.placement.epoch == self.epoch {
                    self.acknowledge();
                }
                self.change(State::Stopping, self.reason.clone(), told, now, out);
            }
            // There is no child, so none can end.
            Phase::Stopped | Phase::Backoff { .. } | Phase::Exited { .. } | Phase::Fatal => {}
        }
    }

    fn exited(
        &mut self,
        pid: i32,
        spec: &ProgramSpec,
        since: BootTime,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let exit = self.exit.unwrap_or(Exit { code: None, signal: None });
        let code = exit.code.and_then(|code| u8::try_from(code).ok());
        let expected = code.is_some_and(|code| spec.exitcodes.contains(&code));
        let again = match self.placement.spec.autorestart {
            AutoRestart::Always => true,
            AutoRestart::Unexpected => !expected,
            AutoRestart::Never => false,
        };
        if now.boot.since(since) < QUICK_DEATH {
            self.quick_deaths += 1;
        } else {
            self.quick_deaths = 0;
        }
        let pause = if self.quick_deaths > QUICK_DEATHS_MAX { QUICK_DEATH } else { Duration::ZERO };
        self.phase = Phase::Exited { restart_at: again.then(|| now.boot + pause) };
        let told =
            Told { pid: Some(pid), exit: Some(exit), expected: Some(expected), ..Told::default() };
        let reason = (!expected).then(|| format!("ended by itself: {exit}"));
        self.change(State::Running, reason, told, now, out);
    }

    /// What was asked for is done, where nothing of it needs a new child. Says whether that is news.
    fn acknowledge(&mut self) -> bool {
        let placement = &self.placement;
        let before = (self.acted, self.revision);
        self.acted = placement.wanted;
        self.revision = placement.revision;
        if let Phase::Starting { spec, .. } | Phase::Running { spec, .. } = &mut self.phase {
            *spec = placement.spec.clone();
        }
        before != (self.acted, self.revision)
    }

    fn change(
        &mut self,
        from: State,
        reason: Option<String>,
        told: Told,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.change_to(self.phase.state(), from, reason, told, now, out);
    }

    fn change_to(
        &mut self,
        state: State,
        from: State,
        reason: Option<String>,
        told: Told,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.seq += 1;
        self.since = now.wall;
        self.reason = reason;
        let failed = matches!(state, State::Backoff | State::Fatal | State::Exited);
        let fact = ProcessFact {
            name: self.name.clone(),
            id: self.placement.id,
            worker: Some(self.worker.clone()),
            epoch: self.epoch,
            seq: self.seq,
            revision: self.revision,
            from,
            state,
            pid: told.pid,
            exit: told.exit,
            expected: told.expected,
            reason: self.reason.clone(),
            spawnerr: if failed { self.spawnerr.clone() } else { None },
            stderr_line: if failed { self.stderr_line.clone() } else { None },
            attempt: told.attempt,
        };
        self.report(Some((state, Box::new(fact))), out);
    }

    fn report(&self, event: Option<(State, Box<ProcessFact>)>, out: &mut Vec<Effect>) {
        let state = event.as_ref().map_or(self.phase.state(), |(state, _)| *state);
        let failed = matches!(state, State::Backoff | State::Fatal | State::Exited);
        let status = Status {
            id: self.placement.id,
            epoch: self.epoch,
            revision: self.revision,
            wanted: self.acted,
            state,
            since: self.since,
            pid: self.child().map(|(pid, _)| pid),
            restarts: self.restarts,
            exit: self.exit,
            reason: self.reason.clone(),
            spawnerr: self.spawnerr.clone(),
            stderr_line: if failed { self.stderr_line.clone() } else { None },
            stdout_logfile: Some(self.files.stdout.clone()),
            stderr_logfile: Some(self.files.stderr.clone()),
            seq: self.seq,
            event: None,
            incarnation: self.incarnation,
        };
        let fact = event.map(|(_, fact)| fact);
        out.push(Effect::Report { status: Box::new(status), fact });
    }
}
