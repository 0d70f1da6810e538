//! Reloads: by a signal, or by a new child that takes the place of the old one.

use std::sync::Arc;

use dsbus_schema::event::Notice;
use dsbus_schema::program::HookPoint;
use dsbus_schema::status::RELOAD_FAILED;

use super::phase::{Asks, Child, Phase, Reload, Start, Stop, Watch};
use super::telling::Told;
use super::{Effect, HookId, Instance, Question};
use crate::clock::Now;

impl Instance {
    /// Begins a reload that was asked for, and goes on with one that runs. Only while RUNNING.
    pub(super) fn settle_reload(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Phase::Running { child, .. } = &self.phase else { return };
        match &mut self.reload {
            Reload::No if self.placed.wanted.reloads > self.acted.reloads => {
                let child = child.clone();
                self.begin_reload(&child, out);
            }
            Reload::No | Reload::Preparing | Reload::Asked | Reload::Failing { .. } => {}
            Reload::Trying { child, start } => {
                if start.ready(&child.spec) && now.boot >= start.until {
                    self.switch(now, out);
                } else if !start.ready(&child.spec)
                    && start.late_at.is_some_and(|at| now.boot >= at)
                {
                    let span = child.spec.start_timeout;
                    let lacks = start.lacks(&child.spec);
                    let why = format!("the new child was not ready within {span}: {lacks}");
                    let child = child.clone();
                    let stop = Stop::ask(&child, 0, now.boot, out);
                    self.reload = Reload::Failing { child, stop, why };
                } else {
                    Asks::ask(&mut start.asks, Question::Readiness, child, now.boot, out);
                }
            }
        }
    }

    fn begin_reload(&mut self, child: &Child, out: &mut Vec<Effect>) {
        let pid = child.pid;
        if let Some(signal) = child.spec.reload_signal {
            out.push(Effect::Signal { pid, signal, group: false });
            let reason = format!("SIG{signal} was sent");
            self.notice(Notice::Reloaded, (Some(pid), None, None), &reason, out);
            self.acted.reloads = self.placed.wanted.reloads;
            self.forget_failure();
            self.report(None, out);
        } else if child.spec.exclusive {
            self.reload_failed("two copies of an exclusive program must never live", None, out);
        } else {
            let reason = format!("a new child is started; pid {pid} runs on until it is ready");
            self.notice(Notice::ReloadStarted, (Some(pid), None, None), &reason, out);
            let spec = Arc::clone(&child.spec);
            if self.run_hook(HookPoint::PreStart, &spec, None, None, out) {
                self.reload = Reload::Preparing;
            } else {
                self.reload = Reload::Asked;
                self.ask_for_child(spec, out);
            }
        }
    }

    /// The `pre_start` hook of the new child ended.
    pub(super) fn reload_prepared(&mut self, well: bool, reason: &str, out: &mut Vec<Effect>) {
        let Phase::Running { child, .. } = &self.phase else { return };
        let spec = Arc::clone(&child.spec);
        if well {
            self.reload = Reload::Asked;
            self.ask_for_child(spec, out);
        } else {
            self.reload_failed(reason, None, out);
        }
    }

    /// The new child lives.
    pub(super) fn trying(&mut self, pid: i32, now: Now) {
        let Phase::Running { child, .. } = &self.phase else { return };
        let spec = Arc::clone(&child.spec);
        let start = Start::begin(&spec, now.boot);
        self.reload = Reload::Trying { child: Child { pid, spec, since: now.boot }, start };
    }

    /// The new child is ready: it is the child from now on, and the old one is stopped.
    fn switch(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Reload::Trying { child, .. } = std::mem::replace(&mut self.reload, Reload::No) else {
            return;
        };
        let Phase::Running { child: old, .. } = &self.phase else { return };
        let old = old.clone();
        let watch = Watch::begin(&child.spec, now.boot);
        let (pid, spec) = (child.pid, Arc::clone(&child.spec));
        self.phase = Phase::Running { child, watch };
        self.acted.reloads = self.placed.wanted.reloads;
        self.since = now.wall;
        self.forget_failure();
        let reason = format!("pid {pid} is RUNNING; pid {} is stopped", old.pid);
        self.notice(Notice::ReloadSwitched, (Some(pid), None, None), &reason, out);
        self.report(None, out);
        let stop = self.begin_stop(&old, now, out);
        self.retiring.push((old, stop));
        self.run_hook(HookPoint::PostStart, &spec, Some(pid), None, out);
    }

    /// The old child ended by itself, and a new one is on its way: that one is the child now.
    pub(super) fn take_over(&mut self, now: Now, out: &mut Vec<Effect>) -> bool {
        let (child, start) = match std::mem::replace(&mut self.reload, Reload::No) {
            Reload::Trying { child, start } => (child, start),
            Reload::Failing { child, stop, .. } => {
                self.retiring.push((child, stop));
                return false;
            }
            Reload::Preparing => {
                out.push(Effect::KillHook { id: HookId { point: HookPoint::PreStart, pid: None } });
                return false;
            }
            // What was asked for is answered later, and is the next child then.
            Reload::No | Reload::Asked => return false,
        };
        let from = self.phase.state();
        let told = Told { pid: Some(child.pid), attempt: Some(self.fails + 1), ..Told::default() };
        self.phase = Phase::Starting { child, start };
        self.restarts += 1;
        self.acted.reloads = self.placed.wanted.reloads;
        let reason = Some("the new child of a reload takes over".to_owned());
        self.change(from, reason, told, now, out);
        true
    }

    /// The old child stays.
    pub(super) fn reload_failed(&mut self, why: &str, pid: Option<i32>, out: &mut Vec<Effect>) {
        self.reload = Reload::No;
        self.acted.reloads = self.placed.wanted.reloads;
        let reason = format!("{RELOAD_FAILED}: {why}");
        self.notice(Notice::ReloadFailed, (pid, None, None), &reason, out);
        self.reason = Some(reason);
        self.report(None, out);
    }

    fn forget_failure(&mut self) {
        self.reason = self.reason.take().filter(|reason| !reason.starts_with(RELOAD_FAILED));
    }
}
