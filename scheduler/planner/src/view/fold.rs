//! How facts get into the view: each says which programs it concerns.

use std::{collections::BTreeSet, sync::Arc};

use dsbus_schema::event::GroupFact;
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::{Incarnation, InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_schema::worker::Worker;
use dsbus_schema::worker_goal::WorkerGoal;

use super::host::Reserved;
use super::{Entry, Forged, Host, Instance, Lease, Life, Part, Placed, Seen, Slot, View, Well};

/// Forged keys of one instance that are known at once; the rest is found when a scheduler begins.
const FORGED_MAX: usize = 64;

impl View {
    /// A program was written, or deleted.
    pub fn set_program(&mut self, name: &ProgramName, program: Option<Seen<Program>>) {
        self.read(name, Part::Program, program.is_none());
        self.put_program(name, program);
    }

    pub(super) fn put_program(&mut self, name: &ProgramName, program: Option<Seen<Program>>) {
        let entry = self.programs.entry(name.clone()).or_default();
        if let Some(seen) = &program {
            if *entry.spec != seen.value.spec {
                entry.spec = Arc::new(seen.value.spec.clone());
            }
            let stable = seen.value.rollout.as_ref().map(|rollout| &rollout.stable.spec);
            entry.stable = stable.map(|spec| match &entry.stable {
                Some(known) if **known == *spec => known.clone(),
                _ => Arc::new(spec.clone()),
            });
        } else {
            entry.stable = None;
        }
        entry.program = program;
        self.tie(name);
        self.index.note(name);
        self.forget_if_empty(name);
    }

    /// A goal of a program (`None`) or of one of its instances was written, or deleted.
    pub fn set_goal(&mut self, program: &ProgramName, index: Option<u32>, goal: Option<Goal>) {
        self.read(program, Part::Goal(index), false);
        let goals = &mut self.programs.entry(program.clone()).or_default().goals;
        match (index, goal) {
            (None, goal) => goals.all = goal,
            (Some(index), Some(goal)) => {
                goals.each.insert(index, goal);
            }
            (Some(index), None) => {
                goals.each.remove(&index);
            }
        }
        if index.is_none() {
            self.tie(program);
        }
        self.index.note(program);
        self.forget_if_empty(program);
    }

    fn tie(&mut self, name: &ProgramName) {
        let Some(entry) = self.programs.get(name) else { return };
        let program = entry.program.as_ref().map(|seen| &seen.value);
        let goal = entry.goals.all.as_ref().and_then(|goal| goal.commands.last());
        let last = program.and_then(|program| program.commands.last());
        self.index.tie(name, program, last.into_iter().chain(goal).collect::<BTreeSet<_>>());
    }

    fn forget_if_empty(&mut self, name: &ProgramName) {
        let empty = |entry: &Entry| {
            entry.program.is_none()
                && entry.goals == super::Goals::default()
                && entry.instances.is_empty()
        };
        if self.programs.get(name).is_some_and(empty) {
            self.programs.remove(name);
            self.index.set_wake(name, None);
            self.index.set_waiting(name, false);
            self.index.set_turns(name, BTreeSet::new());
            self.index.note_tied(name);
        }
    }

    pub(super) fn host(&mut self, worker: &WorkerName) -> &mut Host {
        let View { hosts, slots, by_name, .. } = self;
        if !hosts.contains_key(worker) {
            let number = slots.len();
            let host = Host::new(number);
            slots.push(Slot::of(worker, &host));
            let name = |number: &usize| &slots[*number].worker;
            let at = by_name.partition_point(|number| name(number) < worker);
            by_name.insert(at, number);
            hosts.insert(worker.clone(), host);
        }
        // It was inserted, if it was not there.
        hosts.entry(worker.clone()).or_insert_with(|| Host::new(slots.len()))
    }

    /// What is asked of every worker is read off this one again.
    fn refresh_slot(&mut self, worker: &WorkerName) {
        let Some(host) = self.hosts.get(worker) else { return };
        if let Some(slot) = self.slots.get_mut(host.number) {
            *slot = Slot::of(worker, host);
        }
    }

    /// A worker's record was written, or deleted.
    pub fn set_worker(&mut self, name: &WorkerName, record: Option<Seen<Worker>>) {
        let host = self.host(name);
        let before = host.record.as_ref().map(|seen| able(&seen.value));
        let same = before == record.as_ref().map(|seen| able(&seen.value));
        host.record = record;
        if !same {
            self.note_host(name);
            self.index.note_waiting();
        }
        self.rejudge(name);
    }

    /// What people want of a worker was written, or deleted.
    pub fn set_worker_goal(&mut self, name: &WorkerName, goal: Option<Seen<WorkerGoal>>) {
        let host = self.host(name);
        (host.goal, host.goal_seq) = goal.map(|seen| (seen.value, seen.seq)).unwrap_or_default();
        self.note_host(name);
        self.rejudge(name);
    }

    /// What is placed on a worker is planned for again.
    fn note_host(&mut self, name: &WorkerName) {
        self.index.note_worker(name);
        let Some(host) = self.hosts.get(name) else { return };
        let concerned = host.copies.keys().chain(host.told.keys());
        concerned.for_each(|program| self.index.note(program));
    }

    /// Looks at a worker's state again.
    pub(super) fn rejudge(&mut self, name: &WorkerName) {
        let host = self.host(name);
        let (before, now) = (host.state, host.judged());
        host.state = now;
        self.refresh_slot(name);
        if before == now {
            return;
        }
        self.note_host(name);
        // It may take what waits, or what waits is told why not.
        self.index.note_waiting();
    }

    /// Keeps the list of what is lost, after one lease changed.
    fn note_life(&mut self, worker: &WorkerName, seconds: u64, life: Life) {
        let Some(host) = self.hosts.get(worker) else { return };
        let all = self.lost.entry(host.number).or_default();
        if life == Life::Lost {
            all.insert(seconds);
        } else {
            all.remove(&seconds);
        }
        if all.is_empty() {
            self.lost.remove(&host.number);
        }
    }

    /// A worker touched.
    pub fn touched(
        &mut self,
        worker: &WorkerName,
        seconds: u64,
        seq: u64,
        incarnation: Option<Incarnation>,
        at: Timestamp,
    ) -> Life {
        let lease = self.host(worker).leases.entry(seconds).or_default();
        let before = lease.life;
        let fresh = lease.incarnation != incarnation;
        *lease = Lease { seq, life: Life::Live, incarnation, touched: Some(at) };
        self.note_life(worker, seconds, Life::Live);
        if before != Life::Live || fresh {
            self.note_host(worker);
            self.rejudge(worker);
        }
        before
    }

    /// A lease expired; it is not judged yet.
    pub fn expired(&mut self, worker: &WorkerName, seconds: u64, seq: u64) {
        let lease = self.host(worker).leases.entry(seconds).or_default();
        lease.seq = seq;
        if lease.life == Life::Live {
            lease.life = Life::Silent;
        }
        self.note_host(worker);
        self.rejudge(worker);
    }

    /// A lease was judged. Says whether that is news.
    pub fn set_life(&mut self, worker: &WorkerName, seconds: u64, life: Life) -> bool {
        let lease = self.host(worker).leases.entry(seconds).or_default();
        if lease.life == life {
            return false;
        }
        lease.life = life;
        self.note_life(worker, seconds, life);
        self.note_host(worker);
        self.rejudge(worker);
        true
    }

    /// The marker of a lease is known to be gone by its own age.
    pub fn aged(&mut self, worker: &WorkerName, seconds: u64, seq: u64) {
        let lease = self.host(worker).leases.entry(seconds).or_default();
        if lease.seq == seq {
            lease.seq = 0;
            self.note_host(worker);
        }
    }

    /// A placement was written, or deleted. Says whether it was there before.
    pub fn set_placement(
        &mut self,
        worker: &WorkerName,
        name: &InstanceId,
        seq: u64,
        placement: Option<Placement>,
    ) -> bool {
        let number = self.host(worker).number;
        let entry = self.programs.entry(name.program.clone()).or_default();
        let new = placement.map(|placement| {
            let spec = shared(entry, &placement.spec);
            Placed::new((worker.clone(), number), seq, placement, spec)
        });
        let instance = entry.instances.entry(name.index).or_default();
        instance.guard = seq.max(instance.guard);
        instance.floor = instance.floor.max(new.as_ref().map_or(instance.floor, |new| new.epoch));
        let at = instance.placements.iter().position(|placed| placed.worker == *worker);
        let old = at.map(|at| instance.placements.swap_remove(at));
        instance.placements.extend(new.clone());
        instance.forged.retain(|(at, _)| at != worker);
        if new.is_none() {
            instance.well = None;
        }
        if instance.placements.len() > 1 {
            self.index.doubled.insert(name.clone());
        } else if !self.index.doubled.is_empty() {
            self.index.doubled.remove(name);
        }
        let host = self.host(worker);
        if let Some(old) = &old {
            host.take(name, &old.spec);
        }
        if let Some(new) = &new {
            host.put(name, &new.spec);
        }
        self.refresh_slot(worker);
        let reserved = |placed: &Option<Placed>| placed.as_ref().map(|p| Reserved::of(&p.spec));
        let freed = old.is_some() && reserved(&old) != reserved(&new);
        if let Some(from) = old.as_ref().and_then(|old| old.from.as_ref()) {
            self.index.moved(from, name, false);
        }
        if let Some(from) = new.as_ref().and_then(|new| new.from.as_ref()) {
            self.index.moved(from, name, true);
        }
        if freed {
            self.index.note_turns(worker);
            self.index.note_waiting();
            self.index.note_worker(worker);
        }
        self.index.note(&name.program);
        old.is_some()
    }

    /// Something stands under a placement key that no scheduler wrote, for this reason. What is known
    /// of the instance stays; it is written again.
    pub fn set_forged(
        &mut self,
        (worker, name): (&WorkerName, &InstanceId),
        seq: u64,
        why: &str,
        said: Option<Placement>,
    ) {
        let instance = self.programs.entry(name.program.clone()).or_default();
        let instance = instance.instances.entry(name.index).or_default();
        instance.guard = seq.max(instance.guard);
        instance.forged.retain(|(at, _)| at != worker);
        if instance.forged.len() < FORGED_MAX {
            let forged = Forged { seq, why: why.to_owned(), said: said.map(Box::new) };
            instance.forged.push((worker.clone(), forged));
        }
        self.index.note(&name.program);
    }

    /// A worker told the state of an instance, or took that back.
    pub fn set_status(
        &mut self,
        worker: &WorkerName,
        name: &InstanceId,
        status: Option<Seen<Status>>,
        now: BootTime,
    ) {
        let entry = self.programs.entry(name.program.clone()).or_default();
        let instance = entry.instances.entry(name.index).or_default();
        let before = instance.statuses.len();
        instance.statuses.retain(|(teller, _)| teller != worker);
        let (told, tells) = (instance.statuses.len() < before, status.is_some());
        if let Some(Seen { seq, value }) = status {
            let child = (value.epoch, value.revision, value.restarts, value.pid);
            let runs = value.state == State::Running;
            instance.statuses.push((worker.clone(), Seen { seq, value: Box::new(value) }));
            if instance.placed().is_none_or(|placed| placed.worker == *worker) {
                let known = instance.well.filter(|well| well.child == child);
                instance.well = runs.then(|| known.unwrap_or(Well { since: now, child }));
            }
        }
        if told != tells {
            self.host(worker).tell(&name.program, tells);
        }
        self.index.note(&name.program);
        self.drop_if_forgotten(name);
    }

    /// Schedulers told of an instance, or took that back.
    pub fn set_said(&mut self, name: &InstanceId, seq: u64, status: Option<Status>) {
        let entry = self.programs.entry(name.program.clone()).or_default();
        let instance = entry.instances.entry(name.index).or_default();
        instance.said_guard = seq;
        instance.said = status.map(|value| Seen { seq, value: Box::new(value) });
        self.index.note(&name.program);
    }

    /// Something was told of a group, or that was taken back.
    pub fn set_group(&mut self, name: &ProgramName, seq: u64, told: Option<GroupFact>) {
        let group = self.groups.entry(name.clone()).or_default();
        (group.guard, group.told) = (seq, told);
        self.index.note(name);
    }

    fn drop_if_forgotten(&mut self, name: &InstanceId) {
        if let Some(entry) = self.programs.get_mut(&name.program)
            && entry.instances.get(&name.index).is_some_and(Instance::is_forgotten)
        {
            entry.instances.remove(&name.index);
            self.forget_if_empty(&name.program);
        }
    }

    /// Plans for a program again although nothing changed: what was decided was not done.
    pub fn note(&mut self, program: &ProgramName) {
        self.index.note(program);
    }

    /// The same for a worker.
    pub fn note_worker(&mut self, worker: &WorkerName) {
        self.index.note_worker(worker);
    }

    /// Plans for everything again.
    pub fn note_all(&mut self) {
        let View { programs, hosts, groups, index, .. } = self;
        let grouped: Vec<ProgramName> = index.groups().keys().cloned().collect();
        for name in programs.keys().chain(groups.keys()).chain(&grouped) {
            index.note(name);
        }
        for name in hosts.keys() {
            index.note_worker(name);
        }
    }

    /// Whether something is known that was not planned with yet.
    pub fn has_news(&self) -> bool {
        self.index.has_news()
    }
}

/// What of a worker's record decides what it can take. Facts are not among it: they change all the
/// time, and move nothing.
fn able(worker: &Worker) -> impl PartialEq + use<> {
    let Worker { labels, capacity, facilities, policy, draining, stopping, incarnation, .. } =
        worker;
    let allowed = (facilities.clone(), policy.clone());
    (labels.clone(), *capacity, allowed, (*draining, *stopping), *incarnation)
}

/// The same spec as others of the program have, if one does.
fn shared(entry: &Entry, spec: &ProgramSpec) -> Arc<ProgramSpec> {
    let known = [Some(&entry.spec), entry.stable.as_ref()].into_iter().flatten();
    let others = entry.instances.values().flat_map(|i| &i.placements).map(|p| &p.spec).take(1);
    known
        .chain(others)
        .find(|known| ***known == *spec)
        .cloned()
        .unwrap_or_else(|| Arc::new(spec.clone()))
}
