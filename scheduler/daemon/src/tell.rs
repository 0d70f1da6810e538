//! What schedulers tell, so that each event comes at least once, whoever dies, and nobody says it
//! twice:
//!
//! 1. Whoever folds an entry that a scheduler wrote derives its events ([`mod@derive`]), under ids that
//!    stand on the entry: all derive the same.
//! 2. The one that wrote it tells them, through its outbox ([`queue`]).
//! 3. The others keep them in mind ([`ledger`]) for a while, and for [`RECENT`] while the writer's
//!    touches say that it has events untold; so many at most, and what is given up is counted.
//! 4. When the writer's lease ends, they tell them. NATS drops what it has by its id.
//! 5. Who starts does the same for what was written in the last minutes, if its writer is
//!    gone.
//!
//! Commands are told before they are answered; time is told by all ([`ticks`]).

pub(crate) mod audit;
pub mod derive;
pub mod ledger;
pub(crate) mod outbox;
pub(crate) mod past;
pub mod queue;
pub mod ticks;

use std::time::Duration;

use dsbus_schema::event::{Event, Fact, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::{FleetName, WorkerName};
use dsbus_schema::moment::Timestamp;
use uuid::Uuid;

/// What was written longer ago is not told by anybody else than its writer: NATS forgets ids after
/// [`dsbus_schema::storage::EVENTS_DUPLICATE_WINDOW`], and this leaves a minute for the way.
pub const RECENT: Duration = Duration::from_secs(540);

/// An event that is to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The same, whoever tells it.
    pub id: Uuid,
    /// When it happened, by the clock of NATS where it stands on an entry.
    pub time: Timestamp,
    /// What.
    pub fact: Fact,
    /// Whether it may have been told longer ago than NATS remembers ids.
    pub check: Check,
}

/// How to find out that an event was told already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// By its id: NATS does it.
    Id,
    /// By the events about the place of the same instance.
    Instance,
    /// By its id, among the events of its kind since then.
    Since(Timestamp),
    /// The same; and any that tells as much of the same scheduler or worker is it, too: the marker
    /// that its id stands on is not known to all, or has gone since.
    LikeSince(Timestamp),
}

impl Told {
    /// An event whose id stands on these words.
    pub fn new(fleet: &FleetName, words: &str, time: Timestamp, fact: Fact) -> Told {
        Told { id: id(fleet, words), time, fact, check: Check::Id }
    }

    /// Something happened to a worker. Every scheduler reaches its own verdict; `seq`, the sequence
    /// of the marker, touch or goal that it stands on, makes their events one.
    pub fn worker(
        fleet: &FleetName,
        (worker, change): (&WorkerName, WorkerChange),
        seq: u64,
        time: Timestamp,
        reason: &str,
    ) -> Told {
        let words = format!("{worker}/{change:?}/{seq}");
        let (worker, reason) = (worker.clone(), Some(reason.to_owned()));
        let fact = WorkerFact { worker, change, reason, incarnation: None, dropped: None };
        Told::new(fleet, &words, time, Fact::Worker(fact))
    }

    /// As it is published.
    pub(crate) fn event(&self, fleet: &FleetName) -> Event {
        Event::new(fleet, &Source::Fleet, self.id, self.time, self.fact.clone())
    }
}

fn id(fleet: &FleetName, words: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{fleet}/{words}").as_bytes())
}
