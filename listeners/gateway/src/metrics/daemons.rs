//! What schedulers and workers count of themselves, asked for each answer, and no more than once a
//! second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsbus_client::{Bus, Stats};
use dsbus_schema::event::{SchedulerChange, SchedulerFact};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::stats::{SchedulerStats, WorkerStats};
use tokio::time::Instant;

/// How long daemons have to answer: whoever scrapes waits for it, ten seconds mostly.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// An answer is good for so long, for however many ask.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// How often all of the time is waited for, in case there is one that nobody told of.
const ALL_EVERY: Duration = Duration::from_secs(60);
/// A scheduler that is silent for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// Schedulers that are known at once; a fleet has a few.
const SCHEDULERS_MAX: usize = 1_000;

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// Schedulers that are known, with what they count if they have answered.
    pub(super) schedulers: BTreeMap<String, Option<SchedulerStats>>,
    /// Workers that have answered.
    pub(super) workers: BTreeMap<WorkerName, WorkerStats>,
    /// Events that were ever stored, if NATS has said so, and how long that took.
    pub(super) stored: Option<(u64, Duration)>,
}

/// A scheduler that was heard of.
#[derive(Debug)]
struct Known {
    heard: Instant,
    /// It is thought to live, and waited for.
    awaited: bool,
}

/// Asks.
#[derive(Debug, Default)]
pub(super) struct Daemons {
    schedulers: Mutex<BTreeMap<String, Known>>,
    last: tokio::sync::Mutex<Option<(Instant, Arc<Answered>)>>,
    asked_all: Mutex<Option<Instant>>,
}

impl Daemons {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.schedulers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event tells of a scheduler.
    pub(super) fn heard(&self, fact: &SchedulerFact) {
        let mut known = self.known();
        match fact.change {
            SchedulerChange::Joined => {
                if known.len() < SCHEDULERS_MAX {
                    let heard = Known { heard: Instant::now(), awaited: true };
                    known.insert(fact.scheduler.clone(), heard);
                }
            }
            SchedulerChange::Left => drop(known.remove(&fact.scheduler)),
            SchedulerChange::Lost => {
                if let Some(lost) = known.get_mut(&fact.scheduler) {
                    lost.awaited = false;
                }
            }
            SchedulerChange::EventsDropped => {}
        }
    }

    /// What they count; and whether they were asked just for this. `workers` are thought to live.
    pub(super) async fn ask(
        &self,
        bus: &Bus,
        workers: &BTreeSet<WorkerName>,
    ) -> (Arc<Answered>, bool) {
        // Whoever comes meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        if let Some((at, answered)) = &*last
            && at.elapsed() < GOOD_FOR
        {
            return (Arc::clone(answered), false);
        }
        let all = self.is_all_due();
        let schedulers: BTreeSet<String> = {
            let known = self.known();
            known.iter().filter(|(_, one)| one.awaited).map(|(id, _)| id.clone()).collect()
        };
        let is_all = |told: &[Stats]| !all && have_all(told, &schedulers, workers);
        let (told, stored) = tokio::join!(bus.stats(ANSWER_MAX, is_all), bus.events_stored());
        let mut answered = Answered { stored: stored.ok(), ..Answered::default() };
        let now = Instant::now();
        let mut known = self.known();
        for one in told.unwrap_or_default() {
            match one {
                Stats::Scheduler(stats) => {
                    let id = stats.scheduler.clone();
                    if known.len() < SCHEDULERS_MAX || known.contains_key(&id) {
                        known.insert(id.clone(), Known { heard: now, awaited: true });
                    }
                    answered.schedulers.insert(id, Some(stats));
                }
                Stats::Worker(stats) => {
                    answered.workers.insert(stats.worker.clone(), stats);
                }
            }
        }
        known.retain(|_, one| now.duration_since(one.heard) < FORGOTTEN_AFTER);
        for id in known.keys() {
            answered.schedulers.entry(id.clone()).or_default();
        }
        drop(known);
        let answered = Arc::new(answered);
        *last = Some((now, Arc::clone(&answered)));
        (answered, true)
    }

    fn is_all_due(&self) -> bool {
        let mut asked = self.asked_all.lock().unwrap_or_else(PoisonError::into_inner);
        let due = asked.is_none_or(|at| at.elapsed() >= ALL_EVERY);
        if due {
            *asked = Some(Instant::now());
        }
        due
    }
}

/// Whether everybody has answered who is thought to live.
fn have_all(told: &[Stats], schedulers: &BTreeSet<String>, workers: &BTreeSet<WorkerName>) -> bool {
    if told.len() < schedulers.len() + workers.len() {
        return false;
    }
    let is_told = |stats: &Stats| match stats {
        Stats::Scheduler(stats) => schedulers.contains(&stats.scheduler),
        Stats::Worker(stats) => workers.contains(&stats.worker),
    };
    told.iter().filter(|stats| is_told(stats)).count() >= schedulers.len() + workers.len()
}
