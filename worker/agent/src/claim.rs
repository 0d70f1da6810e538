//! The way from no connection to a name of our own, and the end of it when it is another's. Pure.

use dsbus_client::{Error, Item};
use dsbus_schema::call::Pong;
use dsbus_schema::event::{WorkerChange, WorkerFact};
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_supervisor::protocol::ToSupervisor;

use crate::bus_side::{BusSide, Deed, LastEvents, Phase};
use crate::placements::Change;
use crate::takeover::{Takeover, Verdict};
use crate::touch::Input;

impl BusSide {
    /// The buckets are there: learns what is in them, once it knows what the supervisor has.
    pub fn learn(&mut self) {
        self.learns = true;
        if self.untold > 0 {
            return;
        }
        if !self.watching && matches!(self.phase, Phase::Offline) {
            self.watching = true;
            self.deeds.push_back(Deed::Watch);
            self.phase = Phase::Learning;
        }
    }

    /// The connection came or went, or both; it is there now or not.
    pub fn connection(&mut self, connected: bool, now: BootTime) {
        let input = if connected { Input::Reconnected } else { Input::Disconnected };
        let outputs = self.leases.tell_all(&input, now);
        self.act(outputs, now);
    }

    /// A touch was answered, or not.
    pub fn touched(
        &mut self,
        seconds: u64,
        attempt: u64,
        result: Result<u64, Error>,
        now: BootTime,
    ) {
        let input = match result {
            Ok(seq) => Input::Acked { attempt, seq },
            Err(Error::LostRace { .. }) => Input::LostRace { attempt },
            Err(Error::Timeout) => Input::TimedOut { attempt },
            Err(error) => {
                tracing::debug!(seconds, %error, "failed to touch");
                Input::Failed { attempt }
            }
        };
        let outputs = self.leases.tell(seconds, input, now);
        self.act(outputs, now);
    }

    /// Whoever lives under the name answered, or nobody did.
    pub fn asked(&mut self, pong: Option<&Pong>, now: BootTime) {
        if let Phase::Claiming(takeover) = &mut self.phase {
            let verdict = takeover.answered(pong, now);
            self.judged(verdict, now);
        }
    }

    /// The last events were looked up.
    pub fn looked_up(&mut self, last: LastEvents) {
        self.last = Some(last);
    }

    /// The watch delivered something.
    pub fn watched(&mut self, item: Item, now: BootTime) {
        self.take(item, now);
        if !self.extensions.is_empty() && matches!(self.phase, Phase::Live) && !self.owed {
            // What was doubtful may be no more.
            self.extend_all();
        }
    }

    /// What stands under a placement's key was not written by a scheduler: as if it were not there.
    pub(crate) fn refused(&mut self, name: &InstanceId, why: &str, now: BootTime) {
        let Some(reason) = self.refusals.tell(name, why, now) else { return };
        tracing::warn!(%name, why, "refused a placement");
        let (worker, incarnation) = (self.worker().clone(), Some(self.hello.incarnation));
        let (change, reason) = (WorkerChange::Refused, Some(reason));
        self.deeds.push_back(Deed::Tell(WorkerFact {
            worker,
            change,
            reason,
            incarnation,
            dropped: None,
        }));
    }

    fn take(&mut self, item: Item, now: BootTime) {
        match self.placements.take(item) {
            None => {}
            Some(Change::Odd { key, why }) => tracing::warn!(key, why, "left an entry aside"),
            // Told once the list of signers was read again, and does not name him.
            Some(Change::Refused { stranger: true, .. }) => {}
            Some(Change::Refused { name, why, stranger: false }) => self.refused(&name, &why, now),
            Some(Change::Placed(name)) => self.placed(&name, now),
            Some(Change::Behind { name, why }) => {
                self.refused(&name, &why, now);
                self.placed(&name, now);
            }
            Some(Change::Unplaced(name)) => self.unplaced(name, now),
            Some(Change::Touched(seconds, seen)) => {
                if let Phase::Claiming(takeover) = &mut self.phase {
                    let verdict = takeover.seen(seconds, seen, now);
                    self.judged(verdict, now);
                } else {
                    let outputs = self.leases.tell(seconds, Input::Seen(seen), now);
                    self.act(outputs, now);
                }
            }
            Some(Change::CaughtUp) => self.caught_up(now),
            Some(Change::Reset) => {
                tracing::warn!(
                    "the bus has lost what it knew, or began anew; learning what is there"
                );
                self.lost = true;
                self.early.reset(self.could_live(now), now);
                self.remember_anew();
                self.phase = Phase::Learning;
                let outputs = self.leases.tell_all(&Input::Reset, now);
                self.act(outputs, now);
            }
        }
    }

    fn caught_up(&mut self, now: BootTime) {
        if !self.lost && self.placements.knows_more() {
            tracing::warn!("the bus has lost what it knew, or began anew, before this agent did");
            self.lost = true;
            self.early.reset(self.could_live(now), now);
            self.remember_anew();
        }
        if self.claimed {
            self.begin(now);
            let outputs = self.leases.tell_all(&Input::CaughtUp, now);
            self.act(outputs, now);
            return;
        }
        let mut takeover = Takeover::new(self.me.clone(), self.placements.touches());
        if let Some(holder) = takeover.holder() {
            let worker = self.worker();
            tracing::warn!(%worker, holder, "the name is held; waiting for its lease to expire");
        }
        let verdict = takeover.decide(now);
        self.phase = Phase::Claiming(takeover);
        self.judged(verdict, now);
    }

    /// Does what the claim came to.
    pub(crate) fn judged(&mut self, verdict: Verdict, now: BootTime) {
        match verdict {
            Verdict::Wait => {}
            Verdict::Granted => {
                self.claimed = true;
                self.begin(now);
            }
            Verdict::Ask => self.deeds.push_back(Deed::Ask),
            Verdict::Taken { by } => self.name_taken(by),
        }
    }

    /// Another worker holds the name: nothing more is said under it but what happened. The supervisor says
    /// so as an error, and the last error in the log is what somebody who started it is told.
    pub(crate) fn name_taken(&mut self, by: String) {
        tracing::info!(worker = %self.worker(), by, "the name is taken");
        self.deeds.push_back(Deed::StopStatuses);
        self.bar(ToSupervisor::NameTaken { by });
    }

    /// The bus cannot be used at all.
    pub fn unusable(&mut self, error: &Error) {
        tracing::info!(%error, "the bus cannot be used");
        self.bar(ToSupervisor::Unusable { why: error.to_string() });
    }

    fn bar(&mut self, last_word: ToSupervisor) {
        self.phase = Phase::Barred;
        self.leases.drop_all();
        self.extensions.clear();
        self.serves = false;
        self.deeds.push_back(Deed::Bar(last_word));
    }
}
