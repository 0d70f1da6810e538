//! What the supervisor is told: orders, and until when exclusive children may live. All of it goes
//! one way, in the order in which the watch delivered it: an extension never overtakes a placement
//! that was taken away before it (DESIGN.md section 5, rule 15). Pure.

use std::time::Duration;

use dsbus_schema::event::{WorkerChange, WorkerFact};
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::Placement;
use dsbus_schema::worker::{Capacity, Labels, PolicyFacts};
use dsbus_supervisor::protocol::{Order, ToSupervisor};

use crate::bus_side::{BusSide, Deed, LastEvents, Phase, lives_by};
use crate::leases::Outputs;
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
        let last = self.last.as_ref().and_then(|last| last.get(name)).cloned();
        Order { name: name.clone(), placement: placement.clone(), last }
    }

    /// When the bus began anew is for the next agent to know, too.
    pub(crate) fn remember_anew(&mut self) {
        if let Some(anew) = self.early.anew().filter(|_| self.remembers) {
            self.say(ToSupervisor::Anew(anew));
        }
    }

    fn say(&mut self, message: ToSupervisor) {
        self.deeds.push_back(Deed::Say(message));
    }

    /// The name is ours, and what is placed here is known: takes the leases, and looks up where
    /// the events of an earlier incarnation ended.
    pub(crate) fn begin(&mut self, now: BootTime) {
        self.phase = Phase::Touching;
        let placed = self.placements.placed().keys();
        let unknown: Vec<_> =
            placed.filter(|name| !self.handed.contains_key(name)).cloned().collect();
        self.last = unknown.is_empty().then(LastEvents::new);
        if !unknown.is_empty() {
            self.deeds.push_back(Deed::LookUp(unknown));
        }
        if !std::mem::replace(&mut self.serves, true) {
            self.deeds.push_back(Deed::Serve);
        }
        self.hold(now);
    }

    fn hold(&mut self, now: BootTime) {
        if matches!(self.phase, Phase::Touching | Phase::Live) {
            let (classes, touches) = (self.placements.classes(), self.placements.touches());
            let outputs = self.leases.hold(&classes, touches, now);
            self.act(outputs, now);
        }
    }

    /// A placement is new or changed.
    pub(crate) fn placed(&mut self, name: &InstanceId, now: BootTime) {
        if self.live()
            && let Some(placement) = self.placements.placed().get(name)
            && !self.early.waits(name, placement, now)
        {
            let (order, lease) = (self.order(name, placement), lives_by(placement));
            if self.early.begins(name, placement) {
                self.remember_anew();
            }
            self.say(ToSupervisor::Place { order: Box::new(order) });
            self.handed.insert(name.clone(), lease);
        }
        self.hold(now);
    }

    /// A placement was taken away.
    pub(crate) fn unplaced(&mut self, name: InstanceId, now: BootTime) {
        self.early.gone(&name);
        self.handed.remove(&name);
        // Should it come back, its last events are of this incarnation.
        if let Some(last) = &mut self.last {
            last.remove(&name);
        }
        if self.live() {
            self.say(ToSupervisor::Unplace { name });
        }
        self.hold(now);
    }

    /// The supervisor did not read something: after one that was dropped all are, and a sync makes
    /// up for them.
    pub fn dropped(&mut self) {
        self.owed = true;
    }

    /// An extension was not told, because the supervisor does not read, or did not read something
    /// that is older: it is told with everything else when it does.
    pub fn postponed(&mut self, seconds: u64, until: BootTime) {
        self.owed = true;
        self.extensions.insert(seconds, until);
    }

    /// Whether something was not told since the last sync.
    pub fn owes(&self) -> bool {
        self.owed
    }

    fn sync(&mut self, now: BootTime) {
        let placed = self.placements.placed();
        let early = &mut self.early;
        let now_due = placed.iter().filter(|(name, placement)| !early.waits(name, placement, now));
        let now_due: Vec<_> = now_due.collect();
        for (name, placement) in &now_due {
            self.early.begins(name, placement);
        }
        let orders = now_due.iter().map(|(name, placement)| self.order(name, placement)).collect();
        let leases: Vec<_> = now_due
            .iter()
            .map(|(name, placement)| ((*name).clone(), lives_by(placement)))
            .collect();
        // What waits is let go, too, where the supervisor has it still: it is stopped or stays so, whatever
        // lease is extended meanwhile, and its epoch is not over.
        let mut let_go = self.placements.names_let_go();
        let_go.extend(self.early.waiting().cloned());
        for (_, lease) in self.handed.iter_mut().filter(|(name, _)| let_go.contains(*name)) {
            *lease = None;
        }
        self.handed.extend(leases);
        self.owed = false;
        self.phase = Phase::Live;
        let adrift = self.placements.adrift().len();
        if adrift > 0 {
            tracing::warn!(
                adrift,
                "the bus has lost the placements of instances that run here; they go on; dsbus recover \
                 tells it of them"
            );
        }
        // Again, should it have been dropped.
        self.remember_anew();
        let keep = self.placements.unknown();
        self.say(ToSupervisor::Sync { orders, keep, let_go: Some(let_go) });
        self.extend_all();
    }

    /// Tells extensions that had to wait.
    pub(crate) fn extend_all(&mut self) {
        for (seconds, until) in std::mem::take(&mut self.extensions) {
            self.extend(seconds, until);
        }
    }

    fn extend(&mut self, seconds: u64, until: BootTime) {
        // What may have been moved away is not to live longer: whoever forged its key may have written
        // over the move.
        if self.live() && !self.owed && !self.placements.doubts(seconds) {
            self.live_until.insert(seconds, until);
            self.deeds.push_back(Deed::Extend { seconds, until });
        } else {
            self.extensions.insert(seconds, until);
        }
    }

    /// Does what the leases say.
    pub(crate) fn act(&mut self, outputs: Outputs, now: BootTime) {
        for (seconds, output) in outputs {
            match output {
                Output::Send { attempt, sent, expect } => {
                    let touch = self.me.touch(attempt, sent);
                    self.deeds.push_back(Deed::Touch { seconds, touch, expect });
                }
                Output::Extend { until } => self.extend(seconds, until),
                Output::ForceReconnect => {
                    if now.since(self.reconnected) >= RECONNECT_INTERVAL {
                        tracing::warn!("the server does not answer; going to another one");
                        self.reconnected = now;
                        self.deeds.push_back(Deed::Reconnect);
                    }
                }
                Output::NameTaken { touch } => self.name_taken(takeover::holder(&touch)),
                Output::Expired => tracing::warn!(seconds, "lost a lease; taking it anew"),
            }
        }
    }

    /// Does what time made due. The supervisor is `idle` when it has read all that was said.
    pub fn tick(&mut self, idle: bool, now: BootTime) {
        let outputs = self.leases.tell_all(&Input::Tick, now);
        self.act(outputs, now);
        match &mut self.phase {
            Phase::Claiming(takeover) => {
                let verdict = takeover.decide(now);
                self.judged(verdict, now);
            }
            Phase::Touching if self.last.is_some() && self.leases.passed() => {
                self.sync(now);
                self.deeds.push_back(Deed::Record);
                let anew = std::mem::take(&mut self.lost);
                // Of what an earlier agent told, this one does not know whether the bus has it.
                if anew || (!self.told && self.hello.generation > 1) {
                    self.deeds.push_back(Deed::WriteAgain { anew });
                }
                self.tell_start();
            }
            Phase::Live if self.owed && idle => self.sync(now),
            _ => {}
        }
        if self.live() {
            for name in self.early.due(now) {
                self.placed(&name, now);
            }
        }
    }

    /// The supervisor answered a ping that was sent at `at`.
    pub fn supervisor_answered(&mut self, at: BootTime, now: BootTime) {
        let outputs = self.leases.tell_all(&Input::SupervisorAnswered(at), now);
        self.act(outputs, now);
    }

    /// Somebody asks whether we live: shows it by touching.
    pub fn hurry(&mut self, now: BootTime) {
        let outputs = self.leases.tell_all(&Input::Hurry, now);
        self.act(outputs, now);
    }

    /// The worker was told to stop. Its leases are held until its children are gone, and then left
    /// to expire, so that a worker that is back soon takes them over.
    pub fn stopping(&mut self, reason: &str) {
        tracing::info!(reason, "stopping");
        self.hello.stopping = true;
        if self.told {
            self.deeds.push_back(Deed::Record);
        }
    }

    /// What the worker's owner says of it has changed.
    pub fn described(&mut self, labels: Labels, capacity: Capacity, policy: Option<PolicyFacts>) {
        let hello = &mut self.hello;
        if (&hello.labels, hello.capacity, &hello.policy) == (&labels, capacity, &policy) {
            return;
        }
        (hello.labels, hello.capacity, hello.policy) = (labels, capacity, policy);
        if self.told {
            self.deeds.push_back(Deed::Record);
        }
    }

    fn tell_start(&mut self) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let (change, reason) = match self.hello.generation {
            0 | 1 => (WorkerChange::Started, None),
            n => (WorkerChange::AgentStarted, Some(format!("agent {n} of this supervisor"))),
        };
        let incarnation = Some(self.hello.incarnation);
        let worker = self.worker().clone();
        tracing::info!(%worker, "ready");
        let fact = WorkerFact { worker, change, reason, incarnation, dropped: None };
        self.deeds.push_back(Deed::Tell(fact));
    }
}
