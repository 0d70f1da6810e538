//! Workers are asked what they have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::call::{Holding, Inventory, InventoryAsk, WorkerVerb};
use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use futures::{StreamExt, stream};
use tokio::time::sleep;

use super::decide::{Copy, is_believed};
use super::{AT_ONCE, Commander};

/// How long a worker may take to say what it has, each time that it is asked. A client waits for a second
/// before it asks everybody.
const ANSWER_MAX: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(300), Duration::from_millis(350)];

/// What all workers have.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) holdings: BTreeMap<ProgramName, Vec<(WorkerName, Holding)>>,
    /// What cannot be: see [`is_believed`].
    pub(super) odd: Vec<(WorkerName, Holding)>,
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
    /// Asks every worker that may have something what it has.
    pub(super) async fn found(&self) -> Found {
        let workers = self.shared.lock().view.may_have();
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
                if is_believed(&held) {
                    let of = found.holdings.entry(held.name.program.clone()).or_default();
                    of.push((worker.clone(), held));
                } else {
                    found.odd.push((worker.clone(), held));
                }
            }
        }
        found
    }

    async fn inventory(&self, worker: &WorkerName) -> Option<Vec<Holding>> {
        let (mut all, mut ask) = (Vec::new(), InventoryAsk::default());
        loop {
            let Inventory { instances, more } = self.part(worker, &ask).await?;
            ask.after = instances.last().map(|held| held.name.clone());
            let empty = instances.is_empty();
            all.extend(instances);
            if !more || empty {
                return Some(all);
            }
        }
    }

    async fn part(&self, worker: &WorkerName, ask: &InventoryAsk) -> Option<Inventory> {
        for within in ANSWER_MAX {
            match self.bus.call_worker(worker, WorkerVerb::Inventory, ask, within).await {
                Ok(told) => return Some(told),
                Err(error) => {
                    tracing::warn!("worker {worker} does not say what it has: {error}");
                    if matches!(error, Error::NoResponders) {
                        // It may be back in a moment.
                        sleep(within).await;
                    }
                }
            }
        }
        None
    }
}
