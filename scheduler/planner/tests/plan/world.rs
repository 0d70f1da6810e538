//! A world in memory: a view, and what a bus and workers would make of the planner's actions.

#![expect(clippy::unwrap_used, reason = "a test world: what is missing in it is a broken test")]

use dsbus_planner::view::{Life, Placed, Seen};
use dsbus_planner::{Action, View, invariants, plan};
use dsbus_schema::goal::{Goal, Wanted};
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, ProgramId, ProgramName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{Command, Program, ProgramSpec};
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_schema::touch::PRESENCE_SECONDS;
use dsbus_schema::worker::{Capacity, Facts, Labels, Worker};
use uuid::Uuid;

pub(crate) fn program(name: &str) -> ProgramName {
    ProgramName::parse(name).unwrap()
}

pub(crate) fn worker(name: &str) -> WorkerName {
    WorkerName::parse(name).unwrap()
}

pub(crate) fn instance(name: &str) -> InstanceId {
    name.parse().unwrap()
}

#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) view: View,
    pub(crate) seq: u64,
    ids: u128,
}

impl World {
    /// A world with ready workers w1..wn.
    pub(crate) fn with_workers(n: usize) -> World {
        let mut world = World::default();
        for i in 1..=n {
            world.join(&format!("w{i}"));
        }
        world
    }

    fn next(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    pub(crate) fn join(&mut self, name: &str) {
        let worker = Worker {
            name: worker(name),
            machine: "m".into(),
            boot: Uuid::nil(),
            directory: "/d".into(),
            host: "h".into(),
            incarnation: Incarnation(Uuid::nil()),
            agent_pid: 1,
            supervisor_pid: 2,
            version: "0".into(),
            started: Timestamp::from_unix_nanos(0),
            facilities: Vec::new(),
            labels: Labels::new(),
            capacity: Capacity::default(),
            facts: Facts::default(),
            stopping: false,
        };
        self.view.workers.insert(worker.name.clone(), worker);
        self.touch(name, PRESENCE_SECONDS);
    }

    /// From now on a worker has these facilities, if it ever joined.
    pub(crate) fn equip(&mut self, name: &str, facilities: &[&str]) {
        if let Some(worker) = self.view.workers.get_mut(&worker(name)) {
            worker.facilities = facilities.iter().map(|f| (*f).to_owned()).collect();
        }
    }

    pub(crate) fn touch(&mut self, name: &str, seconds: u64) {
        let seq = self.next();
        let lease = self.view.leases.entry((worker(name), seconds)).or_default();
        (lease.seq, lease.life) = (seq, Life::Live);
        lease.incarnation = Some(Incarnation(Uuid::nil()));
    }

    /// A worker is lost: all its leases are.
    pub(crate) fn lose(&mut self, name: &str) {
        let placed: Vec<u64> = self
            .view
            .placements
            .values()
            .flatten()
            .filter(|p| p.worker.as_str() == name)
            .map(|p| p.placement.spec.touch_seconds())
            .collect();
        for seconds in placed.into_iter().chain([PRESENCE_SECONDS]) {
            let seq = self.next();
            let lease = self.view.leases.entry((worker(name), seconds)).or_default();
            (lease.seq, lease.life) = (seq, Life::Lost);
        }
    }

    /// Declares a program, or changes it.
    pub(crate) fn declare(&mut self, name: &str, change: impl FnOnce(&mut ProgramSpec)) {
        let seq = self.next();
        self.ids += 1;
        let spec =
            ProgramSpec { command: Command::Line("sleep 1".into()), ..ProgramSpec::default() };
        let mut fresh = Program::new(ProgramId(Uuid::from_u128(self.ids)), program(name), spec);
        fresh.revision = 0;
        let seen = self.view.programs.entry(program(name)).or_insert(Seen { seq, value: fresh });
        seen.seq = seq;
        seen.value.revision += 1;
        change(&mut seen.value.spec);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.view.programs.get_mut(&program(name)).unwrap().value.removing = true;
    }

    pub(crate) fn command(&mut self, name: &str, change: impl FnOnce(&mut Goal)) {
        let stamp = self.next();
        let goals = self.view.goals.entry(program(name)).or_default();
        let goal = goals.all.get_or_insert_with(Goal::default);
        goal.stamp = stamp;
        change(goal);
    }

    pub(crate) fn placed(&self, name: &str) -> Option<&Placed> {
        self.view.placed(&instance(name))
    }

    pub(crate) fn at(&self, name: &str) -> Option<String> {
        self.placed(name).map(|p| p.worker.to_string())
    }

    pub(crate) fn epoch(&self, name: &str) -> u64 {
        self.placed(name).map_or(0, |p| p.placement.epoch.0)
    }

    /// The worker of an instance tells its state.
    pub(crate) fn tell(&mut self, name: &str, state: State) {
        let Some(placed) = self.placed(name).cloned() else { return };
        let seq = self.next();
        let p = &placed.placement;
        let status = Status {
            id: p.id,
            epoch: p.epoch,
            revision: p.revision,
            wanted: p.wanted,
            state,
            rests: false,
            since: Timestamp::from_unix_nanos(0),
            pid: None,
            restarts: 0,
            exit: None,
            usage: None,
            note: None,
            reason: None,
            spawnerr: None,
            stderr_line: None,
            stdout_logfile: None,
            stderr_logfile: None,
            seq: 1,
            event: None,
            incarnation: Incarnation(Uuid::nil()),
        };
        let told = self.view.statuses.entry(instance(name)).or_default();
        told.insert(placed.worker, Seen { seq, value: status });
    }

    /// Every living worker does what its placements say, and tells.
    pub(crate) fn obey(&mut self) {
        let names: Vec<_> = self.view.placements.keys().cloned().collect();
        for name in names {
            let placed = self.view.placed(&name).unwrap().clone();
            if self.view.life(&placed) == Life::Lost {
                continue;
            }
            let seconds = placed.placement.spec.touch_seconds();
            self.touch(placed.worker.as_str(), seconds);
            let run = placed.placement.wanted.run;
            self.tell(&name.to_string(), if run { State::Running } else { State::Stopped });
        }
        let view = &mut self.view;
        for (name, told) in &mut view.statuses {
            let held = view.placements.get(name);
            told.retain(|worker, _| {
                let lost = view
                    .leases
                    .get(&(worker.clone(), PRESENCE_SECONDS))
                    .is_none_or(|l| l.life == Life::Lost);
                lost || held.is_some_and(|p| p.iter().any(|p| p.worker == *worker))
            });
        }
        view.statuses.retain(|_, told| !told.is_empty());
    }

    /// Plans, and enacts the plan as the bus would: guards are checked. Returns what was planned.
    pub(crate) fn step(&mut self) -> Vec<String> {
        let actions = plan(&self.view);
        let shown = actions.iter().map(show).collect();
        for action in actions {
            self.enact(action);
        }
        assert_eq!(invariants::broken(&self.view), Vec::<String>::new());
        shown
    }

    /// Steps and obeys until nothing is planned.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..50 {
            self.obey();
            let planned = self.step();
            if planned.is_empty() {
                return all;
            }
            all.extend(planned);
        }
        panic!("still planning after 50 steps: {all:#?}");
    }

    fn put(&mut self, name: InstanceId, worker: WorkerName, placement: Placement) {
        let last = self.view.placed(&name).map_or(Epoch(0), |p| p.placement.epoch);
        assert!(placement.epoch >= last, "{name}: epoch {} after {last}", placement.epoch);
        let seq = self.next();
        self.view.guards.insert(name.clone(), seq);
        let here = self.view.placements.entry(name).or_default();
        here.retain(|p| p.worker != worker);
        here.push(Placed { worker, seq, placement });
    }

    fn delete(&mut self, name: &InstanceId, worker: &WorkerName) {
        let seq = self.next();
        self.view.guards.insert(name.clone(), seq);
        if let Some(here) = self.view.placements.get_mut(name) {
            here.retain(|p| p.worker != *worker);
        }
        self.view.placements.retain(|_, here| !here.is_empty());
    }

    fn enact(&mut self, action: Action) {
        match action {
            Action::Place { name, worker, guard, placement }
            | Action::Update { name, worker, guard, placement } => {
                assert_eq!(guard, self.view.guard(&name));
                self.put(name, worker, *placement);
            }
            Action::Move { name, from, to, guard, lease, placement, .. } => {
                assert_eq!(guard, self.view.guard(&name));
                if let Some(lease) = lease {
                    let seen = self.view.leases.get(&(from.clone(), lease.seconds));
                    assert_eq!(lease.seq, seen.map_or(0, |l| l.seq));
                }
                self.delete(&name, &from);
                self.put(name, to, *placement);
            }
            Action::Remove { name, worker, guard, .. } => {
                assert_eq!(guard, self.view.guard(&name));
                self.delete(&name, &worker);
            }
            Action::CountFailure { name, worker, epoch, asked } => {
                let goals = self.view.goals.entry(name.program).or_default();
                let run = goals.all.as_ref().is_none_or(|g| g.run);
                let goal =
                    goals.each.entry(name.index).or_insert_with(|| Goal { run, ..Goal::default() });
                if goal.fails_since < asked {
                    (goal.fails, goal.fails_since) = (0, asked);
                    goal.failed_on.clear();
                }
                goal.fails += 1;
                goal.failed_epoch = epoch;
                goal.failed_on.push(worker);
            }
            Action::SetFleetStatus { name, state, reason, guard } => {
                assert_eq!(guard, self.fleet_guard(&name));
                self.say(name, state, reason);
            }
            Action::ClearFleetStatus { name, guard } => {
                assert_eq!(guard, self.fleet_guard(&name));
                let tombstone = self.next();
                self.view.fleet_statuses.remove(&name);
                self.view.fleet_status_guards.insert(name, tombstone);
            }
            Action::DropStatus { name, worker, .. } => {
                let told = self.view.statuses.get_mut(&name).unwrap();
                told.remove(&worker);
                self.view.statuses.retain(|_, told| !told.is_empty());
            }
            Action::Forget { program, .. } => {
                self.view.programs.remove(&program);
                self.view.goals.remove(&program);
            }
        }
    }

    fn fleet_guard(&self, name: &InstanceId) -> u64 {
        self.view.fleet_status_guards.get(name).copied().unwrap_or(0)
    }

    fn say(&mut self, name: InstanceId, state: State, reason: String) {
        let seq = self.next();
        let status = Status {
            id: ProgramId(Uuid::nil()),
            epoch: Epoch(0),
            revision: 0,
            wanted: Wanted::default(),
            state,
            rests: false,
            since: Timestamp::from_unix_nanos(0),
            pid: None,
            restarts: 0,
            exit: None,
            usage: None,
            note: None,
            reason: Some(reason),
            spawnerr: None,
            stderr_line: None,
            stdout_logfile: None,
            stderr_logfile: None,
            seq: 0,
            event: None,
            incarnation: Incarnation(Uuid::nil()),
        };
        self.view.fleet_status_guards.insert(name.clone(), seq);
        self.view.fleet_statuses.insert(name, Seen { seq, value: status });
    }
}

/// An action in a word or two.
pub(crate) fn show(action: &Action) -> String {
    match action {
        Action::Place { name, worker, .. } => format!("place {name} {worker}"),
        Action::Update { name, placement, .. } => {
            let wanted = placement.wanted;
            let run = if wanted.run { "run" } else { "stop" };
            format!("update {name} {run} r{}", placement.revision)
        }
        Action::Move { name, from, to, lease, .. } => {
            let guarded = if lease.is_some() { " lost" } else { "" };
            format!("move {name} {from} {to}{guarded}")
        }
        Action::Remove { name, worker, .. } => format!("remove {name} {worker}"),
        Action::CountFailure { name, worker, .. } => format!("count {name} {worker}"),
        Action::SetFleetStatus { name, state, .. } => format!("say {name} {state}"),
        Action::ClearFleetStatus { name, .. } => format!("unsay {name}"),
        Action::DropStatus { name, worker, .. } => format!("drop {name} {worker}"),
        Action::Forget { program, .. } => format!("forget {program}"),
    }
}
