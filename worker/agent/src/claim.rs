//! The way from no connection to a name of our own, and the end of it when it is another's.

use dsbus_client::{Bus, Error, Item};
use dsbus_schema::moment::BootTime;
use dsbus_schema::storage::{Bucket, worker_keys};
use dsbus_supervisor::protocol::ToSupervisor;

use crate::bus_side::{Drain, Online, Phase};
use crate::errands::{self, Done};
use crate::placements::Change;
use crate::run::Agent;
use crate::takeover::{Takeover, Verdict};
use crate::touch::Input;

impl Agent {
    /// An errand has ended.
    pub(crate) fn errand_done(&mut self, done: Done, now: BootTime) {
        match done {
            Done::Connected(Ok(bus)) => self.connected(bus),
            Done::Connected(Err(error)) => self.unusable(&error),
            Done::Provisioned(Ok(())) => self.learn(),
            // Who has children does not stop them for what somebody else did to a bucket.
            Done::Provisioned(Err(error)) if self.bus.hello.children.is_empty() => {
                self.unusable(&error);
            }
            Done::Provisioned(Err(error)) => tracing::error!(%error, "this bus cannot be used"),
            Done::Touched { seconds, attempt, result } => {
                let input = match result {
                    Ok(seq) => Input::Acked { attempt, seq },
                    Err(Error::LostRace { .. }) => Input::LostRace { attempt },
                    Err(Error::Timeout) => Input::TimedOut { attempt },
                    Err(error) => {
                        tracing::debug!(seconds, %error, "failed to touch");
                        Input::Failed { attempt }
                    }
                };
                let outputs = self.bus.leases.tell(seconds, input, now);
                self.act(outputs, now);
            }
            Done::Asked(pong) => {
                if let Phase::Claiming(takeover) = &mut self.bus.phase {
                    let verdict = takeover.answered(pong.as_ref(), now);
                    self.judged(verdict, now);
                }
            }
            Done::LookedUp(seqs) => self.bus.seqs = Some(seqs),
            Done::Served(served) => {
                self.bus.served = self.bus.serving.take().map(|_| served);
            }
            Done::Reported(outcome) => self.publisher.done(&outcome),
            Done::Recorded => {
                // What has ended may be an older one than the one that is being written now.
                self.bus.recording.take_if(|writing| writing.is_finished());
            }
            Done::DrainBegun => self.bus.drain = Drain::Going,
            Done::Looked(slow) => self.bus.watched.seen_slowly(slow, now),
            Done::Probed { number, trouble } => {
                // One that is dropped is asked again.
                self.link.say(ToSupervisor::Probed { number, trouble });
            }
            Done::Nothing => {}
        }
    }

    fn connected(&mut self, bus: Bus) {
        tracing::info!(worker = %self.bus.worker(), "connected to the bus");
        let mut connections = bus.connections();
        connections.mark_unchanged();
        self.errands.spawn(errands::provision(bus.clone()));
        self.bus.online = Some(Online { bus, connections, watch: None, lost: false });
        if self.bus.hello.generation > 1 {
            // The first agent looked after the buckets; its successors' leases do not wait for it.
            self.learn();
        }
    }

    fn learn(&mut self) {
        let worker = self.bus.worker().clone();
        let Some(online) = &mut self.bus.online else { return };
        if online.watch.is_none() && matches!(self.bus.phase, Phase::Offline) {
            let (keys, name) = (worker_keys(&worker), format!("worker-{worker}"));
            online.watch = Some(online.bus.watch(Bucket::Fleet, &keys, &name));
            self.bus.phase = Phase::Learning;
        }
    }

    /// The connection came or went, or both.
    pub(crate) fn connection(&mut self, now: BootTime) {
        let Some(online) = &mut self.bus.online else { return };
        let connected = online.bus.connected();
        if connected {
            if online.lost {
                tracing::info!("connected to the bus again");
            }
            self.publisher.write_again();
        } else if !online.lost {
            tracing::warn!("lost the bus");
        }
        online.lost = !connected;
        let input = if connected { Input::Reconnected } else { Input::Disconnected };
        let outputs = self.bus.leases.tell_all(&input, now);
        self.act(outputs, now);
    }

    /// The watch delivered something.
    pub(crate) fn watched(&mut self, item: Item, now: BootTime) {
        match self.bus.placements.take(item) {
            None => {}
            Some(Change::Odd { key, why }) => tracing::warn!(key, why, "left an entry aside"),
            Some(Change::Placed(name)) => self.placed(&name, now),
            Some(Change::Unplaced(name)) => self.unplaced(name, now),
            Some(Change::Touched(seconds, seen)) => {
                if let Phase::Claiming(takeover) = &mut self.bus.phase {
                    let verdict = takeover.seen(seconds, seen, now);
                    self.judged(verdict, now);
                } else {
                    let outputs = self.bus.leases.tell(seconds, Input::Seen(seen), now);
                    self.act(outputs, now);
                }
            }
            Some(Change::CaughtUp) => self.caught_up(now),
            Some(Change::Reset) => {
                tracing::warn!("the bus began anew; learning what is there");
                self.bus.phase = Phase::Learning;
                let outputs = self.bus.leases.tell_all(&Input::Reset, now);
                self.act(outputs, now);
            }
        }
    }

    fn caught_up(&mut self, now: BootTime) {
        if self.bus.claimed {
            self.begin(now);
            let outputs = self.bus.leases.tell_all(&Input::CaughtUp, now);
            self.act(outputs, now);
            return;
        }
        let mut takeover = Takeover::new(self.bus.me.clone(), self.bus.placements.touches());
        if let Some(holder) = takeover.holder() {
            let worker = self.bus.worker();
            tracing::warn!(%worker, holder, "the name is held; waiting for its lease to expire");
        }
        let verdict = takeover.decide(now);
        self.bus.phase = Phase::Claiming(takeover);
        self.judged(verdict, now);
    }

    /// Does what the claim came to.
    pub(crate) fn judged(&mut self, verdict: Verdict, now: BootTime) {
        match verdict {
            Verdict::Wait => {}
            Verdict::Granted => {
                self.bus.claimed = true;
                self.begin(now);
            }
            Verdict::Ask => {
                if let Some(online) = &self.bus.online {
                    self.errands.spawn(errands::ask(online.bus.clone(), self.bus.worker().clone()));
                }
            }
            Verdict::Taken { by } => self.name_taken(by),
        }
    }

    /// Another worker holds the name: nothing more is said under it but what happened.
    pub(crate) fn name_taken(&mut self, by: String) {
        tracing::error!(worker = %self.bus.worker(), by, "the name is taken");
        self.publisher.stop_statuses();
        self.bar(ToSupervisor::NameTaken { by });
    }

    fn unusable(&mut self, error: &Error) {
        tracing::error!(%error, "the bus cannot be used");
        self.bar(ToSupervisor::Unusable { why: error.to_string() });
    }

    fn bar(&mut self, last_word: ToSupervisor) {
        self.bus.phase = Phase::Barred;
        self.bus.leases.drop_all();
        self.bus.extensions.clear();
        self.bus.served = None;
        for errand in [self.bus.serving.take(), self.bus.recording.take()].into_iter().flatten() {
            errand.abort();
        }
        if let Some(online) = &mut self.bus.online {
            online.watch = None;
        }
        self.bus.last_word = Some(last_word);
    }
}
