//! What this agent counts of its worker, and tells whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsbus_client::Meter;
use dsbus_schema::event::{Event, Fact};
use dsbus_schema::ids::{FleetName, Incarnation, WorkerName};
use dsbus_schema::stats::{DURATION_BOUNDS_US, WorkerStats};

/// Counters; shared.
#[derive(Debug)]
pub(crate) struct Counts {
    fleet: FleetName,
    worker: WorkerName,
    incarnation: Incarnation,
    agent: u64,
    touches: Meter,
    touches_failed: AtomicU64,
    events_stored: AtomicU64,
    events_queued: AtomicU64,
    events_dropped: AtomicU64,
}

impl Counts {
    /// All zero, of this agent of a run of a worker.
    pub(crate) fn new(
        fleet: FleetName,
        worker: WorkerName,
        (incarnation, agent): (Incarnation, u64),
    ) -> Counts {
        Counts {
            fleet,
            worker,
            incarnation,
            agent,
            touches: Meter::new(DURATION_BOUNDS_US),
            touches_failed: AtomicU64::new(0),
            events_stored: AtomicU64::new(0),
            events_queued: AtomicU64::new(0),
            events_dropped: AtomicU64::new(0),
        }
    }

    /// A touch was acknowledged after so long; or it was not.
    pub(crate) fn touched(&self, took: Option<Duration>) {
        match took {
            Some(took) => self.touches.add(took),
            None => drop(self.touches_failed.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// An event is stored. One that tells of dropped events is all that is known of them here.
    pub(crate) fn stored(&self, event: &Event) {
        self.events_stored.fetch_add(1, Ordering::Relaxed);
        if let Fact::Worker(fact) = &event.data
            && let Some(dropped) = &fact.dropped
        {
            self.events_dropped.fetch_add(dropped.events, Ordering::Relaxed);
        }
    }

    /// So many reports are not on the bus yet.
    pub(crate) fn waiting(&self, reports: usize) {
        self.events_queued.store(reports as u64, Ordering::Relaxed);
    }

    /// All of it.
    pub(crate) fn read(&self) -> WorkerStats {
        WorkerStats {
            fleet: self.fleet.clone(),
            worker: self.worker.clone(),
            incarnation: self.incarnation,
            agent: self.agent,
            events_stored: self.events_stored.load(Ordering::Relaxed),
            events_queued: self.events_queued.load(Ordering::Relaxed),
            events_dropped: self.events_dropped.load(Ordering::Relaxed),
            touches: self.touches.read(),
            touches_failed: self.touches_failed.load(Ordering::Relaxed),
        }
    }
}
