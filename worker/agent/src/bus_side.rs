//! Where the agent stands with the bus, step by step: connected, having learned what is there,
//! having claimed its name, holding its leases, live. Only then does the supervisor get orders.
//! What happens at each step is in [`crate::claim`] and [`crate::orders`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dsbus_client::{Bus, Served, Watch};
use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_supervisor::protocol::{Hello, ToSupervisor};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::calls::Desk;
use crate::errands::Seqs;
use crate::facts::Watched;
use crate::facts::look::Fixed;
use crate::identity::Identity;
use crate::leases::Leases;
use crate::placements::Placements;
use crate::takeover::Takeover;

/// The connection, once there is one.
pub(crate) struct Online {
    pub(crate) bus: Bus,
    pub(crate) connections: watch::Receiver<u64>,
    pub(crate) watch: Option<Watch>,
    /// It was gone when last looked at.
    pub(crate) lost: bool,
}

/// How far it has come.
pub(crate) enum Phase {
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

/// How far the worker is with giving its instances away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Nobody asks for it.
    Not,
    /// The schedulers are to be asked.
    Wanted,
    /// They are being asked.
    Asking,
    /// They do it.
    Going,
    /// The supervisor was told that it is done.
    Told,
}

/// The bus side of the agent.
pub(crate) struct BusSide {
    pub(crate) online: Option<Online>,
    pub(crate) hello: Hello,
    pub(crate) me: Identity,
    pub(crate) desk: Arc<Desk>,
    pub(crate) phase: Phase,
    pub(crate) placements: Placements,
    pub(crate) leases: Leases,
    /// Instances that this supervisor knows; it counts their events by itself.
    pub(crate) handed: BTreeSet<InstanceId>,
    /// What the last events said; `None` while they are looked up.
    pub(crate) seqs: Option<Seqs>,
    /// The name was found free, or taken over.
    pub(crate) claimed: bool,
    /// The start was told on the bus.
    pub(crate) told: bool,
    /// Extensions that wait until the supervisor has the orders that are older.
    pub(crate) extensions: BTreeMap<u64, BootTime>,
    /// An order was dropped because the supervisor did not read: it needs all of them anew.
    pub(crate) owed: bool,
    /// Something that the supervisor must hear, until it fits.
    pub(crate) last_word: Option<ToSupervisor>,
    pub(crate) served: Option<Served>,
    pub(crate) serving: Option<AbortHandle>,
    pub(crate) recording: Option<AbortHandle>,
    pub(crate) reconnected: BootTime,
    pub(crate) drain: Drain,
    /// What has to leave before it is done.
    pub(crate) leaving: BTreeSet<InstanceId>,
    /// The machine.
    pub(crate) watched: Watched,
}

impl BusSide {
    /// Not connected yet.
    pub(crate) fn new(hello: Hello, me: Identity, desk: Arc<Desk>, now: BootTime) -> BusSide {
        desk.supervisor_answered(now);
        BusSide {
            online: None,
            phase: Phase::Offline,
            placements: Placements::new(hello.worker.clone()),
            leases: Leases::new(me.clone(), hello.generation, now),
            handed: hello.children.iter().map(|child| child.name.clone()).collect(),
            seqs: None,
            claimed: false,
            told: false,
            extensions: BTreeMap::new(),
            owed: false,
            last_word: None,
            served: None,
            serving: None,
            recording: None,
            reconnected: BootTime(0),
            leaving: BTreeSet::new(),
            drain: if hello.draining { Drain::Wanted } else { Drain::Not },
            watched: Watched::new(Fixed::look()),
            hello,
            me,
            desk,
        }
    }

    /// The worker's name.
    pub(crate) fn worker(&self) -> &WorkerName {
        &self.hello.worker
    }

    /// The supervisor knows this instance.
    pub(crate) fn handed(&mut self, name: InstanceId) {
        self.handed.insert(name);
    }

    /// Whether the worker's record is being written.
    pub(crate) fn recording(&self) -> bool {
        self.recording.is_some()
    }

    /// How often the supervisor is asked whether it lives.
    pub(crate) fn ping_interval(&self) -> Duration {
        self.leases.ping()
    }

    /// When time alone makes a difference.
    pub(crate) fn deadline(&self, now: BootTime) -> Option<BootTime> {
        match &self.phase {
            Phase::Claiming(takeover) => takeover.deadline(),
            Phase::Touching | Phase::Live => self.leases.deadline(now),
            Phase::Offline | Phase::Learning | Phase::Barred => None,
        }
    }
}
