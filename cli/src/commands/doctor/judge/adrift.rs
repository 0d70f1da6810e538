//! What runs although the bus has lost its placement.

use std::collections::BTreeSet;

use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::storage::Bucket;

use super::super::facts::Bus;
use super::super::finding::Finding;
use super::names;

/// What to do about what the bus has lost.
pub(super) const RECOVER: &str =
    "rebuild what the bus has lost: dsbus recover --dry-run shows it, dsbus recover does it";

/// Says which instances are adrift; nothing where none is.
pub(super) fn judge(bus: &Bus) -> Option<Finding> {
    let adrift = all(bus);
    let told = adrift.iter().map(|(worker, instance)| format!("{instance} on {worker}"));
    (!adrift.is_empty()).then(|| {
        let text = format!(
            "these run, and the bus has lost their placements: {}; they go on",
            names(told.collect::<Vec<_>>())
        );
        Finding::wrong("adrift", text, RECOVER)
    })
}

/// Instances of which a worker that lives has told a child, and that are placed nowhere there.
pub(super) fn all(bus: &Bus) -> BTreeSet<(WorkerName, InstanceId)> {
    // What is not known cannot be said to be lost.
    let missing = |bucket: Bucket| bus.unread.iter().any(|(unread, _)| *unread == bucket);
    if [Bucket::Fleet, Bucket::Status, Bucket::Workers].into_iter().any(missing) {
        return BTreeSet::new();
    }
    let placed: BTreeSet<_> = bus.placements.iter().collect();
    let mut adrift = BTreeSet::new();
    for (worker, instance, incarnation) in &bus.children {
        let record = bus.workers.iter().find(|(record, _)| record.name == *worker);
        let lives = bus.touched.contains(worker)
            && record.is_some_and(|(record, _)| record.incarnation == *incarnation);
        let at = (worker.clone(), instance.clone());
        if lives && !placed.contains(&at) {
            adrift.insert(at);
        }
    }
    adrift
}
