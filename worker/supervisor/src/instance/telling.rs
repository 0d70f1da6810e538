//! Telling how the instance stands: a status each time, and an event for each change of state.

use dsbus_schema::event::{Notice, NoticeFact, ProcessFact};
use dsbus_schema::program::HookPoint;
use dsbus_schema::state::{Exit, State};
use dsbus_schema::status::Status;

use super::{Effect, Instance};
use crate::clock::Now;

/// What changed, beyond the state.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    pub(super) pid: Option<i32>,
    pub(super) exit: Option<Exit>,
    pub(super) expected: Option<bool>,
    pub(super) attempt: Option<u32>,
}

impl Instance {
    /// The state is another one than `from` now.
    pub(super) fn change(
        &mut self,
        from: State,
        reason: Option<String>,
        told: Told,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.reason = reason;
        self.change_to(self.phase.state(), from, told, now, out);
    }

    /// The state is, or was for a moment, `state`; the reason is set already.
    pub(super) fn change_to(
        &mut self,
        state: State,
        from: State,
        told: Told,
        now: Now,
        out: &mut Vec<Effect>,
    ) {
        self.seq += 1;
        self.since = now.wall;
        let failed = matches!(state, State::Backoff | State::Fatal | State::Exited);
        let fact = ProcessFact {
            name: self.name.clone(),
            id: self.placed.id,
            group: self.placed.spec.group.clone(),
            process: self.placed.spec.copy_name(&self.name, &self.worker),
            worker: Some(self.worker.clone()),
            epoch: self.epoch,
            seq: self.seq,
            revision: self.revision,
            from,
            state,
            pid: told.pid,
            exit: told.exit,
            usage: told.exit.and(self.usage),
            expected: told.expected,
            reason: self.reason.clone(),
            spawnerr: if failed { self.spawnerr.clone() } else { None },
            stderr_line: if failed { self.stderr_line.clone() } else { None },
            attempt: told.attempt,
        };
        self.report(Some((state, Box::new(fact))), out);
    }

    /// Tells how it stands, without an event.
    pub(crate) fn tell(&self) -> Effect {
        self.reported(None)
    }

    pub(super) fn report(&self, event: Option<(State, Box<ProcessFact>)>, out: &mut Vec<Effect>) {
        out.push(self.reported(event));
    }

    fn reported(&self, event: Option<(State, Box<ProcessFact>)>) -> Effect {
        let state = event.as_ref().map_or(self.phase.state(), |(state, _)| *state);
        let fact = event.map(|(_, fact)| fact);
        Effect::Report { status: Box::new(self.status_in(state)), fact }
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.status_in(self.phase.state())
    }

    fn status_in(&self, state: State) -> Status {
        let failed = matches!(state, State::Backoff | State::Fatal | State::Exited);
        Status {
            id: self.placed.id,
            epoch: self.epoch,
            revision: self.revision,
            wanted: self.acted,
            state,
            rests: self.rests(),
            since: self.since,
            pid: self.child().map(|(pid, _)| pid),
            restarts: self.restarts,
            exit: self.exit,
            usage: self.usage,
            note: self.note.clone(),
            reason: self.reason.clone(),
            refused: self.refused.clone(),
            spawnerr: self.spawnerr.clone(),
            stderr_line: if failed { self.stderr_line.clone() } else { None },
            stdout_logfile: self.files.stdout.clone(),
            stderr_logfile: self.files.stderr.clone(),
            seq: self.seq,
            event: None,
            incarnation: self.incarnation,
        }
    }

    /// Something that is no change of state: of this child, of this hook, and how that ended.
    pub(super) fn notice(
        &self,
        change: Notice,
        (pid, hook, exit): (Option<i32>, Option<HookPoint>, Option<Exit>),
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        out.push(Effect::Notice(Box::new(NoticeFact {
            name: self.name.clone(),
            id: self.placed.id,
            worker: self.worker.clone(),
            epoch: self.epoch,
            change,
            pid,
            hook,
            exit,
            signal: None,
            by: None,
            reason: reason.to_owned(),
        })));
    }
}
