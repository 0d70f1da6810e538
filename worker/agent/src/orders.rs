//! What the supervisor is told: orders, and until when exclusive children may live. All of it goes
//! one way, in the order in which the watch delivered it: an extension never overtakes a placement
//! that was taken away before it (DESIGN.md section 5, rule 15).

use std::time::Duration;

use dsbus_schema::event::{Event, Fact, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::Placement;
use dsbus_supervisor::protocol::{Order, ToSupervisor};
use uuid::Uuid;

use crate::bus_side::{BusSide, Phase};
use crate::clock;
use crate::errands::{self, Seqs};
use crate::leases::Outputs;
use crate::run::Agent;
use crate::takeover;
use crate::touch::{Input, Output};

/// A server that is left because it did not answer is not left again within this time: several
/// leases may ask for it at once.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

impl BusSide {
    fn live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    fn order(&self, name: &InstanceId, placement: &Placement) -> Order {
        let last = self.seqs.as_ref().and_then(|seqs| seqs.get(name));
        let seq = last.filter(|(epoch, _)| *epoch == placement.epoch).map_or(0, |(_, seq)| *seq);
        Order { name: name.clone(), placement: placement.clone(), seq }
    }
}

impl Agent {
    /// The name is ours, and what is placed here is known: takes the leases, and looks up where
    /// the events of an earlier incarnation ended.
    pub(crate) fn begin(&mut self, now: BootTime) {
        let Some(online) = &self.bus.online else { return };
        let (bus, worker) = (online.bus.clone(), self.bus.worker().clone());
        self.bus.phase = Phase::Touching;
        let placed = self.bus.placements.placed().keys();
        let unknown: Vec<_> =
            placed.filter(|name| !self.bus.handed.contains(name)).cloned().collect();
        self.bus.seqs = unknown.is_empty().then(Seqs::new);
        if !unknown.is_empty() {
            self.errands.spawn(errands::look_up(bus.clone(), worker.clone(), unknown));
        }
        if self.bus.serving.is_none() && self.bus.served.is_none() {
            let serving = self.errands.spawn(errands::serve(bus, worker, self.bus.desk.clone()));
            self.bus.serving = Some(serving);
        }
        self.hold(now);
    }

    fn hold(&mut self, now: BootTime) {
        if matches!(self.bus.phase, Phase::Touching | Phase::Live) {
            let (classes, touches) = (self.bus.placements.classes(), &self.bus.placements);
            let outputs = self.bus.leases.hold(&classes, touches.touches(), now);
            self.act(outputs, now);
        }
    }

    /// A placement is new or changed.
    pub(crate) fn placed(&mut self, name: &InstanceId, now: BootTime) {
        if self.bus.live()
            && let Some(placement) = self.bus.placements.placed().get(name)
        {
            let order = self.bus.order(name, placement);
            self.command(ToSupervisor::Place { order: Box::new(order) });
            self.bus.handed(name.clone());
        }
        self.hold(now);
    }

    /// A placement was taken away.
    pub(crate) fn unplaced(&mut self, name: InstanceId, now: BootTime) {
        if self.bus.live() {
            self.command(ToSupervisor::Unplace { name });
        }
        self.hold(now);
    }

    fn command(&mut self, order: ToSupervisor) {
        // After one that was dropped all are, and a sync makes up for them.
        self.bus.owed = self.bus.owed || !self.link.say(order);
    }

    fn sync(&mut self) {
        let placed = self.bus.placements.placed();
        let orders = placed.iter().map(|(name, placement)| self.bus.order(name, placement));
        self.bus.owed = !self.link.say(ToSupervisor::Sync { orders: orders.collect() });
        self.bus.phase = Phase::Live;
        self.bus.handed.extend(placed.keys().cloned());
        for (seconds, until) in std::mem::take(&mut self.bus.extensions) {
            self.extend(seconds, until);
        }
    }

    fn extend(&mut self, seconds: u64, until: BootTime) {
        if self.bus.live() && !self.bus.owed {
            self.guards.extend(seconds, until);
            if !self.link.say(ToSupervisor::Lease { seconds, until }) {
                // It does not read: it is told everything anew, this included, when it does.
                self.bus.owed = true;
                self.bus.extensions.insert(seconds, until);
            }
        } else {
            self.bus.extensions.insert(seconds, until);
        }
    }

    /// Does what the leases say.
    pub(crate) fn act(&mut self, outputs: Outputs, now: BootTime) {
        let Some(online) = &self.bus.online else { return };
        let bus = online.bus.clone();
        for (seconds, output) in outputs {
            match output {
                Output::Send { attempt, sent, expect } => {
                    let (worker, touch) = (self.bus.worker(), self.bus.me.touch(attempt, sent));
                    let (bus, worker) = (bus.clone(), worker.clone());
                    self.errands.spawn(errands::touch(bus, worker, seconds, touch, expect));
                }
                Output::Extend { until } => self.extend(seconds, until),
                Output::ForceReconnect => {
                    if now.since(self.bus.reconnected) >= RECONNECT_INTERVAL {
                        tracing::warn!("the server does not answer; going to another one");
                        self.bus.reconnected = now;
                        self.errands.spawn(errands::reconnect(bus.clone()));
                    }
                }
                Output::NameTaken { touch } => self.name_taken(takeover::holder(&touch)),
                Output::Expired => tracing::warn!(seconds, "lost a lease; taking it anew"),
            }
        }
    }

    /// Does what time made due.
    pub(crate) fn tick(&mut self, now: BootTime) {
        let outputs = self.bus.leases.tell_all(&Input::Tick, now);
        self.act(outputs, now);
        self.look(now);
        match &mut self.bus.phase {
            Phase::Claiming(takeover) => {
                let verdict = takeover.decide(now);
                self.judged(verdict, now);
            }
            Phase::Touching if self.bus.seqs.is_some() && self.bus.leases.passed() => {
                self.sync();
                self.record(now);
                if !self.bus.told {
                    self.take_back_drain();
                }
                self.tell_start();
            }
            Phase::Live if self.bus.owed && self.link.idle() => self.sync(),
            _ => {}
        }
        self.tend_drain();
        if let Some(word) = self.bus.last_word.take()
            && !self.link.say(word.clone())
        {
            self.bus.last_word = Some(word);
        }
    }

    /// The supervisor answered a ping that was sent at `at`.
    pub(crate) fn supervisor_answered(&mut self, at: BootTime, now: BootTime) {
        self.bus.desk.supervisor_answered(at);
        let outputs = self.bus.leases.tell_all(&Input::SupervisorAnswered(at), now);
        self.act(outputs, now);
    }

    /// Somebody asks whether we live: shows it by touching.
    pub(crate) fn hurry(&mut self, now: BootTime) {
        let outputs = self.bus.leases.tell_all(&Input::Hurry, now);
        self.act(outputs, now);
    }

    fn tell_start(&mut self) {
        let Some(online) = &self.bus.online else { return };
        if std::mem::replace(&mut self.bus.told, true) {
            return;
        }
        let (worker, hello) = (self.bus.worker().clone(), &self.bus.hello);
        let (change, reason) = match hello.generation {
            0 | 1 => (WorkerChange::Started, None),
            n => (WorkerChange::AgentStarted, Some(format!("agent {n} of this supervisor"))),
        };
        let incarnation = Some(hello.incarnation);
        let fact = WorkerFact { worker: worker.clone(), change, reason, incarnation };
        let (source, fact) = (Source::Worker(worker), Fact::Worker(fact));
        let event = Event::new(online.bus.fleet(), &source, Uuid::now_v7(), clock::wall(), fact);
        tracing::info!(worker = %self.bus.worker(), "ready");
        self.errands.spawn(errands::tell(online.bus.clone(), source, event));
    }
}
