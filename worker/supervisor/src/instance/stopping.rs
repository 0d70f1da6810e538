//! Stopping a child: its hook, its signals one after the other, and SIGKILL.

use std::time::Duration;

use dsbus_schema::event::Notice;
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::HookPoint;

use super::phase::{After, Child, Phase, Reload, Stop};
use super::telling::Told;
use super::{Effect, HookId, Instance};
use crate::clock::Now;

/// Between two SIGKILLs at least: one that is not enough is mostly a process in the kernel's hands,
/// and asking it without a pause only burns time.
const KILL_AGAIN_MIN: Duration = Duration::from_secs(1);

impl Stop {
    /// Sends the signal of this step; after the last comes SIGKILL.
    pub(super) fn ask(child: &Child, step: usize, now: BootTime, out: &mut Vec<Effect>) -> Stop {
        let Some(asked) = child.spec.stopsignal.steps().get(step) else {
            return Stop::kill(child, 1, now, out);
        };
        let (pid, group) = (child.pid, child.spec.stopasgroup);
        out.push(Effect::Signal { pid, signal: asked.signal, group });
        Stop::Asked { step, until: now + asked.wait.unwrap_or(child.spec.stopwaitsecs).0 }
    }

    pub(super) fn kill(child: &Child, times: u32, now: BootTime, out: &mut Vec<Effect>) -> Stop {
        out.push(Effect::Kill { pid: child.pid });
        let pause = child.spec.killwaitsecs.0.max(KILL_AGAIN_MIN);
        Stop::Killed { again_at: now + pause, times }
    }

    /// Goes one step further, if it is time; `fenced` kills at once. Says whether it was found that
    /// the child does not die.
    fn go_on(&mut self, child: &Child, fenced: bool, now: BootTime, out: &mut Vec<Effect>) -> bool {
        let due = self.deadline().is_some_and(|at| now >= at);
        match *self {
            Stop::Hook | Stop::Asked { .. } if fenced => *self = Stop::kill(child, 1, now, out),
            Stop::Asked { step, .. } if due => *self = Stop::ask(child, step + 1, now, out),
            Stop::Killed { times, .. } if due => {
                *self = Stop::kill(child, times.saturating_add(1), now, out);
                return times == 1;
            }
            Stop::Hook | Stop::Asked { .. } | Stop::Killed { .. } => {}
        }
        false
    }
}

impl Instance {
    /// Begins to stop the child, and a newer one that was to take its place.
    pub(super) fn stop(
        &mut self,
        child: Child,
        reason: &str,
        after: After,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let from = self.phase.state();
        match std::mem::replace(&mut self.reload, Reload::No) {
            Reload::Trying { child, .. } => {
                let stop = Stop::ask(&child, 0, now.boot, out);
                self.retiring.push((child, stop));
            }
            Reload::Failing { child, stop, .. } => self.retiring.push((child, stop)),
            Reload::Preparing => {
                out.push(Effect::KillHook { id: HookId { point: HookPoint::PreStart, pid: None } });
            }
            Reload::No | Reload::Asked => {}
        }
        let stop = self.begin_stop(&child, now, out);
        let told = Told { pid: Some(child.pid), ..Told::default() };
        self.phase = Phase::Stopping { child, stop, after };
        self.reason = Some(reason.to_owned());
        self.change(from, self.reason.clone(), told, now, out);
        self.settle_stopping(now, out);
    }

    /// The first step: the hook, or the first signal.
    pub(super) fn begin_stop(&mut self, child: &Child, now: Now, out: &mut Vec<Effect>) -> Stop {
        let fenced = child.spec.exclusive && now.boot >= self.lease;
        let pid = Some(child.pid);
        if !fenced && self.run_hook(HookPoint::PreStop, &child.spec, pid, None, out) {
            return Stop::Hook;
        }
        Stop::ask(child, 0, now.boot, out)
    }

    pub(super) fn settle_stopping(&mut self, now: Now, out: &mut Vec<Effect>) {
        let lease = self.lease;
        let Phase::Stopping { child, stop, .. } = &mut self.phase else { return };
        let fenced = child.spec.exclusive && now.boot >= lease;
        if stop.go_on(child, fenced, now.boot, out) {
            let pid = child.pid;
            self.does_not_die(pid, out);
        }
    }

    pub(super) fn settle_retiring(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut immortal = Vec::new();
        for (child, stop) in &mut self.retiring {
            if stop.go_on(child, false, now.boot, out) {
                immortal.push(child.pid);
            }
        }
        if let Reload::Failing { child, stop, .. } = &mut self.reload
            && stop.go_on(child, false, now.boot, out)
        {
            immortal.push(child.pid);
        }
        for pid in immortal {
            self.does_not_die(pid, out);
        }
    }

    fn does_not_die(&self, pid: i32, out: &mut Vec<Effect>) {
        let reason = format!("process {pid}, or what it started, does not die of SIGKILL");
        self.notice(Notice::DoesNotDie, (Some(pid), None, None), &reason, out);
    }
}
