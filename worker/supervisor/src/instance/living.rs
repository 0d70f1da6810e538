//! While a child lives: confirm it, watch it, and find out why it must not live on.

use std::sync::Arc;

use dsbus_schema::event::{Notice, WorkerChange};
use dsbus_schema::program::{HookPoint, ProgramSpec};
use dsbus_schema::state::State;

use super::phase::{After, Asks, Child, Phase, Reload, Stop, Watch};
use super::telling::Told;
use super::{Effect, Instance, Question};
use crate::clock::Now;
use crate::fence;

/// Why an exclusive instance stops that is let go.
const LOST: &str = "the bus has lost its placement, or went back in time, and it is exclusive; it starts \
                    again when nobody else can have it, or dsbus recover places it anew";

impl Instance {
    pub(super) fn settle_living(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(child) = self.main().cloned() else { return };
        if let Some(reason) = self.fenced(&child.spec, now, out) {
            return self.stop(child, &reason, After::Stopped, now, out);
        }
        if let Some(reason) = self.reason_to_stop(&child.spec) {
            return self.stop(child, reason, After::Stopped, now, out);
        }
        if matches!(self.phase, Phase::Starting { .. }) && !self.settle_starting(&child, now, out) {
            return;
        }
        if matches!(self.phase, Phase::Running { .. }) {
            self.settle_running(child, now, out);
        }
    }

    /// Says whether the child goes on living.
    fn settle_starting(&mut self, child: &Child, now: Now, out: &mut Vec<Effect>) -> bool {
        let Phase::Starting { start, .. } = &mut self.phase else { return true };
        if start.ready(&child.spec) && now.boot >= start.until {
            self.confirm(child, now, out);
            return true;
        }
        if !start.ready(&child.spec) && start.late_at.is_some_and(|at| now.boot >= at) {
            let span = child.spec.start_timeout;
            let why = format!("not ready within {span}: {}", start.lacks(&child.spec));
            self.stop(child.clone(), &why, After::Failed(why.clone()), now, out);
            return false;
        }
        Asks::ask(&mut start.asks, Question::Readiness, child, now.boot, out);
        if self.acknowledge(out) {
            self.report(None, out);
        }
        true
    }

    /// It is RUNNING from now on.
    fn confirm(&mut self, child: &Child, now: Now, out: &mut Vec<Effect>) {
        self.fails = 0;
        let watch = Watch::begin(&child.spec, now.boot);
        self.phase = Phase::Running { child: child.clone(), watch };
        let told = Told { pid: Some(child.pid), ..Told::default() };
        self.acknowledge(out);
        self.change(State::Starting, None, told, now, out);
        self.run_hook(HookPoint::PostStart, &child.spec, Some(child.pid), None, out);
    }

    fn settle_running(&mut self, child: Child, now: Now, out: &mut Vec<Effect>) {
        let Phase::Running { watch, .. } = &mut self.phase else { return };
        if watch.fed_until.is_some_and(|at| now.boot >= at) {
            let span = child.spec.watchdog.map(|span| span.to_string()).unwrap_or_default();
            let reason = format!("unwell: it did not say WATCHDOG=1 for {span}");
            return self.stop(child, &reason, After::Unwell, now, out);
        }
        if self.recycled(&child, now, out) {
            return;
        }
        let Phase::Running { watch, .. } = &mut self.phase else { return };
        Asks::ask(&mut watch.asks, Question::Liveness, &child, now.boot, out);
        self.settle_reload(now, out);
        if self.acknowledge(out) {
            self.report(None, out);
        }
    }

    /// Whether the lease no longer lets an exclusive instance live here; told if so.
    pub(super) fn fenced(
        &self,
        spec: &ProgramSpec,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Option<String> {
        if !spec.exclusive || now.boot < fence::ask_at(spec, self.lease) {
            return None;
        }
        let seconds = spec.touch_seconds();
        let reason = format!("fenced: its lease of {seconds} s was not renewed in time");
        let told = format!("{} stops: {reason}", self.name);
        out.push(Effect::Worker { change: WorkerChange::Fenced, reason: told });
        Some(reason)
    }

    /// Why a child that lives must not live on.
    pub(super) fn reason_to_stop(&self, spec: &ProgramSpec) -> Option<&'static str> {
        let wanted = self.placed.wanted;
        if self.shutdown {
            Some("its worker was told to stop")
        } else if self.lost {
            Some(LOST)
        } else if self.taken_away {
            Some("its placement was taken away")
        } else if self.placed.epoch != self.epoch {
            Some("it was placed anew")
        } else if !wanted.run {
            Some("stop was requested")
        } else if wanted.restarts > self.acted.restarts {
            Some("restart was requested")
        } else if !spec.same_child(&self.placed.spec) {
            Some("its declaration changed")
        } else {
            None
        }
    }

    /// What was asked for is done, where nothing of it needs a new child. Says whether that is news.
    /// A reload is acknowledged when it has ended.
    pub(super) fn acknowledge(&mut self, out: &mut Vec<Effect>) -> bool {
        let before = (self.acted, self.revision);
        let reloads = self.acted.reloads;
        self.acknowledge_all();
        if matches!(self.phase, Phase::Starting { .. } | Phase::Running { .. }) {
            self.acted.reloads = reloads;
        }
        self.change_child(out);
        before != (self.acted, self.revision)
    }

    /// The same, reloads included: there is nothing to reload.
    pub(super) fn acknowledge_all(&mut self) -> bool {
        let before = (self.acted, self.revision);
        self.acted = self.placed.wanted;
        self.revision = self.placed.revision;
        before != (self.acted, self.revision)
    }

    /// Keys that act from outside take effect on the child that lives.
    fn change_child(&mut self, out: &mut Vec<Effect>) {
        let placed = Arc::clone(&self.placed.spec);
        let (child, asks, probe) = match &mut self.phase {
            Phase::Starting { child, start } => (child, &mut start.asks, &placed.readiness),
            Phase::Running { child, watch } => (child, &mut watch.asks, &placed.liveness),
            Phase::Stopped
            | Phase::Preparing { .. }
            | Phase::Backoff { .. }
            | Phase::Stopping { .. }
            | Phase::Leaving { .. }
            | Phase::Exited { .. }
            | Phase::Fatal => return,
        };
        if Arc::ptr_eq(&child.spec, &placed) || child.spec == placed {
            return;
        }
        let same =
            child.spec.readiness == placed.readiness && child.spec.liveness == placed.liveness;
        if !same {
            *asks = Asks::begin(probe.as_ref(), child.since);
        }
        child.spec = Arc::clone(&placed);
        let (pid, since) = (child.pid, child.since);
        if let Phase::Starting { start, .. } = &mut self.phase {
            start.adjust(&placed, since);
        }
        out.push(Effect::Change { pid, spec: placed });
    }

    /// The executable file changed: what runs is the old one.
    pub(super) fn binary_changed(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(child) = self.main().cloned() else { return };
        let lives = matches!(self.phase, Phase::Starting { .. } | Phase::Running { .. });
        if !lives || !child.spec.restart_when_binary_changed {
            return;
        }
        let reason = "its executable file changed";
        self.notice(Notice::BinaryChanged, (Some(child.pid), None, None), reason, out);
        self.stop(child, reason, After::Stopped, now, out);
    }

    /// The main process of a daemon was found: it is the child from now on. If it was asked to stop
    /// meanwhile, nobody heard that.
    pub(super) fn adopted(&mut self, pid: i32, main: i32, now: Now, out: &mut Vec<Effect>) {
        for id in self.hooks.iter_mut().filter(|id| id.pid == Some(pid)) {
            id.pid = Some(main);
        }
        let (mut stopping, mut told) = (None, false);
        match (&mut self.phase, &mut self.reload) {
            (Phase::Starting { child, start }, _) if child.pid == pid => {
                (child.pid, start.adopted) = (main, true);
                told = true;
            }
            (Phase::Running { child, .. }, _) if child.pid == pid => {
                child.pid = main;
                told = true;
            }
            (Phase::Stopping { child, stop, .. }, _) if child.pid == pid => {
                stopping = Some((child, stop));
            }
            (_, Reload::Trying { child, start }) if child.pid == pid => {
                (child.pid, start.adopted) = (main, true);
            }
            (_, Reload::Failing { child, stop, .. }) if child.pid == pid => {
                stopping = Some((child, stop));
            }
            _ => {
                let retiring = self.retiring.iter_mut().find(|(child, _)| child.pid == pid);
                stopping = retiring.map(|(child, stop)| (child, stop));
            }
        }
        if let Some((child, stop)) = stopping {
            child.pid = main;
            if let Stop::Asked { step, .. } = *stop {
                *stop = Stop::ask(child, step, now.boot, out);
            }
        }
        if told {
            self.report(None, out);
        }
    }
}
