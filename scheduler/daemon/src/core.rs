//! The view and the judge, and how what the bus delivers is folded into them. No bus, no clock:
//! the simulation (`tests/simulation`) runs it, too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_client::{Entry, Error, Value};
use dsbus_planner::judge::{Judge, Verdict};
use dsbus_planner::view::{Goals, Lease, Life, Placed, Seen, View};
use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::Placement;
use dsbus_schema::storage::{
    Bucket, FleetKey, parse_fleet_status_key, parse_goal_key, parse_instance_key,
};
use dsbus_schema::touch::{PRESENCE_SECONDS, Touch};

use crate::turn;

/// A worker's lease: who, and of how many seconds.
pub type LeaseKey = (WorkerName, u64);

/// What folding an entry brought to light, for the log and the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A worker that was lost has touched again, with this sequence.
    Back(WorkerName, u64),
}

/// Workers, and those of them that have just been silent.
#[derive(Debug, Default)]
struct Silent {
    known: BTreeSet<WorkerName>,
    silent: BTreeSet<WorkerName>,
}

impl Silent {
    /// Rule 7: more than a third of the workers, and at least two, this one among them.
    fn many(&self, worker: &WorkerName) -> bool {
        let count = self.silent.len();
        count >= 2 && count * 3 > self.known.len() && self.silent.contains(worker)
    }
}

/// All that this scheduler knows.
#[derive(Debug, Default)]
pub struct Core {
    /// The view.
    pub view: View,
    /// The judge.
    pub judge: Judge<LeaseKey>,
    /// Sequence of the last entry folded, by bucket and key: own writes are folded when they are
    /// acknowledged, and come again by the watch.
    seqs: BTreeMap<(Bucket, String), u64>,
    /// Up to where each bucket's watch has delivered.
    heard: BTreeMap<Bucket, u64>,
    /// Buckets whose state is known.
    caught_up: BTreeSet<Bucket>,
    /// Schedulers that touch.
    schedulers: BTreeSet<String>,
    /// When leases were lost.
    lost: BTreeMap<LeaseKey, BootTime>,
    /// Leases that are given their time twice, and those of them that are to be told of.
    awaited: BTreeSet<LeaseKey>,
    awaits: Vec<LeaseKey>,
}

impl Core {
    /// Whether every bucket's state is known, so that one may plan and answer.
    pub fn ready(&self) -> bool {
        self.caught_up.len() == Bucket::ALL.len()
    }

    /// The watch has delivered all that was there.
    pub fn caught_up(&mut self, bucket: Bucket) {
        self.caught_up.insert(bucket);
    }

    /// The watch begins anew: forget what it delivered.
    pub fn reset(&mut self, bucket: Bucket) {
        self.caught_up.remove(&bucket);
        self.heard.remove(&bucket);
        self.seqs.retain(|(b, _), _| *b != bucket);
        let view = &mut self.view;
        match bucket {
            Bucket::Programs => view.programs.clear(),
            Bucket::Goals => view.goals.clear(),
            Bucket::Workers => view.workers.clear(),
            Bucket::Status => {
                view.statuses.clear();
                view.fleet_statuses.clear();
                view.fleet_status_guards.clear();
            }
            Bucket::Fleet => {
                self.schedulers.clear();
                view.placements.clear();
                view.guards.clear();
                for lease in view.leases.values_mut() {
                    *lease = Lease { life: Life::Silent, ..Lease::default() };
                }
            }
        }
    }

    /// The watch has delivered everything up to this sequence.
    pub fn heard(&mut self, bucket: Bucket, seq: u64) {
        self.heard.insert(bucket, seq);
    }

    /// Whether the watches have delivered everything up to these sequences.
    pub fn has_heard(&self, all: &[(Bucket, u64)]) -> bool {
        all.iter().all(|(bucket, seq)| self.heard.get(bucket).is_some_and(|heard| heard >= seq))
    }

    /// Folds an entry. One that is older than what is known is left out.
    ///
    /// # Errors
    /// When its body cannot be read; it is left out, too.
    pub fn fold(
        &mut self,
        bucket: Bucket,
        entry: &Entry,
        now: BootTime,
    ) -> Result<Option<News>, Error> {
        let last = self.seqs.entry((bucket, entry.key.clone())).or_insert(0);
        if entry.seq <= *last {
            return Ok(None);
        }
        *last = entry.seq;
        match bucket {
            Bucket::Programs => self.fold_program(entry)?,
            Bucket::Goals => self.fold_goal(entry)?,
            Bucket::Workers => {
                if let Ok(name) = WorkerName::parse(&entry.key) {
                    match entry.json()? {
                        Some(worker) => self.view.workers.insert(name, worker),
                        None => self.view.workers.remove(&name),
                    };
                }
            }
            Bucket::Status => self.fold_status(entry)?,
            Bucket::Fleet => return self.fold_fleet(entry, now),
        }
        Ok(None)
    }

    fn fold_program(&mut self, entry: &Entry) -> Result<(), Error> {
        let Ok(name) = entry.key.parse() else { return Ok(()) };
        match entry.json()? {
            Some(value) => {
                self.view.programs.insert(name, Seen { seq: entry.seq, value });
            }
            None => {
                self.view.programs.remove(&name);
            }
        }
        Ok(())
    }

    fn fold_goal(&mut self, entry: &Entry) -> Result<(), Error> {
        let Some((program, index)) = parse_goal_key(&entry.key) else { return Ok(()) };
        let goal = entry.json()?;
        let goals = self.view.goals.entry(program.clone()).or_default();
        match (index, goal) {
            (None, goal) => goals.all = goal,
            (Some(index), Some(goal)) => {
                goals.each.insert(index, goal);
            }
            (Some(index), None) => {
                goals.each.remove(&index);
            }
        }
        if *goals == Goals::default() {
            self.view.goals.remove(&program);
        }
        Ok(())
    }

    fn fold_status(&mut self, entry: &Entry) -> Result<(), Error> {
        let status = entry.json()?.map(|value| Seen { seq: entry.seq, value });
        if let Some(name) = parse_fleet_status_key(&entry.key) {
            self.view.fleet_status_guards.insert(name.clone(), entry.seq);
            match status {
                Some(status) => self.view.fleet_statuses.insert(name, status),
                None => self.view.fleet_statuses.remove(&name),
            };
        } else if let Some((worker, name)) = parse_instance_key(&entry.key) {
            let told = self.view.statuses.entry(name.clone()).or_default();
            match status {
                Some(status) => told.insert(worker, status),
                None => told.remove(&worker),
            };
            if told.is_empty() {
                self.view.statuses.remove(&name);
            }
        }
        Ok(())
    }

    fn fold_fleet(&mut self, entry: &Entry, now: BootTime) -> Result<Option<News>, Error> {
        match FleetKey::parse(&entry.key) {
            Some(FleetKey::Placement(worker, name)) => {
                self.fold_placement(&worker, &name, entry, now)?;
            }
            Some(FleetKey::Touch(worker, seconds)) => {
                return Ok(self.fold_touch((worker, seconds), entry, now));
            }
            Some(FleetKey::Scheduler(id)) => match entry.value {
                Value::Put(_) => drop(self.schedulers.insert(id)),
                Value::Deleted | Value::Expired => drop(self.schedulers.remove(&id)),
            },
            None => {}
        }
        Ok(None)
    }

    fn fold_placement(
        &mut self,
        worker: &WorkerName,
        name: &InstanceId,
        entry: &Entry,
        now: BootTime,
    ) -> Result<(), Error> {
        // One that cannot be read leaves the guard as it was, too: so the bus refuses to write over
        // a placement that somebody else may understand.
        let placement: Option<Placement> = entry.json()?;
        let guard = self.view.guards.entry(name.clone()).or_insert(0);
        *guard = entry.seq.max(*guard);
        let here = self.view.placements.entry(name.clone()).or_default();
        let was_here = here.iter().any(|placed| placed.worker == *worker);
        here.retain(|placed| placed.worker != *worker);
        if let Some(placement) = placement {
            let lease = (worker.clone(), placement.spec.touch_seconds());
            here.push(Placed { worker: worker.clone(), seq: entry.seq, placement });
            // Its lease may not be taken yet, or be a lost one of long ago: it is judged from now
            // on (rule 4).
            let silent = || Lease { life: Life::Silent, ..Lease::default() };
            let held = self.view.leases.entry(lease.clone()).or_insert_with(silent);
            if !was_here && held.life != Life::Live {
                held.life = Life::Silent;
                self.judge.first_seen(&lease, now);
            }
        } else if here.is_empty() {
            self.view.placements.remove(name);
        }
        Ok(())
    }

    fn fold_touch(&mut self, key: LeaseKey, entry: &Entry, now: BootTime) -> Option<News> {
        let lease = self.view.leases.entry(key.clone()).or_default();
        lease.seq = entry.seq;
        match entry.value {
            Value::Put(_) => {
                let back = lease.life == Life::Lost && key.1 == PRESENCE_SECONDS;
                lease.life = Life::Live;
                lease.incarnation =
                    entry.json::<Touch>().ok().flatten().map(|touch| touch.incarnation);
                lease.touched = Some(entry.time);
                self.judge.touched(&key, now);
                self.lost.remove(&key);
                self.awaited.remove(&key);
                back.then_some(News::Back(key.0, entry.seq))
            }
            Value::Deleted | Value::Expired => {
                if lease.life == Life::Live {
                    lease.life = Life::Silent;
                }
                self.judge.expired(&key, now);
                None
            }
        }
    }

    /// Judges every lease. Returns those that are lost from now on, those whose workers are to be
    /// asked now, and whether any verdict changed.
    pub fn judge_all(&mut self, now: BootTime) -> (Vec<LeaseKey>, BTreeSet<LeaseKey>, bool) {
        let (mut lost, mut ask) = (Vec::new(), BTreeSet::new());
        let lives = |view: &View| view.leases.values().map(|lease| lease.life).collect::<Vec<_>>();
        let before = lives(&self.view);
        let held = self.held();
        let silent = self.silent(&held, now);
        for (key, lease) in &mut self.view.leases {
            if !held.contains(key) {
                // Nobody lives by it, so it is no sign of anything.
                lease.life = Life::Silent;
                continue;
            }
            if lease.life == Life::Lost {
                continue;
            }
            if !self.judge.knows(key) {
                self.judge.first_seen(key, now);
            }
            // Once it is given its time twice, it is, also when the others are back or lost by then.
            let many = silent.many(&key.0) || self.awaited.contains(key);
            match self.judge.verdict(key, key.1, many, now) {
                Verdict::Live => {
                    lease.life = Life::Live;
                    self.awaited.remove(key);
                }
                Verdict::Lost => {
                    lease.life = Life::Lost;
                    self.awaited.remove(key);
                    self.lost.insert(key.clone(), now);
                    lost.push(key.clone());
                }
                Verdict::Ask { at } => {
                    lease.life = Life::Silent;
                    // It would be lost, if the others were not silent, too.
                    let waits = many && self.judge.verdict(key, key.1, false, now) == Verdict::Lost;
                    if waits && self.awaited.insert(key.clone()) {
                        self.awaits.push(key.clone());
                    }
                    if at <= now {
                        ask.insert(key.clone());
                    }
                }
            }
        }
        for key in &ask {
            self.judge.asked(key, now);
        }
        let changed = before != lives(&self.view);
        (lost, ask, changed)
    }

    /// Leases that were to be lost since this was last asked, but that too many workers were silent
    /// at once (rule 7): they are given their time once more. Each is told once.
    pub fn take_awaited(&mut self) -> Vec<LeaseKey> {
        std::mem::take(&mut self.awaits)
    }

    /// Who is silent, of those that were not lost long ago.
    fn silent(&self, held: &BTreeSet<LeaseKey>, now: BootTime) -> Silent {
        let mut silent = Silent::default();
        for (key, lease) in self.view.leases.iter().filter(|(key, _)| held.contains(*key)) {
            let (worker, seconds) = key;
            let just_lost =
                self.lost.get(key).is_some_and(|at| now.since(*at) < Duration::from_secs(*seconds));
            if lease.life == Life::Lost && !just_lost {
                continue;
            }
            silent.known.insert(worker.clone());
            if just_lost || self.judge.silent(key, now) {
                silent.silent.insert(worker.clone());
            }
        }
        silent
    }

    /// Leases that somebody lives by: every worker's presence, and those of placements.
    fn held(&self) -> BTreeSet<LeaseKey> {
        let presences = self.view.workers.keys().map(|w| (w.clone(), PRESENCE_SECONDS));
        let placements = self
            .view
            .placements
            .values()
            .flatten()
            .map(|p| (p.worker.clone(), p.placement.spec.touch_seconds()));
        presences.chain(placements).collect()
    }

    /// A worker answered.
    pub fn answered(&mut self, worker: &WorkerName) {
        let keys = self.view.leases.keys().filter(|(name, _)| name == worker);
        for key in keys {
            self.judge.answered(key);
        }
    }

    /// How long the scheduler `me` lets others go first with a program (rule 11).
    pub fn patience(&self, me: &str, program: &ProgramName) -> Duration {
        turn::patience(me, &self.schedulers, program)
    }

    /// Length of the shortest lease that is judged, in seconds.
    pub fn shortest_lease(&self) -> u64 {
        self.held().into_iter().map(|(_, seconds)| seconds).min().unwrap_or(PRESENCE_SECONDS)
    }
}

#[cfg(test)]
mod tests;
