//! What schedulers and workers count of themselves. Each tells it to whoever asks `$SRV.STATS` of NATS
//! micro services, as the `data` of one of its endpoints ([`SCHEDULER_ENDPOINT`], [`WORKER_ENDPOINT`]).
//! Counters begin at 0 with the process, and never fall.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{FleetName, Incarnation, WorkerName};

/// The endpoint of a scheduler whose `data` is [`SchedulerStats`].
pub const SCHEDULER_ENDPOINT: &str = "status";
/// The endpoint of a worker whose `data` is [`WorkerStats`].
pub const WORKER_ENDPOINT: &str = "ping";

/// Upper bounds of the buckets in which daemons count durations, in microseconds: from a write on one
/// machine to an answer that nobody waits for.
pub const DURATION_BOUNDS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000,
];

/// Durations, counted in buckets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Durations {
    /// Upper bounds of the buckets, in microseconds, each greater than the one before. What is longer
    /// than all of them is in a last bucket without one.
    pub bounds_us: Vec<u64>,
    /// How many durations are in each bucket, and in no lower one: one number more than bounds.
    pub counts: Vec<u64>,
    /// All durations added up, in microseconds.
    pub sum_us: u64,
}

/// What a scheduler counts of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedulerStats {
    /// Its fleet.
    pub fleet: FleetName,
    /// Its id.
    pub scheduler: String,
    /// Which run of it this is: counters of another one began anew.
    pub run: Uuid,
    /// Events that it told, and that are stored.
    pub events_stored: u64,
    /// Events that it has still to tell.
    pub events_queued: u64,
    /// Events that it dropped: they could not be stored for too long, or never.
    pub events_dropped: u64,
    /// How long touches took that were acknowledged.
    pub touches: Durations,
    /// Touches that were not acknowledged.
    pub touches_failed: u64,
    /// How long plans took, each with the look at the invariants before it.
    pub plans: Durations,
}

/// What a worker's agent counts of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerStats {
    /// Its fleet.
    pub fleet: FleetName,
    /// Its name.
    pub worker: WorkerName,
    /// The supervisor's run.
    pub incarnation: Incarnation,
    /// Which agent of that run this is: counters of another one began anew.
    pub agent: u64,
    /// Events that it told, and that are stored.
    pub events_stored: u64,
    /// Reports that it has and that are not on the bus yet. Its supervisor hands over a limited number
    /// at once; more than that wait on the worker's disk, and are not counted here.
    pub events_queued: u64,
    /// Events that were dropped, by it or by its supervisor, as far as that was told in an event
    /// `EVENTS_DROPPED`.
    pub events_dropped: u64,
    /// How long touches took that were acknowledged, of all its leases.
    pub touches: Durations,
    /// Touches that were not acknowledged.
    pub touches_failed: u64,
}
