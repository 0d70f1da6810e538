//! Workers are asked what they have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_planner::view::View;
use dsbus_schema::call::{Holding, Inventory, InventoryAsk, WorkerVerb};
use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use futures::{StreamExt, stream};

use super::decide::Copy;
use super::{AT_ONCE, Commander};

/// How long a worker may take to say what it has. A client waits for a second before it asks everybody.
const ANSWER_MAX: Duration = Duration::from_millis(400);
/// What all workers have.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) holdings: BTreeMap<ProgramName, Vec<(WorkerName, Holding)>>,
    pub(super) silent: Vec<WorkerName>,
}

impl Found {
    pub(super) fn copies(&self, program: &ProgramName) -> Vec<Copy<'_>> {
        let copies = self.holdings.get(program).into_iter().flatten();
        copies.map(|(worker, held)| (worker, held)).collect()
    }

    pub(super) fn names(&self) -> BTreeSet<&InstanceId> {
        self.holdings.values().flatten().map(|(_, held)| &held.name).collect()
    }
}

impl Commander {
    /// Asks every worker that touches what it has.
    pub(super) async fn found(&self) -> Found {
        let workers: Vec<WorkerName> = {
            let core = self.shared.lock();
            living(&core.view)
        };
        let asked: Vec<(WorkerName, Option<Vec<Holding>>)> = stream::iter(workers)
            .map(|worker| async move {
                let has = self.inventory(&worker).await;
                (worker, has)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut found = Found::default();
        for (worker, has) in asked {
            let Some(has) = has else {
                found.silent.push(worker);
                continue;
            };
            for held in has {
                let of = found.holdings.entry(held.name.program.clone()).or_default();
                of.push((worker.clone(), held));
            }
        }
        found
    }

    async fn inventory(&self, worker: &WorkerName) -> Option<Vec<Holding>> {
        let (mut all, mut ask) = (Vec::new(), InventoryAsk::default());
        loop {
            let told = self.bus.call_worker(worker, WorkerVerb::Inventory, &ask, ANSWER_MAX).await;
            let Inventory { instances, more } = match told {
                Ok(told) => told,
                Err(error) => {
                    tracing::warn!("worker {worker} does not say what it has: {error}");
                    return None;
                }
            };
            ask.after = instances.last().map(|held| held.name.clone());
            let empty = instances.is_empty();
            all.extend(instances);
            if !more || empty {
                return Some(all);
            }
        }
    }
}

/// Workers that have a record, and are not lost.
fn living(view: &View) -> Vec<WorkerName> {
    let workers = view.workers().map(|worker| &worker.name);
    workers.filter(|name| !view.is_lost(name)).cloned().collect()
}
