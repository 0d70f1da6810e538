//! While no child lives: stay so, or start one.

use dsbus_schema::goal::Wanted;

use super::phase::Phase;
use super::telling::Told;
use super::{Effect, Instance};
use crate::clock::Now;
use crate::fence;

impl Instance {
    pub(super) fn settle_childless(&mut self, now: Now, out: &mut Vec<Effect>) {
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
    pub(super) fn declared_anew(&self) -> bool {
        let spec = &self.placement.spec;
        let another = self.last_spec.as_ref().is_none_or(|last| !last.same_child(spec));
        let failed = matches!(self.phase, Phase::Fatal | Phase::Backoff { .. });
        self.revision != self.placement.revision && (failed || another)
    }

    /// Nothing runs, and nothing should.
    pub(super) fn stay_stopped(&mut self, now: Now, out: &mut Vec<Effect>) {
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
            Phase::Stopped | Phase::Exited { .. } | Phase::Fatal if news => self.report(None, out),
            // The others have a child, and are not settled here.
            Phase::Stopped
            | Phase::Exited { .. }
            | Phase::Fatal
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Stopping { .. } => {}
        }
    }

    /// The old epoch is over; what was counted and acted on belongs to it.
    pub(super) fn begin_epoch(&mut self, now: Now) {
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

    pub(super) fn start(&mut self, now: Now, out: &mut Vec<Effect>) {
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
}
