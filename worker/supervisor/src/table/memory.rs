//! What outlives an instance: which epochs are over, and what was let go. The agent that found it out
//! may not be the one that needs it.

use std::collections::BTreeSet;

use dsbus_schema::ids::{Epoch, InstanceId};
use dsbus_schema::placement::Placement;
use dsbus_schema::status::Status;

use super::{Effects, Table};
use crate::clock::Now;
use crate::instance::{Input, Instance};
use crate::protocol::{Anew, EPOCHS_TOLD_MAX, Memory};

/// Most instances that were let go and are remembered: more than a worker has exclusive ones. Of more,
/// the latest stay.
pub(super) const LET_GO_MAX: usize = 4096;

impl Table {
    /// A placement was taken away. Nothing of this epoch begins here again: a bus that goes back in time
    /// may name it.
    #[must_use]
    pub fn unplace(&mut self, name: &InstanceId, now: Now) -> Effects {
        let placed = self.instances.get(name).map(Instance::placed_epoch);
        let let_go = self.forget_let_go(name).map(|(placement, _)| placement.epoch);
        if let Some(epoch) = placed.max(let_go) {
            self.over(name, epoch);
        }
        self.handle(name, Input::Unplace { lost: false }, now)
    }

    /// What was placed here under this epoch was taken away.
    pub fn over(&mut self, name: &InstanceId, epoch: Epoch) {
        let known = self.epochs.entry(name.clone()).or_default();
        *known = Epoch(epoch.0.saturating_add(1)).max(*known);
        self.turns.note(name);
        let (instances, let_go) = (&self.instances, &self.let_go);
        let here = |name: &InstanceId| instances.contains_key(name) || let_go.contains_key(name);
        self.turns.forget(&mut self.epochs, here);
    }

    /// The bus has lost the placement of an exclusive instance, or went back in time: it stops, and is
    /// remembered. The bus may find the placement again. What rests stays as it is: it has nothing to stop,
    /// and were it forgotten that it has ended, it would run again.
    #[must_use]
    pub fn let_go(&mut self, name: &InstanceId, now: Now) -> Effects {
        if self.instances.get(name).is_some_and(Instance::stays_at_rest) {
            return Effects::new();
        }
        let placement = self.instances.get(name).and_then(Instance::placement);
        if let Some(placement) = placement {
            self.let_go.insert(name.clone(), placement);
            let latest = |(name, placed): (&InstanceId, &Placement)| (placed.epoch, name.clone());
            if self.let_go.len() > LET_GO_MAX
                && let Some((_, earliest)) = self.let_go.iter().map(latest).min()
            {
                self.forget_let_go(&earliest);
            }
        }
        self.handle(name, Input::Unplace { lost: true }, now)
    }

    /// Only these are let go still.
    pub fn keep_let_go(&mut self, names: &BTreeSet<InstanceId>) {
        self.let_go.retain(|name, _| names.contains(name));
        self.let_go_seq.retain(|name, _| names.contains(name));
    }

    /// It is let go no more; gives what it was placed as, and where its events ended.
    pub(super) fn forget_let_go(&mut self, name: &InstanceId) -> Option<(Placement, u64)> {
        let seq = self.let_go_seq.remove(name).unwrap_or_default();
        Some((self.let_go.remove(name)?, seq))
    }

    /// The bus began anew.
    pub fn began_anew(&mut self, anew: Anew) {
        self.anew = Some(anew);
    }

    /// What a new agent is told besides the instances.
    pub fn memory(&self) -> Memory {
        let placed = |name: &InstanceId| self.instances.get(name).is_some_and(Instance::is_placed);
        let mut epochs = self.turns.latest(&self.epochs, placed);
        epochs.truncate(EPOCHS_TOLD_MAX);
        Memory { let_go: self.let_go.len(), epochs, anew: self.anew.clone() }
    }

    /// Instances that are placed here, with their placements.
    pub fn held(&self) -> Vec<(InstanceId, Placement)> {
        let held = |(name, instance): (&InstanceId, &Instance)| {
            Some((name.clone(), instance.placement()?))
        };
        self.instances.iter().filter_map(held).collect()
    }

    /// Those that were let go, with the placements that they had.
    pub fn all_let_go(&self) -> impl Iterator<Item = (&InstanceId, &Placement)> {
        self.let_go.iter()
    }

    /// How every instance stands that has told of itself.
    pub fn statuses(&self) -> impl Iterator<Item = (&InstanceId, Status)> {
        let told = self.instances.iter().filter(|(_, instance)| instance.epoch() > Epoch(0));
        told.map(|(name, instance)| (name, instance.status()))
    }
}

#[cfg(test)]
mod tests;
