//! Workers are asked what they have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::call::{Holding, Inventory, InventoryAsk, WorkerVerb};
use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use futures::{StreamExt, stream};
use tokio::time::{sleep, timeout};

use super::decide::{Copy, NO_ANSWER, Silent, is_believed};
use super::{AT_ONCE, Commander};

/// How long a worker may take to say what it has, each time that it is asked. A client waits for a second
/// before it asks everybody.
const ANSWER_MAX: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(300), Duration::from_millis(350)];

/// Most answers that make up what one worker has. Each but the last is nearly `INVENTORY_BYTES_MAX` long,
/// which makes 64 MiB: 2 KiB for each process that Linux allows by itself. One that lies could fill the
/// memory of a scheduler.
const ANSWERS_MAX: usize = 256;
/// How long a worker may take for all of them: some ms each. It is longer than a client waits, who asks
/// again, and finds done what was done meanwhile.
const WORKER_MAX: Duration = Duration::from_secs(10);

/// Why one is not believed.
const ODD: &str = "its answers do not go on in the order of names";
const TOO_MUCH: &str = "it tells more than a worker can have";
const TOO_SLOW: &str = "its answers do not come to an end in time";

/// What all workers have.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) holdings: BTreeMap<ProgramName, Vec<(WorkerName, Holding)>>,
    /// What cannot be: see [`is_believed`].
    pub(super) odd: Vec<(WorkerName, Holding)>,
    pub(super) silent: Vec<Silent>,
}

/// What a worker has told so far, part by part.
#[derive(Debug, Default)]
struct Told {
    all: Vec<Holding>,
    answers: usize,
    done: bool,
}

impl Told {
    /// What to ask for next, if there is more.
    fn next(&self) -> Option<InventoryAsk> {
        let after = self.all.last().map(|held| held.name.clone());
        (!self.done).then_some(InventoryAsk { after })
    }

    /// Takes the answer to that.
    ///
    /// # Errors
    /// Why a worker that answers so is not asked for more.
    fn add(&mut self, Inventory { instances, more }: Inventory) -> Result<(), &'static str> {
        self.answers += 1;
        self.done = !more;
        if more && instances.is_empty() {
            return Err(ODD);
        }
        if more && self.answers == ANSWERS_MAX {
            return Err(TOO_MUCH);
        }
        for held in instances {
            if self.all.last().is_some_and(|last| held.name <= last.name) {
                return Err(ODD);
            }
            self.all.push(held);
        }
        Ok(())
    }
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
        let asked: Vec<(WorkerName, Result<Vec<Holding>, &'static str>)> = stream::iter(workers)
            .map(|worker| async move {
                let has = self.inventory(&worker).await;
                (worker, has)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let mut found = Found::default();
        for (worker, has) in asked {
            let has = match has {
                Ok(has) => has,
                Err(why) => {
                    tracing::warn!("what worker {worker} has is not known: {why}");
                    found.silent.push((worker, why));
                    continue;
                }
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

    /// What a worker has; why not, where it does not say so, or says what cannot be.
    async fn inventory(&self, worker: &WorkerName) -> Result<Vec<Holding>, &'static str> {
        let asking = async {
            let mut told = Told::default();
            while let Some(ask) = told.next() {
                let part = self.part(worker, &ask).await.ok_or(NO_ANSWER)?;
                told.add(part)?;
            }
            Ok::<_, &'static str>(told.all)
        };
        timeout(WORKER_MAX, asking).await.unwrap_or(Err(TOO_SLOW))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(names: &[&str], more: bool) -> Inventory {
        let held = |name: &&str| {
            json!({ "name": name, "hold": "placed", "epoch": 1, "placement": {
                "id": uuid::Uuid::nil(), "revision": 1, "epoch": 1, "wanted": { "run": true },
                "spec": { "command": "x" } } })
        };
        let instances: Vec<_> = names.iter().map(held).collect();
        serde_json::from_value(json!({ "instances": instances, "more": more })).unwrap()
    }

    /// What a worker has that answers so to the first ask, the second, and so on.
    fn told(answer: impl Fn(usize) -> Inventory) -> Result<usize, &'static str> {
        let mut told = Told::default();
        let mut asks = 0;
        while let Some(ask) = told.next() {
            assert_eq!(ask.after.as_ref(), told.all.last().map(|held| &held.name));
            told.add(answer(asks))?;
            asks += 1;
        }
        Ok(told.all.len())
    }

    #[test]
    fn what_a_worker_has_is_told_in_parts() {
        assert_eq!(told(|_| part(&[], false)), Ok(0));
        assert_eq!(told(|n| part(&[&format!("a:{n}")], n < 3)), Ok(4));
        assert_eq!(told(|n| part(&[&format!("a:{n}")], true)), Err(TOO_MUCH));
        let last = ANSWERS_MAX - 1;
        assert_eq!(told(|n| part(&[&format!("a:{n}")], n < last)), Ok(ANSWERS_MAX));
    }

    #[test]
    fn a_worker_that_goes_round_is_not_asked_for_ever() {
        assert_eq!(told(|_| part(&[], true)), Err(ODD));
        assert_eq!(told(|_| part(&["a:0"], true)), Err(ODD));
        assert_eq!(told(|n| part(&[["b:0", "a:0"][n]], n == 0)), Err(ODD));
        assert_eq!(told(|_| part(&["a:1", "a:0"], false)), Err(ODD));
        assert_eq!(told(|_| part(&["a:0", "a:0"], false)), Err(ODD));
    }
}
