//! What the owner of the machine does not allow: it is not started, and that is told once, so that
//! schedulers look for another worker.

use dsbus_schema::event::WorkerChange;
use dsbus_schema::worker::Refusal;

use super::phase::{Phase, Reload};
use super::telling::Told;
use super::{Effect, Instance};
use crate::clock::Now;

impl Instance {
    /// Instead of a start. What was wanted is acted on: it stays stopped.
    pub(super) fn refuse(&mut self, refusal: Refusal, now: Now, out: &mut Vec<Effect>) {
        let news = self.acknowledge_all();
        if !news && self.refused.as_ref() == Some(&refusal) && matches!(self.phase, Phase::Stopped)
        {
            return;
        }
        let from = self.phase.state();
        let stopped = matches!(self.phase, Phase::Stopped);
        self.phase = Phase::Stopped;
        self.reload = Reload::No;
        self.spawnerr = None;
        let told = Some(refusal.to_string());
        let reason = format!("{}: {}", self.name, refusal.reason);
        self.refused = Some(refusal);
        if stopped {
            self.reason = told;
            self.since = now.wall;
            self.report(None, out);
        } else {
            self.change(from, told, Told::default(), now, out);
        }
        out.push(Effect::Worker { change: WorkerChange::Refused, reason });
    }

    /// A child that was asked for is not allowed.
    pub(super) fn start_refused(&mut self, refusal: Refusal, now: Now, out: &mut Vec<Effect>) {
        if self.main().is_some() {
            // The child that lives stays; another one may not take its place.
            self.spawning = false;
            if matches!(self.reload, Reload::Asked) {
                let why = format!("the new child was {refusal}");
                self.reload_failed(&why, None, out);
            }
            return;
        }
        self.placed.refusal = Some(refusal);
        // One whose `pre_start` hook has run comes to its stop first.
        self.not_spawned(now, out);
    }

    /// What is allowed has changed. A child that lives is left alone.
    pub(super) fn judged(&mut self, refusal: Option<Refusal>) {
        if refusal.is_none() {
            self.refused = None;
        }
        self.placed.refusal = refusal;
    }
}
