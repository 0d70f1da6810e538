//! Whole fleets on a virtual clock. The code that decides is dsbus's own: the planner and the
//! judge, the schedulers' core, the supervisor's table of instances and its fence, the agent's bus
//! side with its leases. Around it are a simulated bus with the failures of NATS that were measured,
//! simulated machines, and children that live and die.
//!
//! A seed says everything: [`run`] with the same seed does the same, step by step. A witness that
//! sees everything checks the invariants of DESIGN.md section 5 at every step, and at the end that
//! all is as wanted.
//!
//! That the witness would see it if a rule was missing is shown by [`Planted`]: `tests/planted.rs`
//! takes each rule out.

mod adapter;
mod agent;
mod bus;
mod commands;
mod dice;
mod disk;
mod end;
mod errands;
mod event;
mod faults;
mod jobs;
mod leaders;
mod link;
mod lives;
mod machine;
mod owners;
mod planted;
mod scheduler;
mod specs;
mod stream;
mod supervisor;
mod telling;
mod watch;
mod witness;
mod world;

use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

pub use planted::Planted;

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many workers.
    pub workers: usize,
    /// How many schedulers; the seed says.
    pub schedulers: usize,
    /// How many clients that give commands.
    pub clients: usize,
    /// What is wrong with dsbus.
    pub planted: Option<Planted>,
    /// Keep a trace.
    pub trace: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { workers: 3, schedulers: 3, clients: 2, planted: None, trace: false }
    }
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// An instance has at most one placement.
    OnePlacement,
    /// The epoch of an instance grows each time it is placed anew, and only then.
    EpochGrows,
    /// An exclusive instance never has two live children, but for a machine that was frozen.
    OneChild,
    /// After a machine thaws, its outdated children are dead within 50 ms.
    KilledAfterThaw,
    /// A command that was acknowledged is acted on.
    CommandsKept,
    /// The events of an instance are numbered without gaps, and no number is given twice.
    EventsGapless,
    /// Every place that an instance was given, and every command that was acknowledged, is told, and
    /// none is told twice.
    EventsTold,
    /// Nothing stops without cause.
    StopsWithCause,
    /// No worker is declared lost that could be reached all the time.
    NoNeedlessLoss,
    /// No instance is moved away from a worker that could be reached all the time.
    NoNeedlessMove,
    /// Of many workers that are silent at once, none is declared lost before twice its time.
    ManyWait,
    /// No lease expires of a worker that could touch.
    LeaseKept,
    /// No child is promised a life beyond its worker's lease.
    LeaseCovers,
    /// Once the faults are over, everything is as wanted within a bound.
    AsWanted,
}

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub invariant: Invariant,
    /// When, in nanoseconds since the run began.
    pub at: u64,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:.3} s: {}", self.invariant, seconds(self.at), self.what)
    }
}

/// What happened in a run, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events of the simulation.
    pub events: u64,
    /// Faults and ends of faults.
    pub faults: u64,
    /// Children that were started.
    pub births: u64,
    /// Instances that were moved in one batch.
    pub moves: u64,
    /// Verdicts that a lease is lost.
    pub losses: u64,
    /// Exclusive children that were stopped because their lease ended.
    pub fenced: u64,
    /// Commands that were given.
    pub commands: u64,
    /// Commands that were answered.
    pub acknowledged: u64,
    /// Writes that a stream refused.
    pub refused: u64,
    /// Actions of schedulers that lost a race.
    pub lost_races: u64,
    /// Events that arrived late, under a number that was given again meanwhile.
    pub late_events: u64,
    /// How long after the last fault all was as wanted, in nanoseconds.
    pub settled_after: u64,
    /// How often in a row all was well.
    well: u32,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// In numbers.
    pub counts: Counts,
    /// The first invariant that did not hold.
    pub failure: Option<Failure>,
    /// What happened, each with its time in nanoseconds since the run began; empty unless asked for.
    pub trace: Vec<(u64, String)>,
}

/// Runs a fleet.
pub fn run(seed: u64, setup: &Setup) -> Outcome {
    let mut world = world::World::new(seed, setup.clone());
    world.run();
    let trace = world.trace.into_iter().collect();
    Outcome { counts: world.counts, failure: world.failure, trace }
}

/// Runs fleets on all cores until one fails; the first seed that does, and how.
pub fn search(seeds: Range<u64>, setup: &Setup) -> Option<(u64, Failure)> {
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(None::<(u64, Failure)>));
    let lock = || found.lock().unwrap_or_else(PoisonError::into_inner);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let earlier = lock().as_ref().is_some_and(|(first, _)| *first < seed);
                    if seed >= seeds.end || earlier {
                        return;
                    }
                    if let Some(failure) = run(seed, setup).failure {
                        let mut found = lock();
                        if found.as_ref().is_none_or(|(first, _)| seed < *first) {
                            *found = Some((seed, failure));
                        }
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Nanoseconds as seconds, for people.
#[expect(clippy::cast_precision_loss, reason = "for people, to the millisecond")]
pub fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
