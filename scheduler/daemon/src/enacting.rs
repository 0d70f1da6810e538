//! Enacting a plan: not before the view is current, some writes at once, and what was not done is
//! planned again.

use std::collections::BTreeSet;
use std::time::Duration;

use dsbus_client::Error;
use dsbus_planner::Action;
use dsbus_planner::action::LeaseGuard;
use dsbus_schema::ids::{ProgramId, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::storage::{Bucket, touch_key};

use crate::clock;
use crate::enact::{Enactor, Folded};
use crate::held::Held;
use crate::run::Scheduler;
use crate::writes::{Group, groups, hold_key, lease_of};

/// An action that the bus refused is not tried again for this long: the watch will first have
/// shown who won.
const HOLD_AFTER_REFUSAL: Duration = Duration::from_millis(250);
/// A batch that was refused is tried again in two parts after this time: by then the watch has
/// shown what others have done, and only what is left is planned again.
const HOLD_AFTER_SPLIT: Duration = Duration::from_millis(50);
/// For how long an answer that the view is current is believed: a scheduler that was frozen since
/// then asks again.
const CURRENT_FOR: Duration = Duration::from_millis(500);
/// Writes on their way at once; when one of them fails, no further ones are sent. A stream takes 50
/// batches at once from all schedulers together (NATS, ADR-50).
const WRITES_AT_ONCE: usize = 32;

/// Takes what is written at once: no two batches that stand on the same lease, which would refuse
/// each other.
fn round(groups: &mut Vec<Group>) -> Vec<Group> {
    let (mut some, mut left) = (Vec::new(), Vec::new());
    let mut leases = BTreeSet::new();
    for group in std::mem::take(groups) {
        let lease = lease_of(&group).map(|(worker, lease)| (worker, lease.seconds));
        let taken = lease.as_ref().is_some_and(|lease| leases.contains(lease));
        if some.len() >= WRITES_AT_ONCE || taken {
            left.push(group);
        } else {
            leases.extend(lease);
            some.push(group);
        }
    }
    *groups = left;
    some
}

impl Scheduler {
    pub(crate) async fn enact_all(&mut self, actions: Vec<(Action, Option<ProgramId>)>) {
        // Whatever comes of it, it is planned again.
        self.news = true;
        let most = |worker: &WorkerName, seconds| {
            self.split.get(&(worker.clone(), seconds)).copied().unwrap_or(usize::MAX)
        };
        let mut groups = groups(actions, most);
        loop {
            let some = round(&mut groups);
            if some.is_empty() {
                return;
            }
            // Looked at before each of them: a stop that was answered meanwhile holds back a place that
            // was decided before, whose write has no guard that would.
            let asked = clock::now();
            if !self.view_is_current().await || clock::now().since(asked) > CURRENT_FOR {
                // What is missing is on its way, and wakes this loop up.
                let left = some.into_iter().chain(groups);
                return self.note(left.flatten().map(|(action, _)| action));
            }
            let results = self.enact(some).await;
            let now = clock::now();
            let lost_race = |e: &Error| matches!(e, Error::LostRace { .. });
            let troubled = results.iter().any(|(_, r)| r.as_ref().is_err_and(|e| !lost_race(e)));
            for (group, result) in results {
                if matches!(&result, Err(e) if lost_race(e)) {
                    self.look_for_aged_marker(&group).await;
                }
                self.settle(&group, result, now);
            }
            if troubled {
                // The bus is not well: what is left is planned again, after it was listened to.
                return self.note(groups.into_iter().flatten().map(|(action, _)| action));
            }
        }
    }

    /// Whether the view has every declaration, command and worker that is on the bus. Buckets are
    /// watched apart from each other, so a placement may be heard of before the goal it came from:
    /// whoever acted on that would take back what another scheduler has just done. Of touches,
    /// which never rest, it must only have those that were there when it was first asked.
    async fn view_is_current(&mut self) -> bool {
        // All at once: whoever waits for a move waits for this.
        let reads =
            [Bucket::Programs, Bucket::Goals, Bucket::Workers, Bucket::Fleet].map(|bucket| {
                let (bus, awaited) =
                    (&self.bus, self.fleet_awaited.filter(|_| bucket == Bucket::Fleet));
                async move {
                    let last = match awaited {
                        Some(seq) => Some(seq),
                        None => bus.get(bucket, ">").await?.map(|entry| entry.seq),
                    };
                    Ok::<_, Error>(last.map(|seq| (bucket, seq)))
                }
            });
        let last: Vec<_> = match futures::future::try_join_all(reads).await {
            Ok(last) => last.into_iter().flatten().collect(),
            Err(e) => {
                tracing::debug!("the bus cannot be read: {e}");
                return false;
            }
        };
        let current = self.shared.lock().has_heard(&last);
        let fleet = last.iter().find(|(bucket, _)| *bucket == Bucket::Fleet);
        self.fleet_awaited = if current { None } else { fleet.map(|(_, seq)| *seq) };
        current
    }

    async fn enact(&self, groups: Vec<Group>) -> Vec<(Group, Result<Vec<Folded>, Error>)> {
        let enactor = Enactor { bus: &self.bus, presence: &self.presence };
        let enacting = groups.into_iter().map(|group| {
            let enactor = &enactor;
            async move {
                let result = enactor.enact(&group).await;
                (group, result)
            }
        });
        futures::future::join_all(enacting).await
    }

    /// A marker goes away by its own age, of which nobody is told: then what stands on it must
    /// stand on nothing.
    async fn look_for_aged_marker(&self, group: &Group) {
        let lease = group.first().and_then(|(action, _)| action.lease());
        let Some((worker, LeaseGuard { seconds, seq })) = lease else { return };
        if let Ok(None) = self.bus.get(Bucket::Fleet, &touch_key(worker, seconds)).await {
            self.shared.lock().view.aged(worker, seconds, seq);
        }
    }

    fn hold(&mut self, group: &Group, until: BootTime) {
        let held = |(action, _): &(Action, _)| (hold_key(action), Held::new(action, until));
        self.held.extend(group.iter().map(held));
    }

    fn settle(&mut self, group: &Group, result: Result<Vec<Folded>, Error>, now: BootTime) {
        let lease = lease_of(group).map(|(worker, lease)| (worker, lease.seconds));
        match result {
            Ok(folded) => {
                if folded.is_empty() {
                    self.hold(group, now + HOLD_AFTER_REFUSAL);
                }
                if let Some(lease) = lease {
                    self.split.remove(&lease);
                }
                let mut core = self.shared.lock();
                for (bucket, entry) in folded {
                    if let Err(e) = core.fold(bucket, &entry, now) {
                        tracing::error!("left out own {bucket:?} {}: {e}", entry.key);
                    }
                }
                self.outbox.push(core.take_told());
            }
            Err(e) => {
                match e {
                    Error::LostRace { .. } => tracing::debug!("lost the race: {group:?}"),
                    ref other => tracing::warn!("not done, will be planned again: {other}"),
                }
                match lease {
                    Some(lease) if group.len() > 1 => {
                        self.split.insert(lease, group.len() / 2);
                        self.hold(group, now + HOLD_AFTER_SPLIT);
                    }
                    _ => self.hold(group, now + HOLD_AFTER_REFUSAL),
                }
            }
        }
    }
}
