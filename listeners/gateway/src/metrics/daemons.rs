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

/// The schedulers that were heard of.
#[derive(Debug, Default)]
struct Schedulers {
    known: BTreeMap<String, Known>,
    /// Those that left since they were last asked: an answer of before does not bring one back.
    left: BTreeSet<String>,
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
    schedulers: Mutex<Schedulers>,
    last: tokio::sync::Mutex<Option<(Instant, Arc<Answered>)>>,
    asked_all: Mutex<Option<Instant>>,
}

impl Schedulers {
    /// An event tells of a scheduler.
    fn heard(&mut self, fact: &SchedulerFact, now: Instant) {
        let id = &fact.scheduler;
        match fact.change {
            SchedulerChange::Joined => {
                self.left.remove(id);
                self.add(id, now);
            }
            SchedulerChange::Left => {
                self.known.remove(id);
                if self.left.len() < SCHEDULERS_MAX {
                    self.left.insert(id.clone());
                }
            }
            SchedulerChange::Lost => {
                if let Some(lost) = self.known.get_mut(id) {
                    lost.awaited = false;
                }
            }
            SchedulerChange::EventsDropped => {}
        }
    }

    /// They are about to be asked: those who are waited for.
    fn awaited(&mut self) -> BTreeSet<String> {
        self.left.clear();
        self.known.iter().filter(|(_, one)| one.awaited).map(|(id, _)| id.clone()).collect()
    }

    /// One has answered; says whether it is still there.
    fn answered(&mut self, id: &str, now: Instant) -> bool {
        let here = !self.left.contains(id);
        if here {
            self.add(id, now);
        }
        here
    }

    fn add(&mut self, id: &str, now: Instant) {
        if self.known.len() < SCHEDULERS_MAX || self.known.contains_key(id) {
            self.known.insert(id.to_owned(), Known { heard: now, awaited: true });
        }
    }
}

impl Daemons {
    fn schedulers(&self) -> MutexGuard<'_, Schedulers> {
        self.schedulers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event tells of a scheduler.
    pub(super) fn heard(&self, fact: &SchedulerFact) {
        self.schedulers().heard(fact, Instant::now());
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
        let schedulers = self.schedulers().awaited();
        let is_all = |told: &[Stats]| !all && have_all(told, &schedulers, workers);
        let (told, stored) = tokio::join!(bus.stats(ANSWER_MAX, is_all), bus.events_stored());
        let mut answered = Answered { stored: stored.ok(), ..Answered::default() };
        let now = Instant::now();
        let mut heard = self.schedulers();
        for one in told.unwrap_or_default() {
            match one {
                Stats::Scheduler(stats) => {
                    if heard.answered(&stats.scheduler, now) {
                        answered.schedulers.insert(stats.scheduler.clone(), Some(stats));
                    }
                }
                Stats::Worker(stats) => {
                    answered.workers.insert(stats.worker.clone(), stats);
                }
            }
        }
        heard.known.retain(|_, one| now.duration_since(one.heard) < FORGOTTEN_AFTER);
        for id in heard.known.keys() {
            answered.schedulers.entry(id.clone()).or_default();
        }
        drop(heard);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn an_answer_does_not_bring_back_one_that_has_left_since() {
        let now = Instant::now();
        let fact = |change: &str| -> SchedulerFact {
            serde_json::from_value(json!({ "scheduler": "s1", "change": change, "schedulers": 1 }))
                .unwrap()
        };
        let mut all = Schedulers::default();
        all.heard(&fact("JOINED"), now);
        assert_eq!(all.awaited(), BTreeSet::from(["s1".to_owned()]));
        all.heard(&fact("LEFT"), now);
        assert!(!all.answered("s1", now) && all.known.is_empty());
        // It is there again.
        all.heard(&fact("JOINED"), now);
        assert!(all.answered("s1", now));
        all.heard(&fact("LOST"), now);
        assert!(all.awaited().is_empty() && all.known.len() == 1);
        assert!(all.answered("s1", now));
        assert_eq!(all.awaited().len(), 1);
    }
}
