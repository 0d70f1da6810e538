//! What came of a start, and how a child ended.

use std::sync::Arc;
use std::time::Duration;

use dsbus_schema::event::Notice;
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::{AutoRestart, OnFatal, ProgramSpec};
use dsbus_schema::state::{Exit, State};

use super::phase::{After, Child, Phase, Reload, Start, Stop};
use super::telling::Told;
use super::{Effect, End, Instance};
use crate::clock::Now;

/// A child that lived for less than this died quickly.
const QUICK_DEATH: Duration = Duration::from_secs(1);
/// So many quick deaths in a row are repaired at once; after that, once a second, so that a
/// program with `startsecs = 0` that cannot run does not eat a core.
const QUICK_DEATHS_MAX: u32 = 5;
/// Most restarts that are remembered for `restart_limit`: a greater limit is as good as this one,
/// since quick deaths are repaired once a second.
const RESTARTS_REMEMBERED_MAX: usize = 10_000;
/// Pause after the first failed start, where the declaration gives none.
const PAUSE: Duration = Duration::from_secs(1);
/// What a worker exits with when a child that it ends with could not be started at all.
const NOT_STARTED: u8 = 1;
/// A shell's rule for whoever was ended by a signal.
const SIGNAL_CODE: i32 = 128;

/// How long to wait after so many failed starts in a row: Supervisor's rule of as many seconds,
/// unless the declaration has a `restart_pause` or a `backoff_factor`.
pub(super) fn pause(spec: &ProgramSpec, fails: u32) -> Duration {
    let pause = match (spec.restart_pause, spec.backoff_factor) {
        (None, None) => Duration::from_secs(u64::from(fails)),
        (Some(pause), None) => pause.0,
        (base, Some(factor)) => {
            let base = base.map_or(PAUSE, |span| span.0).as_secs_f64();
            let grown =
                base * factor.powi(i32::try_from(fails.saturating_sub(1)).unwrap_or(i32::MAX));
            let most = spec.backoff_max.0.as_secs_f64();
            Duration::from_secs_f64(if grown.is_finite() { grown.min(most) } else { most })
        }
    };
    pause.min(spec.backoff_max.0)
}

impl Instance {
    pub(super) fn spawned(&mut self, pid: i32, now: Now, out: &mut Vec<Effect>) {
        self.spawning = false;
        if matches!((&self.reload, &self.phase), (Reload::Asked, Phase::Running { .. })) {
            return self.trying(pid, now);
        }
        self.reload = Reload::No;
        let spec = match &self.phase {
            Phase::Preparing { spec } => Arc::clone(spec),
            // It was to take the place of one that is being stopped meanwhile.
            Phase::Starting { child, .. }
            | Phase::Running { child, .. }
            | Phase::Stopping { child, .. } => {
                let spec = Arc::clone(&child.spec);
                let child = Child { pid, spec, since: now.boot };
                let stop = Stop::ask(&child, 0, now.boot, out);
                return self.retiring.push((child, stop));
            }
            Phase::Stopped
            | Phase::Backoff { .. }
            | Phase::Leaving { .. }
            | Phase::Exited { .. }
            | Phase::Fatal => Arc::clone(&self.placed.spec),
        };
        let from = self.phase.state();
        let prepared = matches!(self.phase, Phase::Preparing { .. });
        if !prepared {
            self.begun(&spec);
        }
        self.restarts += u64::from(self.again);
        let start = Start::begin(&spec, now.boot);
        self.phase = Phase::Starting { child: Child { pid, spec, since: now.boot }, start };
        self.reason = None;
        if prepared {
            // It is STARTING since its hook began.
            return self.report(None, out);
        }
        let told = Told { pid: Some(pid), attempt: Some(self.fails + 1), ..Told::default() };
        self.change(from, None, told, now, out);
    }

    pub(super) fn spawn_failed(&mut self, why: &str, now: Now, out: &mut Vec<Effect>) {
        self.spawning = false;
        if self.main().is_some() {
            if matches!(self.reload, Reload::Asked) {
                let why = format!("the new child could not be started: {why}");
                self.reload_failed(&why, None, out);
            }
            return;
        }
        self.reload = Reload::No;
        let from = self.phase.state();
        let prepared = matches!(self.phase, Phase::Preparing { .. });
        if !prepared {
            let spec = Arc::clone(&self.placed.spec);
            self.begun(&spec);
        }
        self.exit = None;
        self.usage = None;
        self.stderr_line = None;
        if !prepared {
            // For a moment it was STARTING, as Supervisor tells it.
            self.phase = Phase::Backoff { until: now.boot };
            let told = Told { attempt: Some(self.fails + 1), ..Told::default() };
            self.reason = None;
            self.change_to(State::Starting, from, told, now, out);
        }
        self.spawnerr = Some(why.to_owned());
        self.failed(why, State::Starting, Told::default(), now, out);
    }

    /// What was asked for is not wanted any longer; what is wanted now is seen to next.
    pub(super) fn not_spawned(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.spawning = false;
        if matches!(self.reload, Reload::Asked) {
            self.reload = Reload::No;
        }
        if let Phase::Preparing { spec } = &self.phase {
            let refused = self.placed.refusal.as_ref().map(|_| "it is not allowed here");
            let reason = self.reason_to_stop(spec).or(refused);
            let reason = reason.unwrap_or("its lease ran out meanwhile");
            self.phase = Phase::Leaving { pid: None };
            self.change(State::Starting, Some(reason.to_owned()), Told::default(), now, out);
        }
    }

    /// A start failed: again after a pause, or never again. FATAL comes after BACKOFF, as Supervisor
    /// tells it.
    pub(super) fn failed(
        &mut self,
        why: &str,
        from: State,
        told: Told,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.fails = self.fails.saturating_add(1);
        let until = now.boot + pause(&self.placed.spec, self.fails);
        self.phase = Phase::Backoff { until };
        let told = Told { attempt: Some(self.fails), ..told };
        self.change(from, Some(why.to_owned()), told, now, out);
        if self.placed.spec.startretries.exhausted(self.fails) {
            let tries = self.fails;
            let times = if tries == 1 { "1 time".to_owned() } else { format!("{tries} times") };
            let reason = format!("gave up after it failed to start {times}: {why}");
            if self.living_spec().exclusive && !self.hooks.is_empty() {
                // Whoever hears that it is given up may run it elsewhere.
                self.fatal_due = Some(reason);
            } else {
                self.give_up(State::Backoff, &reason, Told { attempt: None, ..told }, now, out);
            }
        }
    }

    pub(super) fn give_up(
        &mut self,
        from: State,
        reason: &str,
        told: Told,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.phase = Phase::Fatal;
        self.change(from, Some(reason.to_owned()), told, now, out);
        self.end_worker(reason, out);
    }

    /// It ends for good, and its worker with it if it is for that one program.
    fn end_worker(&self, reason: &str, out: &mut Vec<Effect>) {
        if self.placed.spec.on_fatal == OnFatal::Exit {
            let code = match self.exit {
                Some(Exit { code: Some(code), .. }) => u8::try_from(code).unwrap_or(NOT_STARTED),
                Some(Exit { signal: Some(signal), .. }) => {
                    u8::try_from(SIGNAL_CODE + signal).unwrap_or(NOT_STARTED)
                }
                Some(Exit { code: None, signal: None, .. }) | None => NOT_STARTED,
            };
            let reason = format!("{} has ended for good: {reason}", self.name);
            out.push(Effect::EndWorker { code, reason });
        }
    }

    pub(super) fn ended(&mut self, end: End, now: Now, out: &mut Vec<Effect>) {
        let pid = end.pid;
        if end.oom {
            let reason = self.oom_reason();
            self.notice(Notice::OomKill, (Some(pid), None, Some(end.exit)), &reason, out);
        }
        if self.main().is_some_and(|child| child.pid == pid) {
            return self.main_ended(end, now, out);
        }
        if let Some(at) = self.retiring.iter().position(|(child, _)| child.pid == pid) {
            let (child, _) = self.retiring.remove(at);
            return self.child_is_gone(&child.spec, pid, now, out);
        }
        match &self.reload {
            Reload::Trying { child, .. } if child.pid == pid => {
                let spec = Arc::clone(&child.spec);
                let line = end.stderr_line.map(|line| format!(" ({line})")).unwrap_or_default();
                let why = format!("the new child ended: {}{line}", end.exit);
                self.reload_failed(&why, Some(pid), out);
                self.child_is_gone(&spec, pid, now, out);
            }
            Reload::Failing { child, why, .. } if child.pid == pid => {
                let (spec, why) = (Arc::clone(&child.spec), why.clone());
                self.reload_failed(&why, Some(pid), out);
                self.child_is_gone(&spec, pid, now, out);
            }
            Reload::No
            | Reload::Preparing
            | Reload::Asked
            | Reload::Trying { .. }
            | Reload::Failing { .. } => {}
        }
    }

    fn oom_reason(&self) -> String {
        match self.living_spec().limits.memory {
            Some(size) => format!("out of memory: its limit is {} bytes", size.0),
            None => "out of memory".to_owned(),
        }
    }

    fn main_ended(&mut self, end: End, now: Now, out: &mut Vec<Effect>) {
        let End { pid, exit, usage, stderr_line, oom } = end;
        self.exit = Some(exit);
        self.usage = usage;
        self.stderr_line = stderr_line;
        let how = if oom { format!("{exit}, {}", self.oom_reason()) } else { exit.to_string() };
        let told = Told { pid: Some(pid), exit: Some(exit), ..Told::default() };
        match self.phase.clone() {
            Phase::Starting { child, start } => {
                self.child_is_gone(&child.spec, pid, now, out);
                let why = if now.boot < start.until {
                    format!("exited too quickly: {how}")
                } else {
                    format!("ended before it was ready: {how}")
                };
                self.failed(&why, State::Starting, told, now, out);
            }
            Phase::Running { child, .. } => {
                self.child_is_gone(&child.spec, pid, now, out);
                self.exited(&child, &how, now, out);
            }
            Phase::Stopping { child, after, .. } => {
                self.child_is_gone(&child.spec, pid, now, out);
                self.left(pid, after, now, out);
            }
            // There is no child, so none can end.
            Phase::Stopped
            | Phase::Preparing { .. }
            | Phase::Backoff { .. }
            | Phase::Leaving { .. }
            | Phase::Exited { .. }
            | Phase::Fatal => {}
        }
    }

    /// A child that was asked to stop has ended.
    fn left(&mut self, pid: i32, after: After, now: Now, out: &mut Vec<Effect>) {
        let told = Told { pid: Some(pid), exit: self.exit, ..Told::default() };
        match after {
            After::Failed(why) => self.failed(&why, State::Stopping, told, now, out),
            After::Unwell if self.restarts_too_often(now.boot) => {
                let reason = self.too_often(self.reason.clone().unwrap_or_default().as_str());
                self.phase = Phase::Leaving { pid: Some(pid) };
                self.fatal_due = Some(reason);
            }
            After::Stopped | After::Unwell => self.phase = Phase::Leaving { pid: Some(pid) },
        }
    }

    fn exited(&mut self, child: &Child, how: &str, now: Now, out: &mut Vec<Effect>) {
        let exit = self.exit.unwrap_or(Exit { code: None, signal: None, core: false });
        let code = exit.code.and_then(|code| u8::try_from(code).ok());
        let expected = code.is_some_and(|code| child.spec.exitcodes.contains(&code));
        let again = match self.placed.spec.autorestart {
            AutoRestart::Always => true,
            AutoRestart::Unexpected => !expected,
            AutoRestart::Never => false,
        };
        if now.boot.since(child.since) < QUICK_DEATH {
            self.quick_deaths = self.quick_deaths.saturating_add(1);
        } else {
            self.quick_deaths = 0;
        }
        let pause = if self.quick_deaths > QUICK_DEATHS_MAX { QUICK_DEATH } else { Duration::ZERO };
        self.phase = Phase::Exited { restart_at: again.then(|| now.boot + pause) };
        let told = Told {
            pid: Some(child.pid),
            exit: Some(exit),
            expected: Some(expected),
            ..Told::default()
        };
        let reason = (!expected).then(|| format!("ended by itself: {how}"));
        self.change(State::Running, reason, told, now, out);
        if self.take_over(now, out) {
            return;
        }
        if !again {
            self.end_worker(how, out);
        } else if self.restarts_too_often(now.boot) {
            self.fatal_due = Some(self.too_often(how));
        }
    }

    /// Counts a restart; says whether it is one too many.
    fn restarts_too_often(&mut self, now: BootTime) -> bool {
        let spec = &self.placed.spec;
        let most = usize::try_from(spec.restart_limit).unwrap_or(usize::MAX);
        if most == 0 {
            return false;
        }
        while self.restarted.front().is_some_and(|at| now.since(*at) > spec.restart_window.0) {
            self.restarted.pop_front();
        }
        if self.restarted.len() >= most.min(RESTARTS_REMEMBERED_MAX) {
            return true;
        }
        self.restarted.push_back(now);
        false
    }

    fn too_often(&self, why: &str) -> String {
        let ProgramSpec { restart_limit, restart_window, .. } = &*self.placed.spec;
        format!("gave up after {restart_limit} restarts within {restart_window}: {why}")
    }
}
