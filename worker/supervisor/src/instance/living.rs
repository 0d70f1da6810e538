//! While a child lives: confirm it, stop it, kill it.

use dsbus_schema::event::WorkerChange;
use dsbus_schema::program::{ProgramSpec, Signal};
use dsbus_schema::state::State;

use super::phase::Phase;
use super::telling::Told;
use super::{Effect, Instance};
use crate::clock::Now;
use crate::fence;

impl Instance {
    pub(super) fn settle_living(&mut self, now: Now, out: &mut Vec<Effect>) {
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
    pub(super) fn reason_to_stop(&self, spec: &ProgramSpec) -> Option<&'static str> {
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

    pub(super) fn stop(
        &mut self,
        pid: i32,
        spec: ProgramSpec,
        reason: &str,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let from = self.phase.state();
        let kill_at = Some(now.boot + spec.stopwaitsecs.0);
        let signal = spec.stopsignal.steps().first().map_or(Signal::TERM, |step| step.signal);
        out.push(Effect::Signal { pid, signal });
        self.phase = Phase::Stopping { pid, spec, kill_at, killed: false };
        self.reason = Some(reason.to_owned());
        let told = Told { pid: Some(pid), ..Told::default() };
        self.change(from, self.reason.clone(), told, now, out);
        self.settle_stopping(now, out);
    }

    pub(super) fn settle_stopping(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Phase::Stopping { pid, spec, kill_at, killed } = &mut self.phase else { return };
        let late = kill_at.is_some_and(|at| now.boot >= at);
        let fenced = spec.exclusive && now.boot >= self.lease;
        if (late || fenced) && !*killed {
            out.push(Effect::Kill { pid: *pid });
            *killed = true;
            *kill_at = None;
        }
    }
}
