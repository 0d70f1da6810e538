//! What is here, for whoever rebuilds what the bus has lost.

use std::collections::BTreeMap;
use std::ops::Bound;

use dsbus_schema::call::{Hold, Holding, INVENTORY_BYTES_MAX, Inventory};
use dsbus_schema::ids::InstanceId;

use super::Placements;

impl Placements {
    /// What a worker has after this instance, as much as fits into an answer; `pid` tells its child.
    pub fn inventory(
        &self,
        after: Option<&InstanceId>,
        pid: impl Fn(&InstanceId) -> Option<i32>,
    ) -> Inventory {
        let all = [
            (&self.placed, Hold::Placed),
            (self.adrift(), Hold::Adrift),
            (&self.let_go, Hold::LetGo),
            (&self.refused, Hold::Refused),
        ];
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = BTreeMap::new();
        for (held, hold) in all {
            let range = held.range::<InstanceId, _>((from, Bound::Unbounded));
            for (name, placement) in range {
                rest.entry(name).or_insert((hold, placement));
            }
        }
        let (mut instances, mut bytes) = (Vec::new(), 0);
        for (name, (hold, placement)) in rest {
            let epoch = self.highest.get(name).copied().unwrap_or_default().max(placement.epoch);
            // What the bus has of it is not what is here.
            let hold = if self.behind.contains(name) { Hold::Adrift } else { hold };
            let (name, pid, placement) = (name.clone(), pid(name), placement.clone());
            let holding = Holding { name, hold, epoch, pid, placement };
            bytes += serde_json::to_vec(&holding).map_or(0, |body| body.len());
            if bytes > INVENTORY_BYTES_MAX && !instances.is_empty() {
                return Inventory { instances, more: true };
            }
            instances.push(holding);
        }
        Inventory { instances, more: false }
    }
}
