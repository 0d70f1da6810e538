//! The view and the judge, and how what the bus delivers is folded into them. No bus, no clock:
//! the simulation (`tests/simulation`) runs it, too.

pub mod displaced;
mod overdue;
mod status;
mod telling;
mod trust;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dsbus_client::{Entry, Error, Signers, Value};
use dsbus_planner::judge::{Judge, Verdict};
use dsbus_planner::view::{Life, Seen, View};
use dsbus_schema::ids::{FleetName, InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::storage::{Bucket, FleetKey, parse_goal_key, parse_worker_goal_key};
use dsbus_schema::touch::{PRESENCE_SECONDS, SchedulerTouch, Touch};
use dsbus_schema::worker::Worker;

use crate::tell::ledger::Ledger;
use crate::turn;
use telling::Lapsed;

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
    /// Workers whose leases were lost after they had stopped in order: nobody is told of their loss,
    /// nor that they are back.
    stopped: BTreeSet<WorkerName>,
    /// Leases that are given their time twice, and those of them that are to be told of.
    awaited: BTreeSet<LeaseKey>,
    awaits: Vec<LeaseKey>,
    fleet: FleetName,
    /// This scheduler.
    me: String,
    /// What is to be told, and what others are to tell.
    ledger: Ledger,
    /// What schedulers last said of themselves, until they have left or are lost.
    peers: BTreeMap<String, SchedulerTouch>,
    /// Schedulers whose lease has expired, and which may be back in a moment.
    lapsed: BTreeMap<String, Lapsed>,
    /// Entries that were there at the beginning and may stand for events that nobody told.
    early: BTreeMap<Bucket, VecDeque<Entry>>,
    /// Whose placements count.
    signers: Signers,
    /// What the last write of each instance's placement was signed with: an older one that is written
    /// again is known by it.
    written: BTreeMap<InstanceId, u64>,
    /// Placements that other keys than this scheduler's have signed, and which.
    signed_by: BTreeMap<(WorkerName, InstanceId), Arc<str>>,
    /// What displaced something, and its sequence.
    displaced: BTreeMap<(Bucket, String), u64>,
    /// When the latest entry was written, by the clock of NATS.
    latest: Option<Timestamp>,
    /// Since when it hears of touches and placements, without having begun anew.
    pub(crate) hears_since: Option<BootTime>,
}

impl Core {
    /// Of the scheduler `me`, which knows nothing yet.
    pub fn new(fleet: FleetName, me: &str) -> Core {
        Core { fleet, me: me.to_owned(), ..Core::default() }
    }

    /// Whether every bucket's state is known, so that one may plan and answer.
    pub fn ready(&self) -> bool {
        self.caught_up.len() == Bucket::STATE.len()
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
        self.displaced.retain(|(b, _), _| *b != bucket);
        self.view.reset(bucket);
        if bucket == Bucket::Fleet {
            self.hears_since = None;
            self.schedulers.clear();
            self.written.clear();
            self.signed_by.clear();
            self.peers.clear();
            self.lapsed.clear();
        }
    }

    /// A bucket began anew: the others are heard anew, too, and until then nothing is known.
    pub fn doubt_others(&mut self, bucket: Bucket) {
        self.caught_up.retain(|other| *other == bucket);
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
        let before = std::mem::replace(last, entry.seq);
        self.latest = self.latest.max(Some(entry.time));
        if bucket == Bucket::Fleet {
            self.hears_since.get_or_insert(now);
        }
        self.note_early(bucket, entry);
        self.displaced.remove(&(bucket, entry.key.clone()));
        let folded = self.fold_into(bucket, entry, before, now);
        if folded.is_err() {
            self.unreadable(bucket, entry);
        }
        folded
    }

    /// `before` is the sequence that the key had before.
    fn fold_into(
        &mut self,
        bucket: Bucket,
        entry: &Entry,
        before: u64,
        now: BootTime,
    ) -> Result<Option<News>, Error> {
        match bucket {
            Bucket::Programs => self.fold_program(entry, now)?,
            Bucket::Goals => self.fold_goal(entry, now)?,
            Bucket::Workers => {
                let Ok(name) = WorkerName::parse(&entry.key) else { return Ok(None) };
                // Who writes a record may choose what is in it, and not its key.
                let record = entry.json()?.filter(|worker: &Worker| worker.name == name);
                self.view.set_worker(&name, record.map(|value| Seen { seq: entry.seq, value }));
            }
            Bucket::Status => self.fold_status(entry, now)?,
            Bucket::Fleet => return self.fold_fleet(entry, before, now),
            // They are not watched: no placement depends on them.
            Bucket::Alerts | Bucket::Secrets => {}
        }
        Ok(None)
    }

    fn fold_program(&mut self, entry: &Entry, now: BootTime) -> Result<(), Error> {
        let Ok(name) = entry.key.parse() else { return Ok(()) };
        let program = entry.json()?;
        self.tell_program(entry, &name, program.as_ref(), now);
        self.view.set_program(&name, program.map(|value| Seen { seq: entry.seq, value }));
        Ok(())
    }

    fn fold_goal(&mut self, entry: &Entry, now: BootTime) -> Result<(), Error> {
        if let Some(worker) = parse_worker_goal_key(&entry.key) {
            let goal = entry.json()?;
            self.tell_worker_goal(entry, &worker, goal.as_ref(), now);
            let goal = goal.map(|value| Seen { seq: entry.seq, value });
            self.view.set_worker_goal(&worker, goal);
        } else if let Some((program, index)) = parse_goal_key(&entry.key) {
            let goal = entry.json()?;
            self.tell_goal(entry, (&program, index), goal.as_ref(), now);
            self.view.set_goal(&program, index, goal);
        }
        Ok(())
    }

    fn fold_fleet(
        &mut self,
        entry: &Entry,
        before: u64,
        now: BootTime,
    ) -> Result<Option<News>, Error> {
        match FleetKey::parse(&entry.key) {
            Some(FleetKey::Placement(worker, name)) => {
                self.fold_placement(&worker, &name, entry, now)?;
            }
            Some(FleetKey::Touch(worker, seconds)) => {
                return Ok(self.fold_touch((worker, seconds), entry, now));
            }
            Some(FleetKey::Scheduler(id)) => self.fold_scheduler(&id, entry, before, now),
            None => {}
        }
        Ok(None)
    }

    fn fold_touch(&mut self, key: LeaseKey, entry: &Entry, now: BootTime) -> Option<News> {
        let (worker, seconds) = &key;
        match entry.value {
            Value::Put(_) => {
                let touch = entry.json::<Touch>().ok().flatten();
                let incarnation = touch.map(|touch| touch.incarnation);
                let before =
                    self.view.touched(worker, *seconds, entry.seq, incarnation, entry.time);
                self.judge.touched(&key, now);
                self.lost.remove(&key);
                self.awaited.remove(&key);
                let back = before == Life::Lost && *seconds == PRESENCE_SECONDS;
                let back = back && !self.stopped.remove(worker);
                back.then_some(News::Back(key.0, entry.seq))
            }
            // Whoever it is of touches it again soon.
            Value::Copied => None,
            Value::Deleted | Value::Expired => {
                self.view.expired(worker, *seconds, entry.seq);
                self.judge.expired(&key, now);
                None
            }
        }
    }

    /// Judges every lease. Returns those that are lost from now on, those whose workers are to be
    /// asked now, and whether any verdict changed.
    pub fn judge_all(&mut self, now: BootTime) -> (Vec<LeaseKey>, BTreeSet<LeaseKey>, bool) {
        let (mut lost, mut ask, mut changed) = (Vec::new(), BTreeSet::new(), false);
        let held = self.view.held();
        let silent = self.silent(&held, now);
        let leases: Vec<(LeaseKey, Life)> =
            self.view.leases().map(|(key, lease)| (key, lease.life)).collect();
        for (key, life) in leases {
            let mut judged = |life| changed |= self.view.set_life(&key.0, key.1, life);
            if !held.contains(&key) {
                // Nobody lives by it, so it is no sign of anything.
                judged(Life::Silent);
                continue;
            }
            if life == Life::Lost {
                continue;
            }
            if !self.judge.knows(&key) {
                self.judge.first_seen(&key, now);
            }
            // Once it is given its time twice, it is, also when the others are back or lost by then.
            let many = silent.many(&key.0) || self.awaited.contains(&key);
            match self.judge.verdict(&key, key.1, many, now) {
                Verdict::Live => {
                    judged(Life::Live);
                    self.awaited.remove(&key);
                }
                Verdict::Lost => {
                    judged(Life::Lost);
                    self.awaited.remove(&key);
                    self.lost.insert(key.clone(), now);
                    if key.1 == PRESENCE_SECONDS && self.view.has_stopped(&key.0) {
                        self.stopped.insert(key.0.clone());
                    }
                    lost.push(key);
                }
                Verdict::Ask { at } => {
                    judged(Life::Silent);
                    // It would be lost, if the others were not silent, too.
                    let alone = self.judge.verdict(&key, key.1, false, now);
                    let waits = many && alone == Verdict::Lost;
                    if waits && self.awaited.insert(key.clone()) {
                        self.awaits.push(key.clone());
                    }
                    if at <= now {
                        ask.insert(key);
                    }
                }
            }
        }
        for key in &ask {
            self.judge.asked(key, now);
        }
        (lost, ask, changed)
    }

    /// Whether a worker whose lease is lost had stopped in order.
    pub fn has_stopped(&self, worker: &WorkerName) -> bool {
        self.stopped.contains(worker)
    }

    /// Leases that were to be lost since this was last asked, but that too many workers were silent
    /// at once (rule 7): they are given their time once more. Each is told once.
    pub fn take_awaited(&mut self) -> Vec<LeaseKey> {
        std::mem::take(&mut self.awaits)
    }

    /// Who is silent, of those that were not lost long ago.
    fn silent(&self, held: &BTreeSet<LeaseKey>, now: BootTime) -> Silent {
        let mut silent = Silent::default();
        for (key, lease) in self.view.leases().filter(|(key, _)| held.contains(key)) {
            let (worker, seconds) = &key;
            let just_lost = self
                .lost
                .get(&key)
                .is_some_and(|at| now.since(*at) < Duration::from_secs(*seconds));
            if lease.life == Life::Lost && !just_lost {
                continue;
            }
            silent.known.insert(worker.clone());
            if just_lost || self.judge.silent(&key, now) {
                silent.silent.insert(worker.clone());
            }
        }
        silent
    }

    /// How long the scheduler `me` lets others go first with a program (rule 11).
    pub fn patience(&self, me: &str, program: &ProgramName) -> Duration {
        turn::patience(me, &self.schedulers, program)
    }

    /// Length of the shortest lease that is judged, in seconds.
    pub fn shortest_lease(&self) -> u64 {
        self.view.held().into_iter().map(|(_, seconds)| seconds).min().unwrap_or(PRESENCE_SECONDS)
    }
}

#[cfg(test)]
mod tests;
