//! Which programs a fact concerns, and when time alone does.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::Program;
use uuid::Uuid;

/// What is known of a program's place among the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ties {
    depends_on: BTreeSet<ProgramName>,
    apart_from: BTreeSet<ProgramName>,
    group: Option<ProgramName>,
    system: bool,
    commands: BTreeSet<Uuid>,
    priority: i32,
}

/// Where to look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    /// Programs, and groups, of which something changed since they were last planned for.
    news: BTreeSet<ProgramName>,
    /// Programs with instances that no worker could take.
    waiting: BTreeSet<ProgramName>,
    ties: BTreeMap<ProgramName, Ties>,
    /// Who depends on a program.
    dependents: BTreeMap<ProgramName, BTreeSet<ProgramName>>,
    /// Who keeps apart from a program.
    apart: BTreeMap<ProgramName, BTreeSet<ProgramName>>,
    groups: BTreeMap<ProgramName, BTreeSet<ProgramName>>,
    systems: BTreeSet<ProgramName>,
    /// What one command declared or told to start or stop, in the order of priority.
    commands: BTreeMap<Uuid, BTreeSet<(i32, ProgramName)>>,
    wakes: BTreeSet<(BootTime, ProgramName)>,
    wake_of: BTreeMap<ProgramName, BootTime>,
    /// Instances by the worker that they were moved from.
    moved_from: BTreeMap<WorkerName, BTreeSet<InstanceId>>,
    /// Instances that have more than one placement, though none should.
    pub(super) doubled: BTreeSet<InstanceId>,
    /// Workers of which something changed that may make them go.
    workers: BTreeSet<WorkerName>,
    /// Programs with instances that wait for their turn to leave a worker.
    turns: BTreeMap<WorkerName, BTreeSet<ProgramName>>,
    turns_of: BTreeMap<ProgramName, BTreeSet<WorkerName>>,
}

fn add<K: Ord + Clone, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: V) {
    map.entry(key.clone()).or_default().insert(value);
}

fn cut<K: Ord, V: Ord>(map: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = map.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            map.remove(key);
        }
    }
}

impl Index {
    pub(crate) fn note(&mut self, program: &ProgramName) {
        if !self.news.contains(program) {
            self.news.insert(program.clone());
        }
    }

    pub(crate) fn note_worker(&mut self, worker: &WorkerName) {
        self.workers.insert(worker.clone());
    }

    /// A worker may take what it could not take before.
    pub(crate) fn note_waiting(&mut self) {
        self.news.extend(self.waiting.iter().chain(&self.systems).cloned());
    }

    /// Whoever waits for a program, or whom it waits for, when something starts or stops.
    pub(crate) fn note_tied(&mut self, program: &ProgramName) {
        let Some(ties) = self.ties.get(program) else { return };
        let dependents = self.dependents.get(program).into_iter().flatten();
        let concerned: BTreeSet<ProgramName> =
            dependents.chain(&ties.depends_on).cloned().collect();
        // Whoever waits for a dependency holds up none of its peers, which so depend on it, too.
        for name in concerned.iter().chain([program]) {
            self.note_peers(name);
        }
        self.news.extend(concerned);
    }

    fn note_peers(&mut self, program: &ProgramName) {
        let Some(ties) = self.ties.get(program) else { return };
        for peers in ties.commands.iter().filter_map(|id| self.commands.get(id)) {
            if peers.first().map(|p| p.0) != peers.last().map(|p| p.0) {
                self.news.extend(peers.iter().map(|(_, name)| name.clone()));
            }
        }
    }

    pub(crate) fn take_news(&mut self) -> BTreeSet<ProgramName> {
        std::mem::take(&mut self.news)
    }

    pub(crate) fn take_workers(&mut self) -> BTreeSet<WorkerName> {
        std::mem::take(&mut self.workers)
    }

    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.workers.is_empty()
    }

    /// Ties of a program, or none when it is gone. `commands` are the last that acted on it.
    pub(super) fn tie(
        &mut self,
        name: &ProgramName,
        program: Option<&Program>,
        commands: BTreeSet<Uuid>,
    ) {
        let ties = program.map(|program| Ties {
            depends_on: program.spec.depends_on.0.keys().cloned().collect(),
            apart_from: program.spec.anti_affinity.iter().cloned().collect(),
            group: program.spec.group.clone(),
            system: program.spec.system,
            commands,
            priority: program.spec.priority,
        });
        if self.ties.get(name) == ties.as_ref() {
            return;
        }
        self.note_tied(name);
        // Who keeps apart from whom may have changed.
        self.note_waiting();
        if let Some(old) = self.ties.remove(name) {
            old.depends_on.iter().for_each(|on| cut(&mut self.dependents, on, name));
            old.apart_from.iter().for_each(|from| cut(&mut self.apart, from, name));
            if let Some(group) = &old.group {
                cut(&mut self.groups, group, name);
                self.news.insert(group.clone());
            }
            let key = (old.priority, name.clone());
            old.commands.iter().for_each(|id| cut(&mut self.commands, id, &key));
            self.systems.remove(name);
        }
        if let Some(new) = ties {
            new.depends_on.iter().for_each(|on| add(&mut self.dependents, on, name.clone()));
            new.apart_from.iter().for_each(|from| add(&mut self.apart, from, name.clone()));
            new.group.iter().for_each(|group| add(&mut self.groups, group, name.clone()));
            let key = || (new.priority, name.clone());
            new.commands.iter().for_each(|id| add(&mut self.commands, id, key()));
            if new.system {
                self.systems.insert(name.clone());
            }
            self.ties.insert(name.clone(), new);
        }
        self.note_tied(name);
    }

    pub(crate) fn dependents(&self, name: &ProgramName) -> impl Iterator<Item = &ProgramName> {
        self.dependents.get(name).into_iter().flatten()
    }

    /// Who keeps apart from a program.
    pub(crate) fn apart(&self, name: &ProgramName) -> Option<&BTreeSet<ProgramName>> {
        self.apart.get(name)
    }

    pub(crate) fn groups(&self) -> &BTreeMap<ProgramName, BTreeSet<ProgramName>> {
        &self.groups
    }

    /// The group that a program is in.
    pub(crate) fn group_of(&self, name: &ProgramName) -> Option<&ProgramName> {
        self.ties.get(name)?.group.as_ref()
    }

    /// Programs of another priority that the same command was about.
    pub(crate) fn peers(&self, name: &ProgramName) -> impl Iterator<Item = &(i32, ProgramName)> {
        let ties = self.ties.get(name);
        let priority = ties.map_or(0, |ties| ties.priority);
        let sets = ties.into_iter().flat_map(|ties| &ties.commands);
        let sets = sets.filter_map(|id| self.commands.get(id));
        sets.filter(|peers| peers.first().map(|p| p.0) != peers.last().map(|p| p.0))
            .flatten()
            .filter(move |(other, _)| *other != priority)
    }

    pub(crate) fn set_waiting(&mut self, name: &ProgramName, waits: bool) {
        if !waits {
            self.waiting.remove(name);
        } else if !self.waiting.contains(name) {
            self.waiting.insert(name.clone());
        }
    }

    pub(crate) fn set_wake(&mut self, name: &ProgramName, at: Option<BootTime>) {
        if let Some(old) = self.wake_of.remove(name) {
            self.wakes.remove(&(old, name.clone()));
        }
        if let Some(at) = at {
            self.wake_of.insert(name.clone(), at);
            self.wakes.insert((at, name.clone()));
        }
    }

    pub(super) fn next_wake(&self) -> Option<BootTime> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Notes the programs for which time has come.
    pub(crate) fn wake(&mut self, now: BootTime) {
        while let Some((at, name)) = self.wakes.first().cloned() {
            if at > now {
                return;
            }
            self.set_wake(&name, None);
            self.note_tied(&name);
            self.news.insert(name);
        }
    }

    pub(super) fn moved(&mut self, from: &WorkerName, name: &InstanceId, is: bool) {
        if is {
            add(&mut self.moved_from, from, name.clone());
        } else {
            cut(&mut self.moved_from, from, name);
        }
    }

    /// Instances that were last moved from that worker.
    pub(crate) fn moved_from(&self, worker: &WorkerName) -> impl Iterator<Item = &InstanceId> {
        self.moved_from.get(worker).into_iter().flatten()
    }

    /// The workers that instances of a program wait to leave.
    pub(crate) fn set_turns(&mut self, name: &ProgramName, workers: BTreeSet<WorkerName>) {
        if self.turns_of.get(name).map_or(workers.is_empty(), |known| *known == workers) {
            return;
        }
        for worker in self.turns_of.remove(name).into_iter().flatten() {
            cut(&mut self.turns, &worker, name);
        }
        for worker in &workers {
            add(&mut self.turns, worker, name.clone());
        }
        if !workers.is_empty() {
            self.turns_of.insert(name.clone(), workers);
        }
    }

    /// Whoever waits for its turn to leave a worker.
    pub(crate) fn note_turns(&mut self, worker: &WorkerName) {
        self.news.extend(self.turns.get(worker).into_iter().flatten().cloned());
    }

    /// By worker, the programs with instances that wait for their turn to leave it.
    pub(crate) fn turns(&self) -> &BTreeMap<WorkerName, BTreeSet<ProgramName>> {
        &self.turns
    }
}
