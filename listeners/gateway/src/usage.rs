//! What instances use, over time. Nobody is asked while nobody looks.

mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsbus_client::{Samples, UsageAsks, Used};
use dsbus_schema::ids::InstanceId;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::fleet::Fleet;
use history::History;
pub(crate) use history::Sample;

/// How often all instances are asked for while somebody looks.
const ALL_EVERY: Duration = Duration::from_secs(15);
/// How often those are asked for that somebody looks at.
const ONE_EVERY: Duration = Duration::from_secs(2);
/// For so long after a look all are asked for: longer than monitors mostly wait between two looks.
const ALL_FOR: Duration = Duration::from_secs(300);
/// For so long after a look one is asked for more often.
const ONE_FOR: Duration = Duration::from_secs(20);
/// Instances that are asked for more often at once: what is on screens. More are asked for as all are.
const LOOKED_AT_MAX: usize = 500;
/// What was answered so long ago is not what an instance uses now.
const OLD_AFTER: Duration = Duration::from_secs(60);
/// How long somebody waits who looks first.
const FIRST_MAX: Duration = Duration::from_secs(1);

/// Asks, and keeps what was answered; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Usage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kept: Mutex<Kept>,
    /// Somebody looks.
    looked: Notify,
    /// All were asked for once more.
    asked: watch::Sender<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Kept {
    samples: Samples,
    history: History,
    last: BTreeMap<InstanceId, (Instant, Used)>,
    all_until: Option<Instant>,
    /// Until when each is asked for more often.
    until: BTreeMap<InstanceId, Instant>,
}

/// Whom to ask for.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// All.
    All,
    /// Those that somebody looks at.
    Some,
    /// Nobody.
    Nobody,
}

impl Usage {
    /// Has asked nobody yet; see [`Usage::keep`].
    pub(crate) fn new() -> Usage {
        let asked = watch::Sender::new(None);
        Usage(Arc::new(Inner { kept: Mutex::default(), looked: Notify::new(), asked }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks whenever somebody looks, for ever.
    pub(crate) async fn keep(&self, fleet: &Fleet) {
        loop {
            let now = Instant::now();
            let last = *self.0.asked.borrow();
            // One lock after the other, never both.
            let (due, looked_at) = {
                let mut kept = self.kept();
                (kept.due(now, last), kept.until.keys().cloned().collect::<Vec<_>>())
            };
            let asks = {
                let known = fleet.known();
                let rows = known.rows();
                match due {
                    Due::All => UsageAsks::new(rows.values().map(AsRef::as_ref)),
                    Due::Some => {
                        let seen = looked_at.iter().filter_map(|name| rows.get(name));
                        UsageAsks::new(seen.map(AsRef::as_ref))
                    }
                    Due::Nobody => UsageAsks::default(),
                }
            };
            match due {
                Due::Nobody => self.0.looked.notified().await,
                Due::All | Due::Some => {
                    let answers = fleet.bus().usage(asks).await;
                    let at = jiff::Timestamp::now().as_millisecond();
                    let known: BTreeSet<InstanceId> =
                        fleet.known().rows().keys().cloned().collect();
                    {
                        let mut kept = self.kept();
                        for answer in answers {
                            kept.take(answer, now, at);
                        }
                        kept.keep(|name| known.contains(name));
                    }
                    if due == Due::All {
                        self.0.asked.send_replace(Some(now));
                    }
                    sleep(ONE_EVERY.saturating_sub(now.elapsed())).await;
                }
            }
        }
    }

    /// Somebody looks at all. Where all were not asked for lately, this waits for it, for a moment.
    pub(crate) async fn look_at_all(&self) {
        let now = Instant::now();
        self.kept().all_until = Some(now + ALL_FOR);
        let mut asked = self.0.asked.subscribe();
        self.0.looked.notify_one();
        let is_late =
            |last: &Option<Instant>| last.is_none_or(|at| now.duration_since(at) > OLD_AFTER);
        // Whoever cannot be asked in time is not shown.
        drop(timeout(FIRST_MAX, asked.wait_for(|last| !is_late(last))).await);
    }

    /// Somebody looks at one: what is known of the last hour.
    pub(crate) fn look_at(&self, name: &InstanceId) -> Vec<Sample> {
        let now = Instant::now();
        let mut kept = self.kept();
        kept.all_until = Some(now + ALL_FOR);
        if kept.until.len() < LOOKED_AT_MAX || kept.until.contains_key(name) {
            kept.until.insert(name.clone(), now + ONE_FOR);
        }
        self.0.looked.notify_one();
        kept.history.of(name)
    }

    /// What instances use now, and have used.
    pub(crate) fn now(&self) -> BTreeMap<InstanceId, Used> {
        let kept = self.kept();
        let new = kept.last.iter().filter(|(_, (at, _))| at.elapsed() < OLD_AFTER);
        new.map(|(name, (_, used))| (name.clone(), *used)).collect()
    }
}

impl Kept {
    fn due(&mut self, now: Instant, last: Option<Instant>) -> Due {
        self.until.retain(|_, until| *until > now);
        let all = self.all_until.is_some_and(|until| until > now);
        if all && last.is_none_or(|at| now.duration_since(at) >= ALL_EVERY) {
            Due::All
        } else if all || !self.until.is_empty() {
            Due::Some
        } else {
            Due::Nobody
        }
    }

    fn take(&mut self, answer: dsbus_schema::call::Using, now: Instant, at_ms: i64) {
        for (name, used) in self.samples.take(answer) {
            self.history.push(&name, Sample::new(at_ms, &used));
            self.last.insert(name, (now, used));
        }
    }

    fn keep(&mut self, is_known: impl Fn(&InstanceId) -> bool) {
        self.samples.keep(&is_known);
        self.history.keep(&is_known);
        self.last.retain(|name, _| is_known(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_asked_while_nobody_looks() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut kept = Kept::default();
        assert_eq!(kept.due(start, None), Due::Nobody);
        kept.all_until = Some(after(300));
        assert_eq!(kept.due(start, None), Due::All);
        assert_eq!(kept.due(after(14), Some(start)), Due::Some);
        assert_eq!(kept.due(after(15), Some(start)), Due::All);
        assert_eq!(kept.due(after(300), Some(after(290))), Due::Nobody);
        kept.until.insert("web:0".parse().unwrap(), after(320));
        assert_eq!(kept.due(after(300), Some(after(100))), Due::Some);
        assert_eq!(kept.due(after(320), Some(after(100))), Due::Nobody);
    }
}
