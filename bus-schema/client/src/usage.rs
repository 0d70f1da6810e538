//! What instances use: asked of their workers, and what two answers come to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_schema::call::{USAGE_INSTANCES_MAX, UsageAsk, UsageOf, Using, WorkerVerb};
use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::status::InstanceRow;
use futures::{StreamExt, stream};

use crate::{Bus, Error};

/// How long a worker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Workers that are asked at once.
const CALLS_MAX: usize = 32;

/// What is to be asked of each worker.
#[derive(Debug, Default)]
pub struct UsageAsks(BTreeMap<WorkerName, Vec<UsageOf>>);

impl UsageAsks {
    /// About those of these instances that have a child.
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a InstanceRow>) -> UsageAsks {
        let mut asks = UsageAsks::default();
        for row in rows {
            if let (Some(worker), Some(pid)) = (&row.worker, row.pid) {
                let of = UsageOf { name: row.name.clone(), pid };
                asks.0.entry(worker.clone()).or_default().push(of);
            }
        }
        asks
    }

    /// The instances.
    pub fn names(&self) -> BTreeSet<InstanceId> {
        self.0.values().flatten().map(|of| of.name.clone()).collect()
    }
}

impl Bus {
    /// Asks workers what instances use. Who does not answer in a second is left out, and so is a
    /// worker that does not know the question yet.
    pub async fn usage(&self, asks: UsageAsks) -> Vec<Using> {
        let parts = asks.0.into_iter().flat_map(|(worker, all)| {
            let parts: Vec<_> = all
                .chunks(USAGE_INSTANCES_MAX)
                .map(|part| (worker.clone(), UsageAsk { instances: part.to_vec() }))
                .collect();
            parts
        });
        let call = async |(worker, ask): (WorkerName, UsageAsk)| {
            let answer: Result<Using, Error> =
                self.call_worker(&worker, WorkerVerb::Usage, &ask, ANSWER_MAX).await;
            answer.ok()
        };
        let parts: Vec<_> = parts.collect();
        let answers = stream::iter(parts).map(call).buffer_unordered(CALLS_MAX);
        answers.filter_map(std::future::ready).collect().await
    }
}

/// What an instance uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    /// Processors, of which 1.0 is one that is busy all the time; `None` until it was asked twice.
    pub cpu: Option<f64>,
    /// Processor time that was seen to pass, in milliseconds: it never falls, whatever becomes of the
    /// child and its processes.
    pub cpu_ms: u64,
    /// In bytes.
    pub memory: u64,
}

/// The last answer about an instance.
#[derive(Debug)]
struct Last {
    at_ms: u64,
    pid: i32,
    cpu_ms: u64,
    /// See [`Used::cpu_ms`].
    passed_ms: u64,
}

/// What was last answered of each.
#[derive(Debug, Default)]
pub struct Samples {
    last: BTreeMap<InstanceId, Last>,
}

impl Samples {
    /// Takes an answer, and tells what it comes to.
    pub fn take(&mut self, answer: Using) -> Vec<(InstanceId, Used)> {
        let at_ms = answer.at_ms;
        let used = answer.instances.into_iter().map(|one| {
            let before = self.last.get(&one.name);
            let same = before.filter(|before| before.pid == one.pid);
            // What a new child has used was used since; of the same one a part may be forgotten.
            let spent = one.cpu_ms.checked_sub(same.map_or(0, |before| before.cpu_ms));
            let cpu = same.and_then(|before| {
                let passed = at_ms.checked_sub(before.at_ms).filter(|passed| *passed > 0)?;
                Some(ratio(spent?, passed))
            });
            let passed_ms = before.map_or(0, |before| before.passed_ms) + spent.unwrap_or(0);
            let last = Last { at_ms, pid: one.pid, cpu_ms: one.cpu_ms, passed_ms };
            self.last.insert(one.name.clone(), last);
            (one.name, Used { cpu, cpu_ms: passed_ms, memory: one.memory })
        });
        used.collect()
    }

    /// Forgets what is not among these any more.
    pub fn keep(&mut self, is_known: impl Fn(&InstanceId) -> bool) {
        self.last.retain(|name, _| is_known(name));
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are as much as anybody looks at")]
fn ratio(spent: u64, passed: u64) -> f64 {
    spent as f64 / passed as f64
}

#[cfg(test)]
mod tests {
    use dsbus_schema::call::Use;
    use dsbus_schema::ids::ProgramName;

    use super::*;

    #[test]
    fn a_share_is_known_after_two_answers_about_one_process_and_time_never_falls() {
        let name = InstanceId::new(ProgramName::parse("web").unwrap(), 0);
        let answer = |at_ms, pid, cpu_ms| Using {
            at_ms,
            instances: vec![Use { name: name.clone(), pid, cpu_ms, memory: 9 }],
        };
        let mut samples = Samples::default();
        for (at, pid, cpu_ms, cpu, passed) in [
            (1_000, 7, 500, None, 500),
            (3_000, 7, 1_500, Some(0.5), 1_500),
            // Two answers of one moment say nothing of a share.
            (3_000, 7, 1_500, None, 1_500),
            // Another child.
            (5_000, 8, 20, None, 1_520),
            (6_000, 8, 2_020, Some(2.0), 3_520),
            // A clock that goes back: another machine.
            (4_000, 8, 3_000, None, 4_500),
            // A process of it is gone, and was not waited for.
            (5_000, 8, 1_000, None, 4_500),
            (6_000, 8, 1_100, Some(0.1), 4_600),
        ] {
            let used = samples.take(answer(at, pid, cpu_ms));
            assert_eq!(used[0].1, Used { cpu, cpu_ms: passed, memory: 9 }, "{at}");
        }
    }
}
