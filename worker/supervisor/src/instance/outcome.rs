//! What came of a start, and how a child ended.

use std::time::Duration;

use dsbus_schema::moment::BootTime;
use dsbus_schema::program::{AutoRestart, ProgramSpec};
use dsbus_schema::state::{Exit, State};

use super::phase::Phase;
use super::telling::Told;
use super::{Effect, Instance};
use crate::clock::Now;

/// A child that lived for less than this died quickly.
const QUICK_DEATH: Duration = Duration::from_secs(1);
/// So many quick deaths in a row are repaired at once; after that, once a second, so that a
/// program with `startsecs = 0` that cannot run does not eat a core.
const QUICK_DEATHS_MAX: u32 = 5;

impl Instance {
    pub(super) fn spawned(&mut self, pid: i32, now: Now, out: &mut Vec<Effect>) {
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

    pub(super) fn spawn_failed(&mut self, why: &str, now: Now, out: &mut Vec<Effect>) {
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
        self.reason = None;
        self.change_to(State::Starting, from, told, now, out);
        self.spawnerr = Some(why.to_owned());
        self.failed(why, State::Starting, Told::default(), now, out);
    }

    /// A start failed: again after as many seconds as starts have failed, or never again. FATAL
    /// comes after BACKOFF, as Supervisor tells it.
    pub(super) fn failed(
        &mut self,
        why: &str,
        from: State,
        told: Told,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.fails += 1;
        let pause = Duration::from_secs(u64::from(self.fails));
        self.phase = Phase::Backoff { until: now.boot + pause };
        let told = Told { attempt: Some(self.fails), ..told };
        self.change(from, Some(why.to_owned()), told, now, out);
        if self.placement.spec.startretries.exhausted(self.fails) {
            self.phase = Phase::Fatal;
            let tries = self.fails;
            let times = if tries == 1 { "1 time".to_owned() } else { format!("{tries} times") };
            let reason = format!("gave up after it failed to start {times}: {why}");
            self.change(State::Backoff, Some(reason), Told { attempt: None, ..told }, now, out);
        }
    }

    pub(super) fn ended(
        &mut self,
        exit: Exit,
        stderr_line: Option<String>,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
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

    pub(super) fn exited(
        &mut self,
        pid: i32,
        spec: &ProgramSpec,
        since: BootTime,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let exit = self.exit.unwrap_or(Exit { code: None, signal: None, core: false });
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
    pub(super) fn acknowledge(&mut self) -> bool {
        let placement = &self.placement;
        let before = (self.acted, self.revision);
        self.acted = placement.wanted;
        self.revision = placement.revision;
        if let Phase::Starting { spec, .. } | Phase::Running { spec, .. } = &mut self.phase {
            *spec = placement.spec.clone();
        }
        before != (self.acted, self.revision)
    }
}
