//! Hooks: commands that run before and after starts and stops.

use std::sync::Arc;

use dsbus_schema::event::Notice;
use dsbus_schema::program::{HookPoint, ProgramSpec};
use dsbus_schema::state::{Exit, State};

use super::phase::{Phase, Reload, Stop};
use super::telling::Told;
use super::{Effect, HookId, HookOutcome, Instance};
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
        let id = HookId { point, pid };
        let Some(hook) = spec.hook(point).filter(|_| !self.hooks.contains(&id)) else {
            return false;
        };
        let hook = Box::new(hook.clone());
        self.hooks.push(id);
        out.push(Effect::Hook { id, hook, spec: Arc::clone(spec), exit });
        true
    }

    /// A child is gone: hooks that were about the living one end, and the last one runs. One
    /// whose lease has ended may already run elsewhere, and nothing more is done for it here.
    pub(super) fn child_is_gone(
        &mut self,
        spec: &Arc<ProgramSpec>,
        pid: i32,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let outlived = |id: &&HookId| id.pid == Some(pid) && id.point != HookPoint::PostStop;
        out.extend(self.hooks.iter().filter(outlived).map(|id| Effect::KillHook { id: *id }));
        if !spec.exclusive || now.boot < self.lease {
            self.run_hook(HookPoint::PostStop, spec, Some(pid), self.exit, out);
        }
    }

    pub(super) fn hook_ended(
        &mut self,
        id: HookId,
        outcome: &HookOutcome,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        let HookId { point, pid } = id;
        self.hooks.retain(|running| *running != id);
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
        self.notice(change, (pid, Some(point), exit), &reason, out);
        match point {
            HookPoint::PreStart => self.prepared(*outcome == HookOutcome::Done, &reason, now, out),
            HookPoint::PreStop => self.announced(pid, now, out),
            HookPoint::PostStart | HookPoint::PostStop => {}
        }
    }

    /// The `pre_start` hook ended.
    fn prepared(&mut self, well: bool, reason: &str, now: Now, out: &mut Vec<Effect>) {
        if matches!(self.reload, Reload::Preparing) {
            return self.reload_prepared(well, reason, out);
        }
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
            self.ask_for_child(spec, out);
        }
    }

    /// The `pre_stop` hook of a child ended: it is asked to stop.
    fn announced(&mut self, pid: Option<i32>, now: Now, out: &mut Vec<Effect>) {
        if let Phase::Stopping { child, stop: stop @ Stop::Hook, .. } = &mut self.phase
            && Some(child.pid) == pid
        {
            *stop = Stop::ask(child, 0, now.boot, out);
        }
        for (child, stop) in &mut self.retiring {
            if matches!(stop, Stop::Hook) && Some(child.pid) == pid {
                *stop = Stop::ask(child, 0, now.boot, out);
            }
        }
    }
}
