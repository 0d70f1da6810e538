//! Secrets that programs name, and workers do not have.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::ids::{ProgramName, SecretName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::Bucket;
use dsbus_schema::worker::Worker;

use super::super::facts::Bus;
use super::super::finding::Finding;
use super::names;

const CHECK: &str = "secrets";

/// Nothing where no program names one.
pub(super) fn judge(bus: &Bus) -> Vec<Finding> {
    let mut named: BTreeMap<&SecretName, BTreeSet<&ProgramName>> = BTreeMap::new();
    for (program, secrets) in &bus.named {
        for secret in secrets {
            named.entry(secret).or_default().insert(program);
        }
    }
    // Who may not read the bucket cannot say that it is empty.
    let unread = bus.unread.iter().any(|(bucket, _)| *bucket == Bucket::Secrets);
    if named.is_empty() || unread {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (secret, programs) in named {
        let lacking = lacking(bus, secret);
        if lacking.is_empty() {
            continue;
        }
        let runs_on = |worker: &&&WorkerName| {
            bus.placements.iter().any(|(at, i)| at == **worker && programs.contains(&i.program))
        };
        let needed: Vec<_> = lacking.iter().filter(runs_on).collect();
        let fix = format!("dsbus secret set {secret}");
        let programs = names(&programs);
        found.push(if needed.is_empty() {
            let lack = if lacking.len() == 1 { "lacks" } else { "lack" };
            let text = format!("{} {lack} {secret}, which {programs} name", names(&lacking));
            Finding::warning(CHECK, text, fix)
        } else {
            let lack = if needed.len() == 1 { "lacks" } else { "lack" };
            let text =
                format!("{} {lack} {secret}, and {programs} cannot start there", names(needed));
            Finding::wrong(CHECK, text, fix)
        });
    }
    if found.is_empty() {
        found.push(Finding::good(CHECK, "every worker has what programs name"));
    }
    found
}

/// Workers that have none, or one that is sealed to a key that they had before.
fn lacking<'a>(bus: &'a Bus, secret: &SecretName) -> Vec<&'a WorkerName> {
    let lacks = |(worker, _): &&(Worker, Timestamp)| {
        let key = bus.secrets.get(&(worker.name.clone(), secret.clone()));
        key.is_none() || key != worker.seal_key.as_ref()
    };
    bus.workers.iter().filter(lacks).map(|(worker, _)| &worker.name).collect()
}
