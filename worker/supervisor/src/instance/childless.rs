//! While no child lives: stay so, or start one.

use std::sync::Arc;

use dsbus_schema::goal::Wanted;
use dsbus_schema::program::{HookPoint, ProgramSpec};
use dsbus_schema::state::State;

use super::phase::{Phase, Reload};
use super::telling::Told;
use super::{Effect, HookId, Instance};
use crate::clock::Now;
use crate::fence;

impl Instance {
    pub(super) fn settle_childless(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.gone {
            return;
        }
        if self.taken_away {
            if !self.busy() {
                self.gone = true;
                out.push(Effect::Gone { epoch: self.epoch });
            }
            return;
        }
        if self.placed.epoch != self.epoch {
            self.begin_epoch(now);
            self.rest(out);
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
        let wanted = self.placed.wanted;
        if !wanted.run {
            return self.stay_stopped(now, out);
        }
        if self.blocked() {
            return;
        }
        if let Some(reason) = self.fatal_due.take() {
            let told = Told { exit: self.exit, ..Told::default() };
            return self.give_up(self.phase.state(), &reason, told, now, out);
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
            | Phase::Preparing { .. }
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Leaving { .. } => false,
        };
        if asked {
            self.fails = 0;
            self.quick_deaths = 0;
            self.restarted.clear();
        }
        if asked || due {
            if let Some(refusal) = self.placed.refusal.clone() {
                return self.refuse(refusal, now, out);
            }
            self.start(now, out);
        } else if self.revision != self.placed.revision || self.acted.reloads != wanted.reloads {
            // There is nothing that could be reloaded.
            self.acted.reloads = wanted.reloads;
            self.revision = self.placed.revision;
            self.report(None, out);
        }
    }

    /// Whether the declaration changed so that it is worth another start: what failed may be
    /// mended, and what has ended would be something else.
    pub(super) fn declared_anew(&self) -> bool {
        let spec = &self.placed.spec;
        let another = self.last_spec.as_ref().is_none_or(|last| !last.same_child(spec));
        let failed = matches!(self.phase, Phase::Fatal | Phase::Backoff { .. });
        self.revision != self.placed.revision && (failed || another)
    }

    /// Nothing runs, and nothing should.
    pub(super) fn stay_stopped(&mut self, now: Now, out: &mut Vec<Effect>) {
        // Whoever hears that it is stopped may run it elsewhere.
        if self.spawning || (self.living_spec().exclusive && !self.hooks.is_empty()) {
            return;
        }
        self.fatal_due = None;
        let news = self.acknowledge_all();
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
            Phase::Stopped | Phase::Exited { .. } | Phase::Fatal if news => self.report(None, out),
            // The others have a child, and are not settled here.
            Phase::Stopped
            | Phase::Exited { .. }
            | Phase::Fatal
            | Phase::Preparing { .. }
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. }
            | Phase::Leaving { .. } => {}
        }
    }

    /// The old epoch is over; what was counted and acted on belongs to it.
    pub(super) fn begin_epoch(&mut self, now: Now) {
        self.epoch = self.placed.epoch;
        self.seq = self.next_seq;
        self.acted = Wanted::default();
        self.revision = 0;
        self.phase = Phase::Stopped;
        self.reload = Reload::No;
        self.again = false;
        self.fatal_due = None;
        self.since = now.wall;
        self.fails = 0;
        self.quick_deaths = 0;
        self.restarts = 0;
        self.restarted.clear();
        self.exit = None;
        self.usage = None;
        self.note = None;
        self.note_due = None;
        self.reason = None;
        self.refused = None;
        self.spawnerr = None;
        self.stderr_line = None;
    }

    /// Begins a start: by its `pre_start` hook, or by the child itself.
    pub(super) fn start(&mut self, now: Now, out: &mut Vec<Effect>) {
        let spec = Arc::clone(&self.placed.spec);
        if spec.exclusive && !fence::may_start(&spec, self.lease, now.boot) {
            self.waits = true;
            if self.reason.is_none() {
                self.reason = Some(format!("waits for its lease of {} s", spec.touch_seconds()));
                self.report(None, out);
            }
            return;
        }
        self.waits = false;
        if self.run_hook(HookPoint::PreStart, &spec, None, None, out) {
            let from = self.phase.state();
            self.phase = Phase::Preparing { spec: Arc::clone(&spec) };
            self.begun(&spec);
            let told = Told { attempt: Some(self.fails + 1), ..Told::default() };
            self.change(from, None, told, now, out);
        } else {
            self.ask_for_child(spec, out);
        }
    }

    pub(super) fn ask_for_child(&mut self, spec: Arc<ProgramSpec>, out: &mut Vec<Effect>) {
        self.spawning = true;
        out.push(Effect::Spawn { spec, epoch: self.epoch });
    }

    /// A start of this spec has begun: it answers everything that was wanted until now.
    pub(super) fn begun(&mut self, spec: &Arc<ProgramSpec>) {
        self.again = self.acted.run;
        self.last_spec = Some(Arc::clone(spec));
        self.acted = self.placed.wanted;
        self.revision = self.placed.revision;
        self.reload = Reload::No;
        self.refused = None;
        self.spawnerr = None;
        self.note = None;
        self.note_due = None;
    }

    /// While the `pre_start` hook runs.
    pub(super) fn settle_preparing(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Phase::Preparing { spec } = &self.phase else { return };
        if self.spawning {
            return;
        }
        let spec = Arc::clone(spec);
        let fenced = self.fenced(&spec, now, out);
        let reason = fenced.or_else(|| self.reason_to_stop(&spec).map(str::to_owned));
        if let Some(reason) = reason {
            out.push(Effect::KillHook { id: HookId { point: HookPoint::PreStart, pid: None } });
            self.phase = Phase::Leaving { pid: None };
            self.change(State::Starting, Some(reason), Told::default(), now, out);
        }
    }

    /// While the last hook or an older child is awaited, after a stop.
    pub(super) fn settle_leaving(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Phase::Leaving { pid } = self.phase else { return };
        if !self.hooks.is_empty() || !self.retiring.is_empty() {
            return;
        }
        self.phase = Phase::Stopped;
        self.stderr_line = None;
        // What was wanted is acted on: it is stopped.
        if !self.placed.wanted.run && self.placed.epoch == self.epoch {
            self.acknowledge_all();
        }
        let exit = pid.and(self.exit);
        let told = Told { pid, exit, ..Told::default() };
        self.change(State::Stopping, self.reason.clone(), told, now, out);
        self.settle_childless(now, out);
    }
}
