//! Which workers and schedulers are lost, and what is told of it.

use std::collections::BTreeSet;

use dsbus_schema::event::WorkerChange;
use dsbus_schema::moment::BootTime;
use dsbus_schema::touch::PRESENCE_SECONDS;

use crate::core::LeaseKey;
use crate::run::Scheduler;
use crate::tell::{Check, Told};
use crate::{clock, verify};

impl Scheduler {
    pub(crate) fn judge(&mut self, now: BootTime) {
        let (lost, ask, awaited, shortest) = {
            let mut core = self.shared.lock();
            if !core.ready() {
                return;
            }
            core.judge_schedulers(now);
            let (lost, ask, changed) = core.judge_all(now);
            self.news |= changed;
            (lost, ask, core.take_awaited(), core.shortest_lease())
        };
        self.shortest.send_if_modified(|s| std::mem::replace(s, shortest) != shortest);
        let workers: BTreeSet<_> = ask.into_iter().map(|(w, _)| w).collect();
        for worker in workers {
            verify::ask(&self.bus, worker, self.answers.clone());
        }
        if !lost.is_empty() {
            // Nobody waits for a rest while nothing runs.
            self.rests_until = BootTime(0);
        }
        for key in lost {
            if self.shared.lock().has_stopped(&key.0) {
                tracing::info!(
                    "the lease of {} s of worker {}, which stopped, is over",
                    key.1,
                    key.0
                );
                continue;
            }
            let reason = format!("no touch for {} s, and no answer", key.1);
            tracing::warn!("worker {} is lost: {reason}", key.0);
            self.tell_worker(&key, WorkerChange::Lost, &reason);
        }
        for key in awaited {
            let reason =
                format!("no touch for {} s, as of many at once: waits as long again", key.1);
            tracing::warn!("worker {} is given time: {reason}", key.0);
            self.tell_worker(&key, WorkerChange::Awaited, &reason);
        }
    }

    /// Looks at the leases that are overdue and of which no end was heard: their markers may have been
    /// missed, and gone by now.
    pub(crate) fn look(&self) {
        for key in self.shared.lock().unheard() {
            verify::look(&self.bus, key, self.looked.clone());
        }
    }

    /// Tells what became of a worker, by its presence.
    fn tell_worker(&self, (worker, seconds): &LeaseKey, change: WorkerChange, reason: &str) {
        if *seconds != PRESENCE_SECONDS {
            return;
        }
        let (seq, seen, started) = {
            let view = &self.shared.lock().view;
            let lease = view.lease_of(worker, *seconds);
            let (seq, seen) =
                lease.map_or((0, false), |lease| (lease.seq, lease.touched.is_some()));
            (seq, seen, view.worker(worker).map(|worker| worker.started))
        };
        let mut told = Told::worker(self.bus.fleet(), (worker, change), seq, clock::wall(), reason);
        // It may have been lost, and told to be, long before this scheduler started.
        if let Some(started) = started.filter(|_| !seen) {
            // Its marker may have gone since, and the id stood on that.
            told.check = if seq > 0 { Check::Since(started) } else { Check::LikeSince(started) };
        }
        self.outbox.push(vec![told]);
    }
}
