//! The witness: sees everything as it is, and checks at every step what DESIGN.md section 5 claims.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_client::{Entry, Value};
use dsbus_scheduler::core::{Core, LeaseKey};
use dsbus_schema::event::{Event as Told, Fact};
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::{Epoch, InstanceId, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::Program;
use dsbus_schema::state::State;
use dsbus_schema::storage::{Bucket, FleetKey, touch_key};
use dsbus_schema::touch::PRESENCE_SECONDS;
use uuid::Uuid;

use crate::adapter;
use crate::dice::{MS, SECOND};
use crate::event::{Command, Run};
use crate::world::World;
use crate::{Failure, Invariant};

/// Trouble that is shorter than two thirds of a lease, less this, loses no lease: a touch follows
/// the end of the trouble within the patience for the last one, the pause before the next, and two
/// slow ways.
const TOUCH_AGAIN_MS: u64 = 1_800;

/// The longest lease of a run.
const LONGEST: u64 = 7 * SECOND;

/// What became of an instance in one batch.
#[derive(Debug, Default)]
struct Moved {
    from: Option<WorkerName>,
    put: bool,
    /// Its worker had given it up.
    gave_up: bool,
}

/// What the witness knows.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) workers: Vec<WorkerName>,
    /// What a scheduler would know that hears everything at once.
    pub(crate) oracle: Core,
    highest: BTreeMap<InstanceId, Epoch>,
    places: BTreeMap<InstanceId, WorkerName>,
    /// Placements that said at some time that the instance is to stop.
    stops: BTreeSet<(InstanceId, Epoch)>,
    /// By number; with the id of each, and whether it was told by a run that was dead already.
    events: BTreeMap<(InstanceId, Epoch), BTreeMap<u64, (Uuid, bool)>>,
    issued: BTreeMap<Uuid, Command>,
    acted: BTreeSet<Uuid>,
    pub(crate) acknowledged: Vec<Command>,
    /// Since when each worker could be reached.
    pub(crate) reached: Vec<Option<u64>>,
    /// Since when each worker has been in trouble, and times of it that are over.
    pub(crate) trouble: Vec<Option<u64>>,
    pub(crate) troubles: Vec<Vec<(u64, u64)>>,
    /// Until when exclusive children may live by each lease, as was promised to them.
    pub(crate) promised: BTreeMap<LeaseKey, u64>,
    /// When something was last placed under each lease.
    leased: BTreeMap<LeaseKey, u64>,
    /// When each scheduler last could not hear or speak.
    pub(crate) deaf: Vec<u64>,
    touched: BTreeMap<LeaseKey, u64>,
    /// When each worker last answered a scheduler.
    pub(crate) answered: BTreeMap<WorkerName, u64>,
    /// From when until when the bus was last not there for anybody.
    pub(crate) bus_away: (u64, u64),
    pub(crate) skewed: bool,
    /// Machines that have lost what was on their disks.
    pub(crate) wiped: BTreeSet<usize>,
    /// Machines that are not switched on again.
    pub(crate) for_good: BTreeSet<usize>,
    /// Places that instances were given, and what was told of them; commands that were told.
    pub(crate) placed: BTreeSet<(InstanceId, Epoch)>,
    pub(crate) places_told: BTreeMap<(InstanceId, Epoch), Uuid>,
    pub(crate) commands_told: BTreeSet<Uuid>,
}

impl Witness {
    /// Whether something was written for a command.
    pub(crate) fn has_acted(&self, command: Uuid) -> bool {
        self.acted.contains(&command)
    }

    pub(crate) fn new(workers: usize) -> Witness {
        let name = |n: usize| WorkerName::parse(&format!("w{}", n + 1)).ok();
        Witness {
            workers: (0..workers).filter_map(name).collect(),
            oracle: Core::default(),
            highest: BTreeMap::new(),
            places: BTreeMap::new(),
            stops: BTreeSet::new(),
            events: BTreeMap::new(),
            issued: BTreeMap::new(),
            acted: BTreeSet::new(),
            acknowledged: Vec::new(),
            reached: vec![None; workers],
            trouble: vec![Some(0); workers],
            troubles: vec![Vec::new(); workers],
            promised: BTreeMap::new(),
            leased: BTreeMap::new(),
            deaf: Vec::new(),
            touched: BTreeMap::new(),
            answered: BTreeMap::new(),
            bus_away: (0, 0),
            skewed: false,
            wiped: BTreeSet::new(),
            for_good: BTreeSet::new(),
            placed: BTreeSet::new(),
            places_told: BTreeMap::new(),
            commands_told: BTreeSet::new(),
        }
    }
}

impl World {
    /// An invariant does not hold.
    pub(crate) fn fail(&mut self, invariant: Invariant, what: String) {
        if self.failure.is_none() {
            self.failure = Some(Failure { invariant, at: self.agenda.now(), what });
        }
    }

    /// Something is stored in a bucket.
    pub(crate) fn witness_entries(&mut self, bucket: Bucket, new: &[Entry]) {
        let mut moved: BTreeMap<InstanceId, Moved> = BTreeMap::new();
        for entry in new {
            if bucket == Bucket::Fleet {
                self.witness_fleet(entry, &mut moved);
            }
            self.witness_acted(bucket, entry);
            let heard = BootTime(self.agenda.now() + SECOND);
            let _ = self.witness.oracle.fold(bucket, entry, heard);
            self.witness.oracle.take_told();
        }
        for (name, Moved { from, put, gave_up }) in moved {
            if adapter::places(&self.witness.oracle, &name) > 1 {
                let on = adapter::placements(&self.witness.oracle, &name);
                let on: Vec<String> = on.iter().map(|(worker, _)| worker.to_string()).collect();
                let what = format!("{name} is placed on {}", on.join(" and "));
                self.fail(Invariant::OnePlacement, what);
            }
            if let Some(from) = from.filter(|_| put && !gave_up) {
                self.witness_move(&name, &from);
            }
        }
    }

    fn witness_fleet(&mut self, entry: &Entry, moved: &mut BTreeMap<InstanceId, Moved>) {
        match FleetKey::parse(&entry.key) {
            Some(FleetKey::Placement(worker, name)) => {
                let placement: Option<Placement> = entry.json().ok().flatten();
                let seen = moved.entry(name.clone()).or_default();
                match placement {
                    None => {
                        self.note(|| format!("fleet: {} is gone ({})", entry.key, entry.seq));
                        seen.gave_up = adapter::status(&self.witness.oracle, &name, &worker)
                            .is_some_and(|status| status.state == State::Fatal);
                        seen.from = self.witness.places.remove(&name).or(Some(worker));
                    }
                    Some(placement) => {
                        seen.put = true;
                        self.witness_placed(&worker, &name, &placement);
                    }
                }
            }
            Some(FleetKey::Touch(worker, seconds)) => self.witness_touch(worker, seconds, entry),
            Some(FleetKey::Scheduler(_)) | None => {}
        }
    }

    fn witness_placed(&mut self, worker: &WorkerName, name: &InstanceId, placement: &Placement) {
        let epoch = placement.epoch;
        let run = if placement.wanted.run { "run" } else { "stop" };
        self.note(|| {
            format!("fleet: {worker}.{name} epoch {epoch}, {run}, {:?}", placement.wanted)
        });
        if !placement.wanted.run {
            self.witness.stops.insert((name.clone(), epoch));
        }
        let stays = self.witness.places.get(name) == Some(worker);
        if !stays {
            let lease = (worker.clone(), placement.spec.touch_seconds());
            self.witness.leased.insert(lease, self.agenda.now());
        }
        let highest = self.witness.highest.get(name).copied().unwrap_or_default();
        if epoch < highest || (epoch == highest && !stays) {
            let what = format!("{name} is placed on {worker} under epoch {epoch} after {highest}");
            self.fail(Invariant::EpochGrows, what);
        }
        self.witness.placed.insert((name.clone(), epoch));
        self.witness.highest.insert(name.clone(), epoch.max(highest));
        self.witness.places.insert(name.clone(), worker.clone());
    }

    fn witness_touch(&mut self, worker: WorkerName, seconds: u64, entry: &Entry) {
        let (now, key) = (self.agenda.now(), (worker, seconds));
        match entry.value {
            Value::Put(_) => drop(self.witness.touched.insert(key, now)),
            Value::Deleted | Value::Expired | Value::Copied => {
                self.note(|| format!("fleet: marker of {} ({})", entry.key, entry.seq));
                self.witness_erased(&key);
                // A lease that nobody lived by was left to expire.
                let touched = self.witness.touched.get(&key);
                let taken = self.witness.leased.get(&key) <= touched;
                let held = taken && adapter::holds(&self.witness.oracle, &key);
                let Some(n) = self.machine_of(&key.0).filter(|_| held) else { return };
                let enough = (seconds * 2 * SECOND / 3).saturating_sub(TOUCH_AGAIN_MS * MS);
                if !self.witness.skewed
                    && self.longest_trouble(n, seconds * SECOND + SECOND) < enough
                {
                    let what = format!("{} expired, and its worker was well", entry.key);
                    self.fail(Invariant::LeaseKept, what);
                }
            }
        }
    }

    /// A key is gone: nobody may still live by it.
    fn witness_erased(&mut self, key: &LeaseKey) {
        let promised = self.witness.promised.get(key).copied().unwrap_or(0);
        if !self.witness.skewed && promised > self.agenda.now() {
            let (worker, seconds) = key;
            let until = crate::seconds(promised);
            let what = format!(
                "{worker} may live by its lease of {seconds} s until {until:.3}, and it is gone"
            );
            self.fail(Invariant::LeaseCovers, what);
        }
    }

    /// An agent tells until when children may live.
    pub(crate) fn witness_promise(&mut self, worker: &WorkerName, seconds: u64, until: u64) {
        let key = (worker.clone(), seconds);
        self.witness.promised.insert(key.clone(), until);
        let stored =
            self.streams[crate::stream::index(Bucket::Fleet)].keys.get(&touch_key(worker, seconds));
        if stored.is_none_or(|stored| stored.value == Value::Expired) {
            self.witness_erased(&key);
        }
    }

    fn witness_move(&mut self, name: &InstanceId, from: &WorkerName) {
        self.counts.moves += 1;
        let Some(n) = self.machine_of(from) else { return };
        let seconds = self.witness.places.get(name).cloned();
        let seconds =
            seconds.and_then(|to| adapter::lease_seconds(&self.witness.oracle, name, &to));
        let time = seconds.unwrap_or(1) * SECOND;
        if self.reached_for(n, time) {
            let what = format!("{name} was moved away from {from}, which could be reached");
            self.fail(Invariant::NoNeedlessMove, what);
        }
    }

    /// A scheduler declares a lease lost.
    pub(crate) fn witness_lost(&mut self, n: usize, key: &LeaseKey) {
        let (scheduler, now) = (n, self.agenda.now());
        self.counts.losses += 1;
        let (worker, seconds) = key;
        let Some(n) = self.machine_of(worker) else { return };
        let time = seconds * SECOND;
        // One who could not hear, or speak, has not been answered either.
        let deaf = self.witness.deaf[scheduler] + 2 * SECOND > now;
        if self.reached_for(n, time) && !deaf {
            let what = format!("{worker} was declared lost, and could be reached");
            return self.fail(Invariant::NoNeedlessLoss, what);
        }
        // Rule 5: nobody could touch while the bus was away.
        let (gone, back) = self.witness.bus_away;
        let back = back.min(now);
        if back - gone > time / 2 && now - back < time {
            let after = crate::seconds(now - back);
            let what = format!("{worker} was declared lost, {after:.3} s after the bus was back");
            return self.fail(Invariant::NoNeedlessLoss, what);
        }
        // Rule 7, as seen by somebody who knows: workers whose leases end within T of this one's.
        let end = |worker: &WorkerName, seconds: u64| {
            let touched = self.witness.touched.get(&(worker.clone(), seconds));
            touched.map_or(0, |at| at + seconds * SECOND)
        };
        let mine = end(worker, *seconds);
        let close = |other: &&WorkerName| {
            let theirs = end(other, PRESENCE_SECONDS);
            // One that has answered since is known to live, and one that did a moment ago is not yet
            // known to be silent.
            let known = |at: &u64| *at < theirs && at + SECOND < now;
            let silent = self.witness.answered.get(*other).is_none_or(known);
            *other == worker || (theirs <= now && theirs.abs_diff(mine) <= time / 2 && silent)
        };
        let gone = |other: &&WorkerName| {
            end(other, PRESENCE_SECONDS) + 2 * time + PRESENCE_SECONDS * SECOND < now
        };
        let workers = || self.witness.workers.iter();
        let (silent, living) =
            (workers().filter(close).count(), workers().filter(|w| !gone(w)).count());
        // One who could not hear for a while may not know.
        let knows = self.witness.deaf[scheduler] + 3 * time + LONGEST < now;
        if silent >= 2 && silent * 3 > living && now < mine + time - SECOND && knows {
            let what =
                format!("{worker} was declared lost early, with {silent} of {living} silent");
            self.fail(Invariant::ManyWait, what);
        }
    }

    fn witness_acted(&mut self, bucket: Bucket, entry: &Entry) {
        use Bucket::{Alerts, Fleet, Secrets, Status, Workers};
        let commands = match bucket {
            Bucket::Programs => entry.json::<Program>().ok().flatten().map(|p| p.commands),
            Bucket::Goals => entry.json::<Goal>().ok().flatten().map(|goal| goal.commands),
            Fleet | Workers | Status | Alerts | Secrets => None,
        };
        let Some(commands) = commands else { return };
        let w = &self.witness;
        let new = w.issued.keys().filter(|id| !w.acted.contains(*id) && commands.has_acted(**id));
        let new: Vec<Uuid> = new.copied().collect();
        self.witness.acted.extend(new);
    }

    /// A client gives a command.
    pub(crate) fn witness_issued(&mut self, command: &Command) {
        self.counts.commands += 1;
        self.witness.issued.insert(command.id, command.clone());
    }

    /// A command was answered.
    pub(crate) fn witness_acknowledged(&mut self, command: &Command) {
        self.counts.acknowledged += 1;
        self.witness.acknowledged.push(command.clone());
    }

    /// An event is stored, for the first time under its id.
    pub(crate) fn witness_event(&mut self, event: &Told, from: Option<Run>) {
        let Fact::Process(fact) = &event.data else {
            return self.witness_told(event.id, &event.data);
        };
        self.note(|| format!("event: {} {}.{} {}", fact.name, fact.epoch, fact.seq, fact.state));
        if fact.worker.is_none() {
            return;
        }
        let late = from.is_some_and(|from| !self.lives(from));
        let told = self.witness.events.entry((fact.name.clone(), fact.epoch)).or_default();
        let Some((before, was_late)) = told.insert(fact.seq, (event.id, late)) else { return };
        let machine = fact.worker.as_ref().and_then(|worker| self.machine_of(worker));
        let wiped = machine.is_some_and(|n| self.witness.wiped.contains(&n));
        if before != event.id && (late || was_late) && wiped {
            // What a dead agent had sent has arrived after its successor, which found nothing on
            // its disk, had looked where to go on: one number for two events.
            self.counts.late_events += 1;
        } else if before != event.id {
            let what = format!("{} has two events {}.{}", fact.name, fact.epoch, fact.seq);
            self.fail(Invariant::EventsGapless, what);
        }
    }

    /// No event is missing, of those that were told.
    pub(crate) fn gap(&self) -> Option<String> {
        self.witness.events.iter().find_map(|((name, epoch), told)| {
            let missing = (1..).zip(told.keys()).find(|(due, seq)| due != *seq)?.0;
            Some(format!("{name} has no event {epoch}.{missing}, and later ones"))
        })
    }

    /// A supervisor begins to stop a child.
    pub(crate) fn witness_stopping(
        &mut self,
        n: usize,
        name: &InstanceId,
        epoch: Epoch,
        reason: &str,
    ) {
        self.note(|| format!("w{}: stops {name}: {reason}", n + 1));
        let (now, worker) = (self.agenda.now(), self.worker(n));
        let oracle = &self.witness.oracle;
        let placed = adapter::placed_on(oracle, name, &worker);
        let well = if reason.starts_with("fenced") {
            let since = now.saturating_sub(15 * SECOND);
            let recent = self.longest_trouble(n, now - since) == 0;
            self.counts.fenced += 1;
            recent && !self.witness.skewed
        } else if reason.starts_with("its placement was taken away") {
            placed == Some(epoch)
        } else if reason.starts_with("it was placed anew") {
            placed.is_none_or(|placed| placed <= epoch)
                && self.witness.highest.get(name) == Some(&epoch)
        } else if reason.starts_with("stop was requested") {
            !self.witness.stops.contains(&(name.clone(), epoch))
        } else {
            false
        };
        if well {
            let what = format!("{name} is stopped on {worker} without cause: {reason}");
            self.fail(Invariant::StopsWithCause, what);
        }
    }
}
