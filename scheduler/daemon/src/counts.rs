//! What this scheduler counts of itself, and tells whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};

use dsbus_client::Meter;
use dsbus_schema::ids::FleetName;
use dsbus_schema::stats::{DURATION_BOUNDS_US, SchedulerStats};
use uuid::Uuid;

/// Counters; shared.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Touches that were acknowledged.
    pub(crate) touches: Meter,
    /// Plans.
    pub(crate) plans: Meter,
    touches_failed: AtomicU64,
    events_stored: AtomicU64,
}

impl Counts {
    /// All zero.
    pub(crate) fn new() -> Counts {
        Counts {
            touches: Meter::new(DURATION_BOUNDS_US),
            plans: Meter::new(DURATION_BOUNDS_US),
            touches_failed: AtomicU64::new(0),
            events_stored: AtomicU64::new(0),
        }
    }

    /// A touch was not acknowledged.
    pub(crate) fn touch_failed(&self) {
        self.touches_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// An event is stored that this scheduler told.
    pub(crate) fn event_stored(&self) {
        self.events_stored.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it, with how many events wait to be told, and how many were dropped ever.
    pub(crate) fn read(
        &self,
        fleet: &FleetName,
        (id, run): (&str, Uuid),
        (queued, dropped): (u64, u64),
    ) -> SchedulerStats {
        SchedulerStats {
            fleet: fleet.clone(),
            scheduler: id.to_owned(),
            run,
            events_stored: self.events_stored.load(Ordering::Relaxed),
            events_queued: queued,
            events_dropped: dropped,
            touches: self.touches.read(),
            touches_failed: self.touches_failed.load(Ordering::Relaxed),
            plans: self.plans.read(),
        }
    }
}
