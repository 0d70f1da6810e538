//! Hooks: commands that run before and after starts and stops.

use std::sync::Arc;

use dsbus_schema::event::Notice;
use dsbus_schema::program::{HookPoint, ProgramSpec};
use dsbus_schema::state::{Exit, State};

use super::phase::{Phase, Stop};
use super::telling::Told;
use super::{Effect, HookOutcome, Instance};
use crate::clock::Now;
use crate::fence;

impl Instance {
    /// Runs a hook, if there is one and it does not run already. Says whether it runs now.
    pub(super) fn run_hook(
        &mut self,
        point: HookPoint,
        spec: &Arc<ProgramSpec>,
        pid: Option<i32>,
        exit: Option<Exit>,
        out: &mut Vec<Effect>,
    ) -> bool {
        let Some(hook) = spec.hook(point).filter(|_| !self.hooks.contains(&point)) else {
            return false;
        };
        let hook = Box::new(hook.clone());
        self.hooks.push(point);
        out.push(Effect::Hook { point, hook, spec: Arc::clone(spec), pid, exit });
        true
    }

    /// The child is gone: hooks that were about the living one end, and the last one runs. One
    /// whose lease has ended may already run elsewhere, and nothing more is done for it here.
    pub(super) fn child_is_gone(
        &mut self,
        spec: &Arc<ProgramSpec>,
        pid: i32,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let outlived = [HookPoint::PostStart, HookPoint::PreStop];
        let kill = |point: &&HookPoint| outlived.contains(*point);
        out.extend(self.hooks.iter().filter(kill).map(|p| Effect::KillHook { point: *p }));
        if !spec.exclusive || now.boot < self.lease {
            self.run_hook(HookPoint::PostStop, spec, Some(pid), self.exit, out);
        }
    }

    pub(super) fn hook_ended(
        &mut self,
        point: HookPoint,
        outcome: &HookOutcome,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.hooks.retain(|running| *running != point);
        let (change, exit, reason) = match outcome {
            HookOutcome::Done => {
                (Notice::HookDone, Some(Exit::code(0)), format!("{point} is done"))
            }
            HookOutcome::Failed { why, exit } => {
                (Notice::HookFailed, *exit, format!("{point} failed: {why}"))
            }
            HookOutcome::TimedOut => {
                let limit = self.living_spec().hook(point).map(|hook| hook.timeout.to_string());
                let limit = limit.unwrap_or_else(|| "its time limit".to_owned());
                (Notice::HookTimedOut, None, format!("{point} took longer than {limit}"))
            }
        };
        self.notice(change, (None, Some(point), exit), &reason, out);
        match point {
            HookPoint::PreStart => self.prepared(*outcome == HookOutcome::Done, &reason, now, out),
            HookPoint::PreStop => self.announced(now, out),
            HookPoint::PostStart | HookPoint::PostStop => {}
        }
    }

    /// The `pre_start` hook ended.
    fn prepared(&mut self, well: bool, reason: &str, now: Now, out: &mut Vec<Effect>) {
        let Phase::Preparing { spec } = &self.phase else { return };
        let spec = Arc::clone(spec);
        if !well {
            self.exit = None;
            self.stderr_line = None;
            self.failed(reason, State::Starting, Told::default(), now, out);
        } else if self.reason_to_stop(&spec).is_some()
            || (spec.exclusive && !fence::may_start(&spec, self.lease, now.boot))
        {
            self.phase = Phase::Leaving { pid: None };
            let reason = self.reason_to_stop(&spec).unwrap_or("its lease ran out meanwhile");
            self.change(State::Starting, Some(reason.to_owned()), Told::default(), now, out);
        } else {
            out.push(Effect::Spawn { spec, epoch: self.epoch });
        }
    }

    /// The `pre_stop` hook ended: children that waited for it are asked to stop.
    fn announced(&mut self, now: Now, out: &mut Vec<Effect>) {
        if let Phase::Stopping { child, stop: stop @ Stop::Hook, .. } = &mut self.phase {
            *stop = Stop::ask(child, 0, now.boot, out);
        }
        for (child, stop) in &mut self.retiring {
            if matches!(stop, Stop::Hook) {
                *stop = Stop::ask(child, 0, now.boot, out);
            }
        }
    }
}
