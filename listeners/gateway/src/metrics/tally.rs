//! What is counted of events. Pure.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use dsbus_client::Meter;
use dsbus_schema::event::{
    Event, Fact, Kind, MoveCause, PlacementChange, PlacementFact, ProcessFact, ProgramChange,
    WorkerChange,
};
use dsbus_schema::ids::{Epoch, InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::State;

/// Failovers that are measured at once, and what one might begin or end with: instances that are FATAL
/// or up, and workers that are lost. Of more the durations are not measured; they are counted all the same.
const MEASURED_MAX: usize = 20_000;

/// Upper bounds of the buckets of failovers, in microseconds: a lease is 2 s to some minutes long.
const FAILOVER_BOUNDS_US: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_000_000,
    3_000_000,
    5_000_000,
    7_500_000,
    10_000_000,
    15_000_000,
    30_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
];

/// Causes that make a move a failover: nobody asked for it.
pub(super) const FAILOVERS: [MoveCause; 2] = [MoveCause::WorkerLost, MoveCause::InstanceFatal];

/// An instance that is not up again yet.
#[derive(Debug)]
struct Failing {
    cause: MoveCause,
    epoch: Epoch,
    from: Option<WorkerName>,
    /// When it was known to be down.
    since: Timestamp,
}

/// An instance that is up. Workers and schedulers tell each for itself: that it is RUNNING may be
/// told before its move is.
#[derive(Debug, Clone, Copy)]
struct Up {
    epoch: Epoch,
    at: Timestamp,
    /// When it had become FATAL before.
    fatal: Option<Timestamp>,
}

/// All counters.
#[derive(Debug)]
pub(super) struct Tally {
    /// By kind and type.
    pub(super) events: BTreeMap<(&'static str, String), u64>,
    /// By program.
    pub(super) restarts: BTreeMap<ProgramName, u64>,
    /// By program and cause.
    pub(super) moves: BTreeMap<(ProgramName, MoveCause), u64>,
    /// By cause, in the order of [`FAILOVERS`].
    pub(super) took: [Meter; 2],
    /// Events that were not heard.
    pub(super) missed: u64,
    failing: BTreeMap<InstanceId, Failing>,
    fatal: BTreeMap<InstanceId, Timestamp>,
    up: BTreeMap<InstanceId, Up>,
    lost: BTreeMap<WorkerName, Timestamp>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            events: BTreeMap::new(),
            restarts: BTreeMap::new(),
            moves: BTreeMap::new(),
            took: [Meter::new(FAILOVER_BOUNDS_US), Meter::new(FAILOVER_BOUNDS_US)],
            missed: 0,
            failing: BTreeMap::new(),
            fatal: BTreeMap::new(),
            up: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }
}

/// Notes something, where there is room.
fn note<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V) {
    if map.len() < MEASURED_MAX || map.contains_key(&key) {
        map.insert(key, value);
    }
}

impl Tally {
    /// Counts an event. `last_touch` tells when a worker last touched, as far as that is known.
    pub(super) fn count(
        &mut self,
        event: &Event,
        last_touch: impl Fn(&WorkerName) -> Option<Timestamp>,
    ) {
        let kind = Kind::of(&event.data);
        // Users make types up, without end.
        let name = if kind == Kind::User { "" } else { event.data.type_name() };
        *self.events.entry((kind.name(), name.to_owned())).or_default() += 1;
        match &event.data {
            Fact::Process(fact) => self.process(fact, event.time, last_touch),
            Fact::Placement(fact) => self.placement(fact, event.time, last_touch),
            Fact::Worker(fact) => match fact.change {
                WorkerChange::Lost => note(&mut self.lost, fact.worker.clone(), event.time),
                WorkerChange::Back | WorkerChange::Started => drop(self.lost.remove(&fact.worker)),
                WorkerChange::AgentStarted
                | WorkerChange::Stopping
                | WorkerChange::Stopped
                | WorkerChange::Awaited
                | WorkerChange::Fenced
                | WorkerChange::NameTaken
                | WorkerChange::EventsDropped
                | WorkerChange::EventsUnsaved
                | WorkerChange::Refused
                | WorkerChange::Cordoned
                | WorkerChange::Draining
                | WorkerChange::Drained
                | WorkerChange::Uncordoned
                | WorkerChange::SecretChanged
                | WorkerChange::Upgraded
                | WorkerChange::UpgradeFailed => {}
            },
            Fact::Program(fact) if fact.change == ProgramChange::Removed => {
                self.restarts.remove(&fact.program);
                self.moves.retain(|(program, _), _| *program != fact.program);
                self.failing.retain(|name, _| name.program != fact.program);
                self.fatal.retain(|name, _| name.program != fact.program);
                self.up.retain(|name, _| name.program != fact.program);
            }
            Fact::Program(_)
            | Fact::Notice(_)
            | Fact::Output(_)
            | Fact::Rollout(_)
            | Fact::Group(_)
            | Fact::Command(_)
            | Fact::Scheduler(_)
            | Fact::Tick(_)
            | Fact::User(_)
            | Fact::Listener(_) => {}
        }
    }

    fn process(
        &mut self,
        fact: &ProcessFact,
        at: Timestamp,
        last_touch: impl Fn(&WorkerName) -> Option<Timestamp>,
    ) {
        match fact.state {
            // The first event under a placement is its first start.
            State::Starting if fact.seq > 1 => {
                *self.restarts.entry(fact.name.program.clone()).or_default() += 1;
            }
            State::Running => {
                let fatal = self.fatal.remove(&fact.name);
                // The first word of each epoch, and no late word of one that is over.
                let is_known =
                    |up: &Up| up.epoch == fact.epoch || up.epoch > fact.epoch && up.at > at;
                if !self.up.get(&fact.name).is_some_and(is_known) {
                    note(&mut self.up, fact.name.clone(), Up { epoch: fact.epoch, at, fatal });
                }
                if let Some(failing) = self.failing.remove(&fact.name) {
                    self.up(&fact.name, failing, (fact.epoch, at), last_touch);
                }
            }
            State::Fatal => note(&mut self.fatal, fact.name.clone(), at),
            // It is at its end, or nobody wants it to run any more.
            State::Exited | State::Stopped => {
                let failing = self.failing.get(&fact.name);
                if failing.is_some_and(|failing| failing.epoch <= fact.epoch) {
                    self.failing.remove(&fact.name);
                }
                self.fatal.remove(&fact.name);
            }
            State::Starting
            | State::Pending
            | State::Backoff
            | State::Stopping
            | State::Unknown => {}
        }
    }

    /// An instance that was moved is RUNNING.
    fn up(
        &mut self,
        name: &InstanceId,
        failing: Failing,
        (epoch, at): (Epoch, Timestamp),
        last_touch: impl Fn(&WorkerName) -> Option<Timestamp>,
    ) {
        if epoch < failing.epoch {
            // A late word of where it was.
            self.failing.insert(name.clone(), failing);
            return;
        }
        let mut since = failing.since;
        if failing.cause == MoveCause::WorkerLost
            && let Some(touched) = failing.from.as_ref().and_then(last_touch)
        {
            // A worker that is back has touched since.
            since = since.min(touched);
        }
        if let Some(meter) = FAILOVERS.iter().position(|cause| *cause == failing.cause) {
            self.took[meter].add(at.since(since));
        }
    }

    fn placement(
        &mut self,
        fact: &PlacementFact,
        at: Timestamp,
        last_touch: impl Fn(&WorkerName) -> Option<Timestamp>,
    ) {
        match fact.change {
            PlacementChange::Moved => {
                let cause = fact.move_cause();
                *self.moves.entry((fact.name.program.clone(), cause)).or_default() += 1;
                let up = self.up.get(&fact.name).copied().filter(|up| up.epoch >= fact.epoch);
                let fatal = self.fatal.remove(&fact.name).or(up.and_then(|up| up.fatal));
                if !FAILOVERS.contains(&cause) {
                    self.failing.remove(&fact.name);
                    return;
                }
                let lost = fact.from.as_ref().and_then(|worker| self.lost.get(worker).copied());
                let since = match cause {
                    MoveCause::InstanceFatal => fatal.unwrap_or(at),
                    MoveCause::WorkerLost
                    | MoveCause::Drain
                    | MoveCause::Balance
                    | MoveCause::Change => lost.unwrap_or(at),
                };
                let (from, epoch) = (fact.from.clone(), fact.epoch);
                let failing = match self.failing.remove(&fact.name) {
                    // It fell twice, and is down since it fell first.
                    Some(before) => Failing { epoch, ..before },
                    None => Failing { cause, epoch, from, since: since.min(at) },
                };
                match up {
                    Some(up) => self.up(&fact.name, failing, (up.epoch, up.at), last_touch),
                    None => note(&mut self.failing, fact.name.clone(), failing),
                }
            }
            PlacementChange::Removed => {
                self.failing.remove(&fact.name);
                self.up.remove(&fact.name);
            }
            PlacementChange::Placed => {}
        }
    }
}
