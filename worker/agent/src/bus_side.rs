//! Where the agent stands with the bus, step by step: connected, having learned what is there,
//! having claimed its name, holding its leases, live. Only then does the supervisor get orders.
//! What happens at each step is in `claim` and `orders`.
//!
//! Pure: it takes what happened, and leaves what is to be done in a queue of [`Deed`]s, which the
//! loop carries out at once, in this order. The simulation runs it on a virtual clock.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use dsbus_client::{Item, Signers};
use dsbus_schema::call::Inventory;
use dsbus_schema::event::WorkerFact;
use dsbus_schema::ids::{FleetName, InstanceId, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::Placement;
use dsbus_schema::touch::Touch;
use dsbus_schema::worker::{Facts, Worker};
use dsbus_supervisor::protocol::{Hello, LastEvent, ToSupervisor};

use crate::early::Early;
use crate::identity::Identity;
use crate::leases::Leases;
use crate::placements::Placements;
use crate::refusals::Refusals;
use crate::takeover::Takeover;
use crate::touch::Omitted;

/// Longest text about what is refused, in characters: whoever forges entries chooses what they say.
const REFUSES_MAX: usize = 512;

/// The last event of each instance.
pub type LastEvents = BTreeMap<InstanceId, LastEvent>;

/// How far it has come.
#[derive(Debug)]
pub enum Phase {
    /// No connection was made yet, or no bucket.
    Offline,
    /// The watch tells what is there.
    Learning,
    /// Somebody may hold the name.
    Claiming(Takeover),
    /// The name is ours; the leases are being taken.
    Touching,
    /// The supervisor has its orders, and gets changes as they come.
    Live,
    /// Another worker holds the name, or the bus cannot be used.
    Barred,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Watch the worker's keys.
    Watch,
    /// Ask whoever lives under the name, and answer with [`BusSide::asked`].
    Ask,
    /// Look up the last events about these instances, and answer with [`BusSide::looked_up`].
    LookUp(Vec<InstanceId>),
    /// Answer calls from now on.
    Serve,
    /// Send a touch, and answer with [`BusSide::touched`].
    Touch {
        /// Which lease.
        seconds: u64,
        /// What to write.
        touch: Touch,
        /// The sequence that must stand there.
        expect: u64,
    },
    /// Tell the supervisor. When it does not read, tell [`BusSide::dropped`].
    Say(ToSupervisor),
    /// Children of this lease may live until then: both enforcers must know. Where something was
    /// dropped since the last sync, or this is, tell [`BusSide::postponed`].
    Extend {
        /// Which lease.
        seconds: u64,
        /// Until when.
        until: BootTime,
    },
    /// Write what [`BusSide::record`] says.
    Record,
    /// Publish this of the worker.
    Tell(WorkerFact),
    /// The server does not answer: go to another one.
    Reconnect,
    /// Another worker holds the name: statuses are no longer ours to write.
    StopStatuses,
    /// What was told of instances may be lost: write it again, after the record, without which it is
    /// taken for that of an earlier run.
    WriteAgain {
        /// The bus began anew, and may tell of instances that are not here any more.
        anew: bool,
    },
    /// Watch, answer and write no more, and tell the supervisor this, as soon as it reads.
    Bar(ToSupervisor),
}

/// The lease, in seconds, by which an exclusive instance may live that is to run and does not rest; `None`
/// of any other one.
pub(crate) fn lives_by(placement: &Placement) -> Option<u64> {
    let runs = placement.spec.exclusive && placement.wanted.run && placement.rest.is_none();
    runs.then(|| placement.spec.touch_seconds())
}

/// The bus side of the agent.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct BusSide {
    pub(crate) hello: Hello,
    pub(crate) me: Identity,
    pub(crate) phase: Phase,
    pub(crate) placements: Placements,
    pub(crate) leases: Leases,
    /// Instances that this supervisor knows; it counts their events by itself. With it the lease, in
    /// seconds, by which an exclusive one may live that it is to run.
    pub(crate) handed: BTreeMap<InstanceId, Option<u64>>,
    /// Until when children may live by each lease, as the supervisor was told last.
    pub(crate) live_until: BTreeMap<u64, BootTime>,
    /// So many instances that the supervisor has, or has let go, are still to be told.
    pub(crate) untold: usize,
    /// The buckets are there, and what is in them is to be learned once these are told.
    pub(crate) learns: bool,
    /// The supervisor remembers what the next agent must know.
    pub(crate) remembers: bool,
    /// What is placed here, and is not to be started yet.
    pub(crate) early: Early,
    /// The bus has lost what it knew, and this worker has not told it all again.
    pub(crate) lost: bool,
    /// The last events of an earlier incarnation; `None` while they are looked up.
    pub(crate) last: Option<LastEvents>,
    pub(crate) watching: bool,
    /// Calls are answered, or about to be.
    pub(crate) serves: bool,
    /// The name was found free, or taken over.
    pub(crate) claimed: bool,
    /// The start was told on the bus.
    pub(crate) told: bool,
    /// Extensions that wait until the supervisor has the orders that are older.
    pub(crate) extensions: BTreeMap<u64, BootTime>,
    /// An order was dropped because the supervisor did not read: it needs all of them anew.
    pub(crate) owed: bool,
    pub(crate) reconnected: BootTime,
    /// What was refused, and is told.
    pub(crate) refusals: Refusals,
    /// What is refused now, as the record says it.
    pub(crate) refuses: Option<String>,
    pub(crate) deeds: VecDeque<Deed>,
}

impl BusSide {
    /// Not connected yet.
    pub fn new(mut hello: Hello, me: Identity, now: BootTime) -> BusSide {
        let remembers = hello.memory.is_some();
        let memory = hello.memory.take().unwrap_or_default();
        BusSide {
            phase: Phase::Offline,
            placements: Placements::new(hello.worker.clone()).known(memory.epochs),
            leases: Leases::new(me.clone(), hello.generation, now),
            // Which of them it is to run is told of those that it holds.
            handed: hello.children.iter().map(|child| (child.name.clone(), None)).collect(),
            live_until: hello.leases.iter().copied().collect(),
            untold: hello.held + memory.let_go,
            learns: false,
            remembers,
            early: memory.anew.map(Early::told).unwrap_or_default(),
            lost: false,
            last: None,
            watching: false,
            serves: false,
            claimed: false,
            told: false,
            extensions: BTreeMap::new(),
            owed: false,
            reconnected: BootTime(0),
            refusals: Refusals::default(),
            refuses: None,
            deeds: VecDeque::new(),
            hello,
            me,
        }
    }

    /// Obeys only what these have signed in this fleet.
    #[must_use]
    pub fn signed_by(mut self, fleet: FleetName, signers: Signers) -> BusSide {
        self.placements = self.placements.signed_by(fleet, signers);
        self
    }

    /// Whether something is signed by nobody who is known.
    pub fn meets_strangers(&self) -> bool {
        self.placements.meets_strangers()
    }

    /// From now on these count.
    pub fn trust(&mut self, signers: Signers, now: BootTime) {
        for entry in self.placements.trust(signers) {
            self.watched(Item::Entry(entry), now);
        }
        for (name, why) in self.placements.still_strange() {
            self.refused(&name, &why, now);
        }
    }

    /// Notes in the record what is refused now; `trouble` is why the list of those who count cannot be
    /// used.
    pub fn note_refused(&mut self, trouble: Option<&str>) {
        let list = trouble.map(|why| format!("whoever is new in its file of signers: {why}"));
        let all: Vec<String> = list.into_iter().chain(self.placements.distrusts()).collect();
        let refuses = (!all.is_empty()).then(|| {
            let all = all.join("; ");
            all.chars().take(REFUSES_MAX).collect::<String>()
        });
        if refuses != self.refuses {
            self.refuses = refuses;
            if self.told {
                self.deeds.push_back(Deed::Record);
            }
        }
    }

    /// Leaves rules out; only a simulation does that.
    #[doc(hidden)]
    #[must_use]
    pub fn without(mut self, omitted: Omitted) -> BusSide {
        self.leases.omit(omitted);
        self
    }

    /// The next thing to do.
    pub fn next_deed(&mut self) -> Option<Deed> {
        self.deeds.pop_front()
    }

    /// How far it has come.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The worker's name.
    pub fn worker(&self) -> &WorkerName {
        &self.hello.worker
    }

    /// Which agent of this run of the supervisor it is.
    pub fn generation(&self) -> u64 {
        self.hello.generation
    }

    /// The supervisor has this instance, as an earlier agent told it.
    pub fn held(&mut self, name: InstanceId, placement: Placement) {
        self.handed.insert(name.clone(), lives_by(&placement));
        self.placements.held(name, placement);
        self.one_told();
    }

    /// The supervisor has stopped this exclusive instance, because the bus had lost its placement.
    pub fn let_go(&mut self, name: InstanceId, placement: Placement) {
        self.handed(name.clone());
        self.placements.let_go(name, placement);
        self.one_told();
    }

    fn one_told(&mut self) {
        self.untold = self.untold.saturating_sub(1);
        if self.learns {
            self.learn();
        }
    }

    /// What the worker has: see [`Placements::inventory`].
    pub fn inventory(
        &self,
        after: Option<&InstanceId>,
        pid: impl Fn(&InstanceId) -> Option<i32>,
    ) -> Inventory {
        self.placements.inventory(after, pid)
    }

    /// Instances that run here although the bus has lost their placements.
    pub fn adrift(&self) -> &BTreeMap<InstanceId, Placement> {
        self.placements.adrift()
    }

    /// The supervisor knows this instance.
    pub fn handed(&mut self, name: InstanceId) {
        self.handed.entry(name).or_default();
    }

    /// Exclusive instances that may live here at this moment: nobody else has started them, for their
    /// lease is alive, and it is not extended before a move is heard of that was made while it was not.
    pub(crate) fn could_live(&self, now: BootTime) -> BTreeSet<InstanceId> {
        let alive = |seconds: &u64| self.live_until.get(seconds).is_some_and(|until| now < *until);
        let may = self.handed.iter().filter(|(_, lease)| lease.as_ref().is_some_and(alive));
        may.map(|(name, _)| name.clone()).collect()
    }

    /// How often the supervisor is asked whether it lives.
    pub fn ping_interval(&self) -> Duration {
        self.leases.ping()
    }

    /// When time alone makes a difference.
    pub fn deadline(&self, now: BootTime) -> Option<BootTime> {
        match &self.phase {
            Phase::Claiming(takeover) => takeover.deadline(),
            Phase::Touching | Phase::Live => {
                self.leases.deadline(now).into_iter().chain(self.early.deadline()).min()
            }
            Phase::Offline | Phase::Learning | Phase::Barred => None,
        }
    }

    /// Whether the start was told on the bus.
    pub fn told(&self) -> bool {
        self.told
    }

    /// The worker is about to stop, and gives away what it has first.
    pub fn drain(&mut self) {
        self.hello.draining = true;
        if self.told {
            self.deeds.push_back(Deed::Record);
        }
    }

    /// What the worker tells about itself, by the agent with this process id.
    pub fn record(&self, agent_pid: i32, facts: Facts) -> Worker {
        let (me, hello) = (&self.me, &self.hello);
        Worker {
            name: hello.worker.clone(),
            machine: me.machine.clone(),
            boot: me.boot,
            directory: me.directory.clone(),
            host: me.host.clone(),
            incarnation: me.incarnation,
            agent_pid,
            supervisor_pid: hello.supervisor_pid,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: hello.started,
            facilities: hello.facilities.clone(),
            labels: hello.labels.clone(),
            capacity: hello.capacity,
            seal_key: hello.seal_key.clone(),
            facts,
            policy: hello.policy.clone(),
            refuses: self.refuses.clone(),
            draining: hello.draining,
            stopping: hello.stopping,
        }
    }
}
