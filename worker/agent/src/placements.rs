//! What the watch on `<worker>.>` says, folded: which instances are placed here, and what stands
//! under the touch keys. Pure.
//!
//! Invariant: a placement ends by a word, and never by silence. NATS keeps the tombstone of each
//! placement that was taken away; so where nothing stands under a key, or only what is older than the
//! instance that runs here, the bus has lost what it knew. Such an instance is adrift: it goes on, until
//! the bus names it again. One that is exclusive does not, unless it rests, and so has nothing to stop: it
//! may be placed elsewhere by now.
//! Where the bus names it as it was earlier under its epoch, it stays as it is until something newer comes:
//! nothing that was told under one epoch is ever taken back (see `behind.rs`).

mod behind;
mod inventory;
mod seal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use dsbus_client::{Entry, Item, Signers, Value};
use dsbus_schema::ids::{Epoch, FleetName, InstanceId, WorkerName};
use dsbus_schema::placement::{Placement, Removal};
use dsbus_schema::program::TOUCH_TIMEOUT_MAX;
use dsbus_schema::storage::FleetKey;
use dsbus_schema::touch::{PRESENCE_SECONDS, Touch};
use dsbus_supervisor::protocol::Turns;

use crate::identity::Identity;
use crate::touch::Seen;

/// What an item of the watch changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A placement is new, or says something else now.
    Placed(InstanceId),
    /// A placement was taken away.
    Unplaced(InstanceId),
    /// Something stands under the touch key of so many seconds.
    Touched(u64, Seen),
    /// All that there is was delivered.
    CaughtUp,
    /// Everything before this is void.
    Reset,
    /// What stands there is of an earlier time than what is here: this stays as it is.
    Behind {
        /// The instance.
        name: InstanceId,
        /// What tells that.
        why: String,
    },
    /// An entry under a placement's key was not written by a scheduler of this fleet, or was once and is
    /// written again: what was placed stays.
    Refused {
        /// The instance.
        name: InstanceId,
        /// Why.
        why: String,
        /// Its signer is not known, and may be once his list was read again.
        stranger: bool,
    },
    /// An entry makes no sense, and is left aside.
    Odd {
        /// Its key.
        key: String,
        /// Why.
        why: String,
    },
}

/// Why what stands under a key does not count.
#[derive(Debug)]
struct Doubt {
    why: String,
    /// The scheduler that wrote it, as it says.
    by: Option<String>,
    /// The entry, where its signer is not known, and may be soon.
    stranger: Option<Entry>,
    /// It was told that he is not.
    told: bool,
}

/// Instances that are doubtful at once, besides those that are placed here: each has a key of its own
/// on the bus, which somebody forged.
const DOUBTS_MAX: usize = 4096;
/// Most of what is refused that the worker's record names: one slip has one reason.
const DISTRUSTS_MAX: usize = 3;

/// What is placed here.
#[derive(Debug)]
pub struct Placements {
    worker: WorkerName,
    placed: BTreeMap<InstanceId, Placement>,
    /// What the supervisor has, and the bus has not named since it began anew.
    adrift: BTreeMap<InstanceId, Placement>,
    /// Exclusive instances that were stopped because they were adrift.
    let_go: BTreeMap<InstanceId, Placement>,
    /// What the bus places here under an epoch that is lower than is known here.
    refused: BTreeMap<InstanceId, Placement>,
    /// Those of `placed` that the bus has as they were earlier: it is to be told of them.
    behind: BTreeSet<InstanceId>,
    /// Something that was there is of an earlier time than what is known here.
    outdated: bool,
    /// All that there was has been delivered: what comes now is new.
    caught_up: bool,
    /// The lowest epoch under which each may begin here. Of instances that are not here,
    /// [`EPOCHS_KEPT_MAX`](dsbus_supervisor::protocol::EPOCHS_KEPT_MAX) at most.
    highest: BTreeMap<InstanceId, Epoch>,
    /// In which order these were taken away.
    turns: Turns,
    touches: BTreeMap<u64, Seen>,
    fleet: FleetName,
    /// Whose placements count.
    signers: Signers,
    /// What the last write about each instance was signed with: an older one that is written again is
    /// known by it.
    written: BTreeMap<InstanceId, u64>,
    /// Instances under whose keys something stands that does not count.
    doubts: BTreeMap<InstanceId, Doubt>,
}

impl Placements {
    /// Nothing yet.
    pub fn new(worker: WorkerName) -> Placements {
        Placements {
            worker,
            placed: BTreeMap::new(),
            adrift: BTreeMap::new(),
            let_go: BTreeMap::new(),
            refused: BTreeMap::new(),
            behind: BTreeSet::new(),
            outdated: false,
            caught_up: false,
            highest: BTreeMap::new(),
            turns: Turns::default(),
            touches: BTreeMap::new(),
            fleet: FleetName::default(),
            signers: Signers::Off,
            written: BTreeMap::new(),
            doubts: BTreeMap::new(),
        }
    }

    /// The same, which counts what these have signed in this fleet only.
    #[must_use]
    pub fn signed_by(self, fleet: FleetName, signers: Signers) -> Placements {
        Placements { fleet, signers, ..self }
    }

    /// The same, which knows that epochs below these are over; the latest is told first.
    #[must_use]
    pub fn known(mut self, epochs: Vec<(InstanceId, Epoch)>) -> Placements {
        for (name, epoch) in epochs.into_iter().rev() {
            self.turns.note(&name);
            self.highest.insert(name, epoch);
        }
        self
    }

    /// From now on these count. Gives what was refused because its signer was not known, to be taken
    /// again.
    pub fn trust(&mut self, signers: Signers) -> Vec<Entry> {
        if signers == self.signers {
            return Vec::new();
        }
        self.signers = signers;
        self.doubts.values_mut().filter_map(|doubt| doubt.stranger.take()).collect()
    }

    /// What is refused because its signer is not known, after his list was read again; each once.
    pub fn still_strange(&mut self) -> Vec<(InstanceId, String)> {
        let strangers = self.doubts.iter_mut().filter(|(_, doubt)| doubt.stranger.is_some());
        let tell = |(name, doubt): (&InstanceId, &mut Doubt)| {
            let untold = !std::mem::replace(&mut doubt.told, true);
            untold.then(|| (name.clone(), doubt.why.clone()))
        };
        strangers.filter_map(tell).collect()
    }

    /// What is refused now, for people: of each writer and reason the first instance.
    pub fn distrusts(&self) -> Vec<String> {
        let mut first = BTreeMap::new();
        for (name, doubt) in &self.doubts {
            first.entry((&doubt.by, &doubt.why)).or_insert(name);
        }
        let told = first.into_iter().take(DISTRUSTS_MAX).map(|((by, why), name)| match by {
            Some(by) => format!("what {by} writes of {name}: {why}"),
            None => format!("what stands on the bus of {name}: {why}"),
        });
        told.collect()
    }

    /// Whether something stands here that is signed by nobody who is known.
    pub fn meets_strangers(&self) -> bool {
        self.doubts.values().any(|doubt| doubt.stranger.is_some())
    }

    /// Instances that may be placed here or not: what stands under their keys does not count, or they
    /// are adrift.
    pub fn unknown(&self) -> BTreeSet<InstanceId> {
        let unknown = self.doubts.keys().filter(|name| !self.placed.contains_key(*name));
        unknown.chain(self.adrift().keys()).cloned().collect()
    }

    /// The supervisor has this instance, as an earlier agent told it.
    pub fn held(&mut self, name: InstanceId, placement: Placement) {
        let highest = self.highest.entry(name.clone()).or_default();
        *highest = placement.epoch.max(*highest);
        if !self.placed.contains_key(&name) {
            self.adrift.insert(name, placement);
        }
    }

    /// The supervisor has stopped this exclusive instance, as an earlier agent told it.
    pub fn let_go(&mut self, name: InstanceId, placement: Placement) {
        let highest = self.highest.entry(name.clone()).or_default();
        *highest = placement.epoch.max(*highest);
        self.let_go.insert(name, placement);
    }

    /// Exclusive instances that were stopped because they were adrift.
    pub fn names_let_go(&self) -> BTreeSet<InstanceId> {
        self.let_go.keys().cloned().collect()
    }

    /// Whether what was there, now that all of it was delivered, is less than what is known here: the bus
    /// has lost something, or has gone back in time.
    pub fn knows_more(&self) -> bool {
        self.outdated || !self.adrift.is_empty()
    }

    /// Instances that run here although the bus has lost their placements; none, before all that there
    /// is was delivered.
    pub fn adrift(&self) -> &BTreeMap<InstanceId, Placement> {
        const NONE: &BTreeMap<InstanceId, Placement> = &BTreeMap::new();
        if self.caught_up { &self.adrift } else { NONE }
    }

    /// Whether it is doubtful that an exclusive instance which lives by this lease is still placed here:
    /// a move that took it away may have been written over.
    pub fn doubts(&self, seconds: u64) -> bool {
        self.doubts.keys().any(|name| match self.placed.get(name) {
            Some(placed) => placed.spec.exclusive && placed.spec.touch_seconds() == seconds,
            None => true,
        })
    }

    /// The placements.
    pub fn placed(&self) -> &BTreeMap<InstanceId, Placement> {
        &self.placed
    }

    /// What stands under the touch keys, by seconds.
    pub fn touches(&self) -> &BTreeMap<u64, Seen> {
        &self.touches
    }

    /// The leases this worker must hold: its presence, and one for each distinct `touch_timeout`.
    pub fn classes(&self) -> BTreeSet<u64> {
        let asked = self.placed.values().map(|placement| placement.spec.touch_seconds());
        let possible = asked.filter(|seconds| (1..=TOUCH_TIMEOUT_MAX).contains(seconds));
        possible.chain([PRESENCE_SECONDS]).collect()
    }

    /// Takes an item in; says what it changed, if anything.
    pub fn take(&mut self, item: Item) -> Option<Change> {
        match item {
            Item::CaughtUp => {
                self.caught_up = true;
                // Silence may mean that they were moved. What rests has nothing to stop.
                let (let_go, adrift) =
                    std::mem::take(&mut self.adrift).into_iter().partition(|(_, placement)| {
                        placement.spec.exclusive && placement.rest.is_none()
                    });
                self.adrift = adrift;
                self.let_go.extend::<BTreeMap<_, _>>(let_go);
                Some(Change::CaughtUp)
            }
            Item::Reset => {
                self.caught_up = false;
                self.adrift.append(&mut self.placed);
                self.touches.clear();
                self.refused.clear();
                self.behind.clear();
                self.outdated = false;
                self.written.clear();
                self.doubts.clear();
                Some(Change::Reset)
            }
            Item::Entry(entry) => match FleetKey::parse(&entry.key) {
                Some(FleetKey::Placement(worker, name)) if worker == self.worker => {
                    self.placement(name, &entry)
                }
                Some(FleetKey::Touch(worker, seconds)) if worker == self.worker => {
                    Some(self.touch(seconds, &entry))
                }
                Some(_) => None,
                None => Some(odd(&entry, &"is not a key of dsbus")),
            },
        }
    }

    fn placement(&mut self, name: InstanceId, entry: &Entry) -> Option<Change> {
        if let Err((why, again)) = self.check(&name, entry) {
            if self.placed.contains_key(&name) || self.doubts.len() < DOUBTS_MAX {
                let (stranger, by) = (again.then(|| entry.clone()), entry.by.clone());
                let doubt = Doubt { why: why.clone(), by, stranger, told: false };
                self.doubts.insert(name.clone(), doubt);
            }
            return Some(Change::Refused { name, why, stranger: again });
        }
        self.doubts.remove(&name);
        let placement: Placement = match entry.json() {
            Ok(Some(placement)) => placement,
            Ok(None) => return self.removed(name, entry),
            // What was placed stays: a newer version wrote this, and it is still our instance.
            Err(e) => return Some(odd(entry, &e)),
        };
        let highest = self.highest.entry(name.clone()).or_default();
        if placement.epoch < *highest {
            let why = format!("has epoch {}, after epoch {highest}", placement.epoch);
            self.refused.insert(name, placement);
            self.outdated |= !self.caught_up;
            return Some(odd(entry, &why));
        }
        *highest = placement.epoch;
        self.refused.remove(&name);
        let here = [&self.placed, &self.adrift, &self.let_go];
        let here = here.into_iter().find_map(|here| here.get(&name));
        if let Some(here) = here
            && let Some(why) = behind::why(here, &placement)
        {
            // It is this worker's under this epoch: that much the bus knows.
            self.placed.insert(name.clone(), here.clone());
            self.adrift.remove(&name);
            self.let_go.remove(&name);
            self.behind.insert(name.clone());
            self.outdated |= !self.caught_up;
            return Some(Change::Behind { name, why });
        }
        self.behind.remove(&name);
        self.adrift.remove(&name);
        self.let_go.remove(&name);
        if self.placed.get(&name) == Some(&placement) {
            return None;
        }
        self.placed.insert(name.clone(), placement);
        Some(Change::Placed(name))
    }

    /// A tombstone. One that was there before this agent, or before the bus began anew, is about an
    /// earlier placement when it is older than the epoch that runs here: the bus went back in time.
    fn removed(&mut self, name: InstanceId, entry: &Entry) -> Option<Change> {
        if let Some(here) = self.adrift.get(&name).or_else(|| self.let_go.get(&name)) {
            let said = entry.said::<Removal>().ok().flatten().map(|removal| removal.epoch);
            let signed = entry.seal.as_ref().map(|seal| seal.stamp().epoch);
            let latest = said.max(signed).unwrap_or_default().max(Epoch(entry.seq));
            if latest < here.epoch && !self.caught_up {
                let why = format!("was taken away before epoch {}, which was here", here.epoch);
                self.outdated = true;
                return Some(odd(entry, &why));
            }
        }
        self.refused.remove(&name);
        self.behind.remove(&name);
        let running = self.placed.remove(&name).or(self.adrift.remove(&name));
        let was_here = running.or(self.let_go.remove(&name))?;
        // Whatever comes next has a greater epoch. A bus that goes back in time to before this has not.
        let highest = self.highest.entry(name.clone()).or_default();
        *highest = Epoch(was_here.epoch.0 + 1).max(*highest);
        self.turns.note(&name);
        let here = [&self.placed, &self.adrift, &self.let_go, &self.refused];
        let here = |name: &InstanceId| here.iter().any(|here| here.contains_key(name));
        for forgotten in self.turns.forget(&mut self.highest, here) {
            self.written.remove(&forgotten);
        }
        Some(Change::Unplaced(name))
    }

    fn touch(&mut self, seconds: u64, entry: &Entry) -> Change {
        let touch = match entry.json() {
            Ok(touch) => touch,
            // Somebody lives there, and it is not this version of dsbus.
            Err(_) => matches!(entry.value, Value::Put(_)).then(unreadable),
        };
        let seen = Seen { seq: entry.seq, touch };
        self.touches.insert(seconds, seen.clone());
        Change::Touched(seconds, seen)
    }
}

fn odd(entry: &Entry, why: &impl ToString) -> Change {
    Change::Odd { key: entry.key.clone(), why: why.to_string() }
}

/// Stands for a touch that cannot be read: one of nobody here.
fn unreadable() -> Touch {
    Identity::nobody().touch(0, dsbus_schema::moment::BootTime(0))
}
