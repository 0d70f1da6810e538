//! What the watch on `<worker>.>` says, folded: which instances are placed here, and what stands
//! under the touch keys. Pure.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use dsbus_client::{Distrust, Entry, Item, Signers, Value};
use dsbus_schema::ids::{Epoch, FleetName, InstanceId, WorkerName};
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

/// What somebody has signed who is not known.
#[derive(Debug)]
struct Stranger {
    entry: Entry,
    why: String,
    /// It was told that he is not.
    told: bool,
}

/// Instances that are doubtful at once, besides those that are placed here: each has a key of its own
/// on the bus, which somebody forged.
const DOUBTS_MAX: usize = 4096;

/// What is placed here.
#[derive(Debug)]
pub struct Placements {
    worker: WorkerName,
    placed: BTreeMap<InstanceId, Placement>,
    highest: BTreeMap<InstanceId, Epoch>,
    touches: BTreeMap<u64, Seen>,
    fleet: FleetName,
    /// Whose placements count.
    signers: Signers,
    /// What the last write about each instance was signed with: an older one that is written again is
    /// known by it.
    written: BTreeMap<InstanceId, u64>,
    /// Instances under whose keys something stands that does not count; with that, where its signer is
    /// not known, and may be soon.
    doubts: BTreeMap<InstanceId, Option<Stranger>>,
}

impl Placements {
    /// Nothing yet.
    pub fn new(worker: WorkerName) -> Placements {
        Placements {
            worker,
            placed: BTreeMap::new(),
            highest: BTreeMap::new(),
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

    /// From now on these count. Gives what was refused because its signer was not known, to be taken
    /// again.
    pub fn trust(&mut self, signers: Signers) -> Vec<Entry> {
        if signers == self.signers {
            return Vec::new();
        }
        self.signers = signers;
        self.doubts.values_mut().filter_map(Option::take).map(|stranger| stranger.entry).collect()
    }

    /// What is refused because its signer is not known, after his list was read again; each once.
    pub fn still_strange(&mut self) -> Vec<(InstanceId, String)> {
        let strangers =
            self.doubts.iter_mut().filter_map(|(name, held)| Some((name, held.as_mut()?)));
        let tell = |(name, stranger): (&InstanceId, &mut Stranger)| {
            let untold = !std::mem::replace(&mut stranger.told, true);
            untold.then(|| (name.clone(), stranger.why.clone()))
        };
        strangers.filter_map(tell).collect()
    }

    /// Whether something stands here that is signed by nobody who is known.
    pub fn meets_strangers(&self) -> bool {
        self.doubts.values().any(Option::is_some)
    }

    /// Instances that may be placed here or not, since what stands under their keys does not count.
    pub fn unknown(&self) -> BTreeSet<InstanceId> {
        let unknown = self.doubts.keys().filter(|name| !self.placed.contains_key(*name));
        unknown.cloned().collect()
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
            Item::CaughtUp => Some(Change::CaughtUp),
            Item::Reset => {
                self.placed.clear();
                self.touches.clear();
                // The stream began anew, and so may the epochs.
                self.highest.clear();
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
                let stranger = || Stranger { entry: entry.clone(), why: why.clone(), told: false };
                self.doubts.insert(name.clone(), again.then(stranger));
            }
            return Some(Change::Refused { name, why, stranger: again });
        }
        self.doubts.remove(&name);
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

    /// Says whether an entry counts, and remembers that it does.
    ///
    /// # Errors
    /// Why not, and whether it may once another signer is known.
    fn check(&mut self, name: &InstanceId, entry: &Entry) -> Result<(), (String, bool)> {
        self.signers.check(&self.fleet, entry).map_err(|distrust| {
            (distrust.to_string(), matches!(distrust, Distrust::Unknown { .. }))
        })?;
        let (Some(seal), false) = (&entry.seal, self.signers == Signers::Off) else {
            return Ok(());
        };
        let stamp = seal.stamp();
        let older = |why: String| Err((format!("it is an older one, written again: {why}"), false));
        let written = self.written.get(name).copied().unwrap_or_default();
        if stamp.after < written || stamp.after >= entry.seq {
            return older(format!(
                "it was to follow {}, after one that followed {written}",
                stamp.after
            ));
        }
        let highest = self.highest.get(name).copied().unwrap_or_default();
        if stamp.epoch < highest {
            return older(format!("it has epoch {}, after epoch {highest}", stamp.epoch));
        }
        self.written.insert(name.clone(), stamp.after);
        Ok(())
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
