//! What the watch on `<worker>.>` says, folded: which instances are placed here, and what stands
//! under the touch keys. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use dsbus_client::{Entry, Item, Value};
use dsbus_schema::ids::{Epoch, InstanceId, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::TOUCH_TIMEOUT_MAX;
use dsbus_schema::storage::FleetKey;
use dsbus_schema::touch::{PRESENCE_SECONDS, Touch};

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
    /// An entry makes no sense, and is left aside.
    Odd {
        /// Its key.
        key: String,
        /// Why.
        why: String,
    },
}

/// What is placed here.
#[derive(Debug)]
pub struct Placements {
    worker: WorkerName,
    placed: BTreeMap<InstanceId, Placement>,
    highest: BTreeMap<InstanceId, Epoch>,
    touches: BTreeMap<u64, Seen>,
}

impl Placements {
    /// Nothing yet.
    pub fn new(worker: WorkerName) -> Placements {
        Placements {
            worker,
            placed: BTreeMap::new(),
            highest: BTreeMap::new(),
            touches: BTreeMap::new(),
        }
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
            Item::CaughtUp => Some(Change::CaughtUp),
            Item::Reset => {
                self.placed.clear();
                self.touches.clear();
                // The stream began anew, and so may the epochs.
                self.highest.clear();
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
        let placement: Placement = match entry.json() {
            Ok(Some(placement)) => placement,
            Ok(None) => return self.placed.remove(&name).map(|_| Change::Unplaced(name)),
            // What was placed stays: a newer version wrote this, and it is still our instance.
            Err(e) => return Some(odd(entry, &e)),
        };
        let highest = self.highest.entry(name.clone()).or_default();
        if placement.epoch < *highest {
            let why = format!("has epoch {}, after epoch {highest}", placement.epoch);
            return Some(odd(entry, &why));
        }
        *highest = placement.epoch;
        if self.placed.get(&name) == Some(&placement) {
            return None;
        }
        self.placed.insert(name.clone(), placement);
        Some(Change::Placed(name))
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
