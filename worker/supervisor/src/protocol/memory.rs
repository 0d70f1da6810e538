//! What the supervisor remembers for its agents, which come and go.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::ids::{Epoch, InstanceId};
use dsbus_schema::moment::BootTime;
use serde::{Deserialize, Serialize};

/// Most epochs that an agent is told: the latest are those that an old copy of the bus may name. With
/// names of 40 bytes they are a quarter of a megabyte.
pub const EPOCHS_TOLD_MAX: usize = 4096;

/// Most epochs of instances that are not placed here which a side of a worker remembers: one more, and
/// the latest [`EPOCHS_TOLD_MAX`] stay. Twice as many, so that they are seldom looked through. Each
/// `dsbus run` makes a name of its own.
///
/// Where an epoch is forgotten, other things keep an older placement from beginning. On a bus that does
/// not go back in time each placement of an instance has a greater epoch than the one before, since
/// schedulers guard on its tombstone, and the watch delivers nothing after what followed it. Only a copy
/// that is older than all that is remembered could name it: then it runs again, as does what was removed
/// since, where that copy names it and nowhere else; and what is exclusive first gives whoever has it by
/// now the time to stop it, whatever is known of its epoch. A worker that is restarted has forgotten all
/// epochs.
pub const EPOCHS_KEPT_MAX: usize = 2 * EPOCHS_TOLD_MAX;

/// In which order instances were taken away, of which epochs are remembered. Epochs do not tell it: each
/// instance has its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Turns {
    last: u64,
    of: BTreeMap<InstanceId, u64>,
}

impl Turns {
    /// It was taken away now.
    pub fn note(&mut self, name: &InstanceId) {
        self.last += 1;
        self.of.insert(name.clone(), self.last);
    }

    /// The epochs of instances that are not here, the latest first.
    pub fn latest(
        &self,
        epochs: &BTreeMap<InstanceId, Epoch>,
        here: impl Fn(&InstanceId) -> bool,
    ) -> Vec<(InstanceId, Epoch)> {
        let others = epochs.iter().filter(|(name, _)| !here(name));
        let mut others: Vec<_> = others.map(|(name, epoch)| (name.clone(), *epoch)).collect();
        let turn = |name: &InstanceId| self.of.get(name).copied().unwrap_or_default();
        others.sort_by_key(|(name, epoch)| Reverse((turn(name), *epoch)));
        others
    }

    /// Forgets the oldest epochs of instances that are not here, where there are too many; gives their
    /// names.
    pub fn forget(
        &mut self,
        epochs: &mut BTreeMap<InstanceId, Epoch>,
        here: impl Fn(&InstanceId) -> bool,
    ) -> Vec<InstanceId> {
        let too_many = |names: usize| names > EPOCHS_KEPT_MAX;
        if !too_many(epochs.len()) || !too_many(epochs.keys().filter(|name| !here(name)).count()) {
            return Vec::new();
        }
        let oldest = self.latest(epochs, here).split_off(EPOCHS_TOLD_MAX);
        let names: Vec<_> = oldest.into_iter().map(|(name, _)| name).collect();
        for name in &names {
            epochs.remove(name);
            self.of.remove(name);
        }
        names
    }
}

/// What the supervisor remembers besides its instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// So many [`LetGo`](super::ToAgent::LetGo) follow.
    #[serde(default)]
    pub let_go: usize,
    /// The lowest epochs under which instances that it has no more may begin here again; the latest
    /// [`EPOCHS_TOLD_MAX`] of them.
    #[serde(default)]
    pub epochs: Vec<(InstanceId, Epoch)>,
    /// The last time that the bus began anew.
    #[serde(default)]
    pub anew: Option<Anew>,
}

/// The bus began anew: it has lost what it knew, or has gone back in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anew {
    /// When that was found.
    pub at: BootTime,
    /// The exclusive instances that could live here then, for their lease was alive, or were let begin here
    /// since.
    pub ran: BTreeSet<InstanceId>,
}
