//! Carries out what the bus side wants done, and tells it what came of it. No decisions here.

use dsbus_client::{Bus, Item, Watch};
use dsbus_schema::event::{Event, Fact, Source};
use dsbus_schema::moment::BootTime;
use dsbus_schema::storage::{Bucket, worker_keys};
use dsbus_schema::worker::{Capacity, Labels, PolicyFacts};
use dsbus_supervisor::protocol::ToSupervisor;
use tokio::sync::watch;
use uuid::Uuid;

use crate::bus_side::Deed;
use crate::clock;
use crate::errands::{self, Done};
use crate::run::Agent;
use crate::stale;

/// The connection, once there is one.
pub(crate) struct Online {
    pub(crate) bus: Bus,
    pub(crate) connections: watch::Receiver<u64>,
    pub(crate) watch: Option<Watch>,
    /// Of its secrets.
    pub(crate) secrets: Watch,
    /// It was gone when last looked at.
    pub(crate) lost: bool,
}

impl Agent {
    /// An errand has ended.
    pub(crate) fn errand_done(&mut self, done: Done, now: BootTime) {
        match done {
            Done::Connected(Ok(bus)) => self.connected(bus),
            Done::Connected(Err(error)) => self.side.unusable(&error),
            Done::Provisioned(Ok(())) => self.side.learn(),
            // Who has children does not stop them for what somebody else did to a bucket.
            Done::Provisioned(Err(error)) if self.childless => self.side.unusable(&error),
            Done::Provisioned(Err(error)) => tracing::error!(%error, "this bus cannot be used"),
            Done::Touched { seconds, attempt, result } => {
                self.side.touched(seconds, attempt, result, now);
            }
            Done::Asked(pong) => self.side.asked(pong.as_ref(), now),
            Done::LookedUp(last) => self.side.looked_up(last),
            Done::Served(served) => {
                self.served = self.serving.take().map(|_| served);
            }
            Done::Reported(outcome) => self.publisher.done(&outcome),
            Done::Recorded => {
                // What has ended may be an older one than the one that is being written now.
                if self.recording.take_if(|writing| writing.is_finished()).is_some() {
                    self.recorded();
                    if let Some(anew) = self.statuses_lost.take() {
                        self.publisher.write_again();
                        if anew {
                            self.forget_stale();
                        }
                    }
                }
            }
            Done::Looked(slow) => self.watched.seen_slowly(slow, now),
            Done::Probed { number, trouble } => {
                // One that is dropped is asked again.
                self.link.say(ToSupervisor::Probed { number, trouble });
            }
            Done::Followed => self.followed = Some(true),
            Done::Nothing => {}
        }
        self.carry_out();
    }

    fn forget_stale(&mut self) {
        let Some(online) = &self.online else { return };
        let placements = &self.side.placements;
        let here = placements.placed().keys().chain(placements.adrift().keys());
        let known = here.chain(self.publisher.known()).cloned().collect();
        let (bus, worker) = (online.bus.clone(), self.side.worker().clone());
        self.errands.spawn(stale::forget(bus, worker, known));
    }

    fn connected(&mut self, bus: Bus) {
        tracing::info!(worker = %self.side.worker(), "connected to the bus");
        let mut connections = bus.connections();
        connections.mark_unchanged();
        self.errands.spawn(errands::provision(bus.clone()));
        let worker = self.side.worker();
        let (keys, name) = (worker_keys(worker), format!("secrets-{worker}"));
        let secrets = bus.watch(Bucket::Secrets, &keys, &name);
        self.online = Some(Online { bus, connections, watch: None, secrets, lost: false });
        if self.side.generation() > 1 {
            // The first agent looked after the buckets; its successors' leases do not wait for it.
            self.side.learn();
        }
    }

    /// The connection came or went, or both.
    pub(crate) fn connection(&mut self, now: BootTime) {
        let Some(online) = &mut self.online else { return };
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
        self.side.connection(connected, now);
        self.carry_out();
    }

    /// Does all that is to be done now.
    pub(crate) fn carry_out(&mut self) {
        while let Some(deed) = self.side.next_deed() {
            self.do_one(deed);
        }
    }

    fn do_one(&mut self, deed: Deed) {
        let Some(online) = &mut self.online else {
            // Before there is a bus, all that can come is that it cannot be used.
            if let Deed::Bar(word) = deed {
                self.last_word = Some(word);
            }
            return;
        };
        let (bus, worker) = (online.bus.clone(), self.side.worker().clone());
        match deed {
            Deed::Watch => {
                let (keys, name) = (worker_keys(&worker), format!("worker-{worker}"));
                online.watch = Some(bus.watch(Bucket::Fleet, &keys, &name));
            }
            Deed::Ask => drop(self.errands.spawn(errands::ask(bus, worker))),
            Deed::LookUp(names) => {
                self.errands.spawn(errands::look_up(bus, worker, names));
            }
            Deed::Serve => {
                let serving = errands::serve(bus, worker, self.desk.clone());
                self.serving = Some(self.errands.spawn(serving));
            }
            Deed::Touch { seconds, touch, expect } => {
                self.errands.spawn(errands::touch(
                    bus,
                    worker,
                    seconds,
                    touch,
                    expect,
                    self.desk.clone(),
                ));
            }
            Deed::Say(message) => {
                if !self.link.say(message) {
                    self.side.dropped();
                }
            }
            Deed::Extend { seconds, until } => self.extend(seconds, until),
            Deed::Record => self.record(clock::now()),
            Deed::Tell(fact) => {
                let (source, fact) = (Source::Worker(worker), Fact::Worker(fact));
                let id = Uuid::now_v7();
                let event = Event::new(bus.fleet(), &source, id, clock::wall(), fact);
                self.errands.spawn(errands::tell(bus, source, event, self.desk.clone()));
            }
            Deed::Reconnect => drop(self.errands.spawn(errands::reconnect(bus))),
            Deed::StopStatuses => self.publisher.stop_statuses(),
            Deed::WriteAgain { anew } => {
                self.statuses_lost = Some(anew || self.statuses_lost == Some(true));
            }
            Deed::Bar(word) => self.bar(word),
        }
    }

    fn extend(&mut self, seconds: u64, until: BootTime) {
        if self.side.owes() {
            return self.side.postponed(seconds, until);
        }
        self.guards.extend(seconds, until);
        if !self.link.say(ToSupervisor::Lease { seconds, until }) {
            self.side.postponed(seconds, until);
        }
    }

    fn bar(&mut self, last_word: ToSupervisor) {
        self.served = None;
        self.desk.bulk.end();
        for errand in [self.serving.take(), self.recording.take()].into_iter().flatten() {
            errand.abort();
        }
        if let Some(online) = &mut self.online {
            online.watch = None;
        }
        self.last_word = Some(last_word);
    }

    /// Does what time made due.
    pub(crate) fn tick(&mut self, now: BootTime) {
        self.side.tick(self.link.idle(), now);
        self.meet_signers(now);
        self.carry_out();
        self.look(now);
        self.tend_drain();
        if let Some(word) = self.last_word.take()
            && !self.link.say(word.clone())
        {
            self.last_word = Some(word);
        }
    }

    /// The supervisor answered a ping that was sent at `at`.
    pub(crate) fn supervisor_answered(&mut self, at: BootTime, now: BootTime) {
        self.desk.supervisor_answered(at);
        self.side.supervisor_answered(at, now);
        self.carry_out();
    }

    /// The watch delivered something.
    pub(crate) fn watched(&mut self, item: Item, now: BootTime) {
        self.side.watched(item, now);
        self.carry_out();
    }

    /// Somebody asks whether we live.
    pub(crate) fn hurry(&mut self, now: BootTime) {
        self.side.hurry(now);
        self.carry_out();
    }

    /// The worker was told to stop.
    pub(crate) fn stopping(&mut self, reason: &str) {
        self.side.stopping(reason);
        self.carry_out();
    }

    /// What the worker's owner says of it has changed.
    pub(crate) fn described(
        &mut self,
        labels: Labels,
        capacity: Capacity,
        policy: Option<PolicyFacts>,
    ) {
        self.side.described(labels, capacity, policy);
        self.carry_out();
    }
}
