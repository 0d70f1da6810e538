//! What nobody needs any more.

use std::collections::BTreeSet;

use dsbus_client::Place;
use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::storage::{Bucket, listener_consumer};
use uuid::Uuid;

use super::super::facts::Bus;
use super::super::finding::Finding;
use super::{adrift, names};

const CHECK: &str = "leftovers";
/// Digits of a UUID at the end of a consumer's name.
const UUID_LEN: usize = 32;

pub(super) fn judge(bus: &Bus) -> Vec<Finding> {
    let missing = |bucket: Bucket| bus.unread.iter().any(|(unread, _)| *unread == bucket);
    // What is not known cannot be said to be left over.
    if [Bucket::Programs, Bucket::Fleet, Bucket::Status].into_iter().any(missing) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let gone =
        |(_, instance): &&(WorkerName, InstanceId)| !bus.programs.contains_key(&instance.program);
    let told = |(worker, instance): &(WorkerName, InstanceId)| format!("{instance} on {worker}");
    let left: Vec<String> = bus.placements.iter().filter(gone).map(told).collect();
    if !left.is_empty() {
        found.push(Finding::warning(
            CHECK,
            format!("placements of what is not declared: {}", names(left)),
            "schedulers take them away; if they stay, start one anew",
        ));
    }
    let placed: BTreeSet<_> = bus.placements.iter().collect();
    // What is adrift is told apart from what is left over.
    let adrift = adrift::all(bus);
    let over = |at: &&(WorkerName, InstanceId)| !placed.contains(at) && !adrift.contains(*at);
    let states = bus.statuses.iter().filter(gone).filter(over);
    let left: Vec<String> = states.map(told).collect();
    if !left.is_empty() {
        found.push(Finding::warning(
            CHECK,
            format!("last known states of what is not declared: {}", names(left)),
            "they do no harm, and schedulers take them away; if they stay, start one anew",
        ));
    }
    let left = bus.places.iter().filter(|place| forgotten(bus, place));
    let left: Vec<&str> = left.map(|place| place.name.as_str()).collect();
    if let Some(first) = left.first() {
        found.push(Finding::warning(
            CHECK,
            format!("durable consumers of listeners that are not declared: {}", names(&left)),
            format!("forget each: dsbus listen --forget {first}"),
        ));
    }
    if found.is_empty() {
        found.push(Finding::good(CHECK, "none"));
    }
    found
}

/// Whether a consumer is that of a program which is gone: its name ends with the program's UUID.
fn forgotten(bus: &Bus, place: &Place) -> bool {
    let at = place.name.len().checked_sub(UUID_LEN);
    let id = at.and_then(|at| place.name.get(at..)).and_then(|id| Uuid::try_parse(id).ok());
    let known = || bus.programs.iter().any(|(name, id)| listener_consumer(name, *id) == place.name);
    id.is_some() && !place.read && !known()
}
