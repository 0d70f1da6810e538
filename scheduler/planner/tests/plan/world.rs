//! A world in memory: a view, and what a bus and workers would make of the planner's actions.

mod check;
mod enact;

use std::collections::BTreeSet;
use std::time::Duration;

use dsbus_planner::view::{Life, Placed, Seen};
use dsbus_planner::{Action, Now, View, invariants, plan, plan_all};
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, ProgramId, ProgramName, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::program::{Command, Program, ProgramSpec};
use dsbus_schema::rollout::{Rollout, RolloutState, Stable};
use dsbus_schema::state::{Exit, State};
use dsbus_schema::status::Status;
use dsbus_schema::touch::PRESENCE_SECONDS;
use dsbus_schema::worker::{Capacity, Facts, Labels, Refusal, Worker};
use dsbus_schema::worker_goal::WorkerGoal;
use uuid::Uuid;

pub(crate) use enact::show;

pub(crate) fn program(name: &str) -> ProgramName {
    ProgramName::parse(name).unwrap()
}

pub(crate) fn worker(name: &str) -> WorkerName {
    WorkerName::parse(name).unwrap()
}

pub(crate) fn instance(name: &str) -> InstanceId {
    name.parse().unwrap()
}

/// What is planned when all is as it should be.
pub(crate) fn nothing() -> Vec<String> {
    Vec::new()
}

#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) view: View,
    pub(crate) seq: u64,
    /// Seconds since the world began.
    pub(crate) seconds: u64,
    ids: u128,
    /// Workers that refuse everything that they are told to run.
    pub(crate) refusing: BTreeSet<&'static str>,
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

    pub(crate) fn now(&self) -> Now {
        let boot = BootTime(1_000_000_000_000) + Duration::from_secs(self.seconds);
        let wall = 1_777_593_600 + i128::from(self.seconds);
        Now { boot, wall: Timestamp::from_unix_nanos(wall * 1_000_000_000) }
    }

    pub(crate) fn join(&mut self, name: &str) {
        self.edit_worker(name, |_| {});
        let held = self.view.leases().filter(|((worker, _), _)| worker.as_str() == name);
        let mut held: Vec<u64> = held.map(|((_, seconds), _)| seconds).collect();
        held.push(PRESENCE_SECONDS);
        for seconds in held {
            self.touch(name, seconds);
        }
    }

    /// Writes a worker's record, changed.
    pub(crate) fn edit_worker(&mut self, name: &str, change: impl FnOnce(&mut Worker)) {
        let seq = self.next();
        let fresh = || Worker {
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
            seal_key: None,
            facts: Facts::default(),
            policy: None,
            refuses: None,
            draining: false,
            stopping: false,
        };
        let mut value = self.view.worker(&worker(name)).cloned().unwrap_or_else(fresh);
        change(&mut value);
        self.view.set_worker(&worker(name), Some(Seen { seq, value }));
    }

    /// From now on a worker has these facilities, if it ever joined.
    pub(crate) fn equip(&mut self, name: &str, facilities: &[&str]) {
        if self.view.worker(&worker(name)).is_some() {
            let facilities = facilities.iter().map(|f| (*f).to_owned()).collect();
            self.edit_worker(name, |worker| worker.facilities = facilities);
        }
    }

    /// From now on a worker has these labels.
    pub(crate) fn label(&mut self, name: &str, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        self.edit_worker(name, |worker| worker.labels = labels);
    }

    /// What people want of a worker.
    pub(crate) fn want_worker(&mut self, name: &str, change: impl FnOnce(&mut WorkerGoal)) {
        let seq = self.next();
        let mut value = WorkerGoal::default();
        change(&mut value);
        self.view.set_worker_goal(&worker(name), Some(Seen { seq, value }));
    }

    pub(crate) fn touch(&mut self, name: &str, seconds: u64) {
        self.touch_as(name, seconds, Incarnation(Uuid::nil()));
    }

    /// A worker touches, in that run of it.
    pub(crate) fn touch_as(&mut self, name: &str, seconds: u64, run: Incarnation) {
        let seq = self.next();
        self.view.touched(&worker(name), seconds, seq, Some(run), Timestamp::from_unix_nanos(0));
    }

    /// A worker's lease is judged.
    pub(crate) fn judge(&mut self, name: &str, seconds: u64, life: Life) {
        self.view.set_life(&worker(name), seconds, life);
    }

    /// A worker is lost: all its leases are.
    pub(crate) fn lose(&mut self, name: &str) {
        let mut all: Vec<u64> = self
            .view
            .placements()
            .filter(|(_, placed)| placed.worker.as_str() == name)
            .map(|(_, placed)| placed.spec.touch_seconds())
            .collect();
        all.push(PRESENCE_SECONDS);
        for seconds in all {
            let seq = self.next();
            self.view.expired(&worker(name), seconds, seq);
            self.judge(name, seconds, Life::Lost);
        }
    }

    /// Declares a program, or changes it, as the command `apply` does: what needs new children is
    /// rolled out.
    pub(crate) fn declare(&mut self, name: &str, change: impl FnOnce(&mut ProgramSpec)) {
        self.ids += 1;
        let line = Command::Line("sleep 1".into());
        let fresh = ProgramSpec { command: line, ..ProgramSpec::default() };
        let id = ProgramId(Uuid::from_u128(self.ids));
        let stored = self.view.program(&program(name)).cloned();
        let before = stored.clone();
        let mut value = stored.unwrap_or_else(|| Program::new(id, program(name), fresh));
        change(&mut value.spec);
        if let Some(before) = before {
            value.revision += 1;
            let stable = Stable { revision: before.revision, spec: before.spec.clone() };
            let canary = value.spec.update.canary;
            if !value.spec.same_child(&before.spec) {
                let stable = before.rollout.map_or(stable, |rollout| rollout.stable);
                let promoted = canary == 0 || stable.spec == value.spec;
                value.rollout = Some(Box::new(Rollout {
                    stable,
                    state: RolloutState::Rolling,
                    promoted,
                    reverts: None,
                    reason: None,
                    since: self.now().wall,
                }));
            }
        }
        self.write(value);
    }

    /// Changes the record of a program without a new declaration.
    pub(crate) fn edit(&mut self, name: &str, change: impl FnOnce(&mut Program)) {
        let mut value = self.view.program(&program(name)).unwrap().clone();
        change(&mut value);
        self.write(value);
    }

    fn write(&mut self, value: Program) {
        let seq = self.next();
        self.view.set_program(&value.name.clone(), Some(Seen { seq, value }));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.edit(name, |program| program.removing = true);
    }

    pub(crate) fn command(&mut self, name: &str, change: impl FnOnce(&mut Goal)) {
        let stamp = self.next();
        let goals = self.view.goals(&program(name)).cloned().unwrap_or_default();
        let mut goal = goals.all.unwrap_or_default();
        goal.stamp = stamp;
        change(&mut goal);
        self.view.set_goal(&program(name), None, Some(goal));
    }

    /// The same for one instance.
    pub(crate) fn command_one(&mut self, name: &str, change: impl FnOnce(&mut Goal)) {
        let stamp = self.next();
        let InstanceId { program, index } = instance(name);
        let goals = self.view.goals(&program).cloned().unwrap_or_default();
        let mut goal = goals.each.get(&index).cloned().unwrap_or_default();
        goal.stamp = stamp;
        change(&mut goal);
        self.view.set_goal(&program, Some(index), Some(goal));
    }

    /// An instance is asked to leave the place that it has under that epoch.
    pub(crate) fn mark_leaving(&mut self, name: &str, epoch: Epoch) {
        let InstanceId { program, index } = instance(name);
        let goals = self.view.goals(&program).cloned().unwrap_or_default();
        let goal = goals.each.get(&index).cloned().unwrap_or_default();
        self.view.set_goal(&program, Some(index), Some(Goal { leave: epoch, ..goal }));
    }

    pub(crate) fn placed(&self, name: &str) -> Option<&Placed> {
        self.view.placed(&instance(name))
    }

    pub(crate) fn at(&self, name: &str) -> Option<String> {
        self.placed(name).map(|p| p.worker.to_string())
    }

    pub(crate) fn epoch(&self, name: &str) -> u64 {
        self.placed(name).map_or(0, |p| p.epoch.0)
    }

    /// The state of an instance as people see it.
    pub(crate) fn state(&self, name: &str) -> State {
        dsbus_planner::rows::instance(&self.view, &instance(name)).unwrap().state
    }

    /// Why it is in that state.
    pub(crate) fn reason(&self, name: &str) -> String {
        let row = dsbus_planner::rows::instance(&self.view, &instance(name)).unwrap();
        row.reason.unwrap_or_default()
    }

    /// The worker of an instance tells its state.
    pub(crate) fn tell(&mut self, name: &str, state: State) {
        self.tell_more(name, state, |_| {});
    }

    /// The child of an instance was started again, and runs.
    pub(crate) fn restarted(&mut self, name: &str) {
        let restarts = 1 + self
            .view
            .placed(&instance(name))
            .and_then(|placed| {
                self.view.status(&instance(name), placed).map(|status| status.restarts)
            })
            .unwrap_or(0);
        self.tell_more(name, State::Running, |status| status.restarts = restarts);
    }

    /// The id of a further command.
    pub(crate) fn command_id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids)
    }

    /// The child of an instance ends by itself, for good.
    pub(crate) fn end(&mut self, name: &str, code: i32) {
        self.tell_more(name, State::Exited, |status| {
            status.exit = Some(Exit::code(code));
            status.rests = true;
        });
    }

    pub(crate) fn tell_more(&mut self, name: &str, state: State, more: impl FnOnce(&mut Status)) {
        let Some(placed) = self.placed(name).cloned() else { return };
        let seq = self.next();
        let mut status = enact::status(state, None);
        (status.id, status.epoch) = (placed.id, placed.epoch);
        (status.revision, status.wanted) = (placed.revision, placed.wanted);
        (status.seq, status.rests) = (1, state == State::Fatal);
        more(&mut status);
        let now = self.now().boot;
        let told = Some(Seen { seq, value: status });
        self.view.set_status(&placed.worker, &instance(name), told, now);
    }

    /// What a worker says that refuses.
    fn refusal(&self, worker: &WorkerName) -> Refusal {
        let policy = self.view.worker(worker).map_or("", |w| w.policy_digest()).to_owned();
        Refusal { policy, reason: "env LD_PRELOAD (policy.environment)".to_owned() }
    }

    /// Every living worker does what its placements say, and tells.
    pub(crate) fn obey(&mut self) {
        let all: Vec<(InstanceId, Placed)> =
            self.view.placements().map(|(name, placed)| (name, placed.clone())).collect();
        for (name, placed) in all {
            if self.view.life(&placed) == Life::Lost {
                continue;
            }
            self.touch(placed.worker.as_str(), placed.spec.touch_seconds());
            let told = self.view.status(&name, &placed);
            let acted =
                told.is_some_and(|s| s.wanted == placed.wanted && s.revision == placed.revision);
            let refuses = self.refusing.contains(placed.worker.as_str());
            let refusal = (refuses && placed.wanted.run).then(|| self.refusal(&placed.worker));
            let aim = match &placed.rest {
                Some(rest) => rest.state.into(),
                None if placed.wanted.run && !refuses => State::Running,
                None => State::Stopped,
            };
            let settled = told.is_some_and(|s| acted && (s.rests || s.state == aim));
            if !settled {
                let rests = placed.rest.is_some();
                self.tell_more(&name.to_string(), aim, |status| {
                    status.rests |= rests;
                    status.refused = refusal;
                });
            }
        }
        self.take_back();
    }

    /// Living workers take back what they told of instances that they have no more.
    fn take_back(&mut self) {
        let told: Vec<(InstanceId, WorkerName)> = self.view.statuses().collect();
        let now = self.now().boot;
        for (name, worker) in told {
            let held = self.view.placed(&name).is_some_and(|placed| placed.worker == worker);
            if !held && !self.view.is_lost(&worker) {
                self.view.set_status(&worker, &name, None, now);
            }
        }
    }

    /// Plans, and enacts the plan as the bus would: guards are checked. What was planned for what
    /// changed is what would have been planned for everything, but that the reason of a PENDING may be
    /// told later. Returns what was planned.
    pub(crate) fn step(&mut self) -> Vec<String> {
        let now = self.now();
        let all = plan_all(&mut self.view.clone(), now);
        let actions = plan(&mut self.view, now);
        let shown: Vec<String> = actions.iter().map(show).collect();
        let compared = |actions: &[Action]| {
            let told = |action: &&Action| !self.is_another_reason(action);
            let mut shown: Vec<String> = actions.iter().filter(told).map(show).collect();
            shown.sort();
            shown
        };
        let (some, all) = (compared(&actions), compared(&all));
        assert_eq!(some, all, "planned for what changed, and for everything");
        check::limits(&self.view, &actions);
        for action in actions {
            self.enact(action);
        }
        assert_eq!(invariants::broken(&self.view), Vec::<String>::new());
        shown
    }

    /// Whether an action tells another reason of what is PENDING already.
    fn is_another_reason(&self, action: &Action) -> bool {
        let Action::SetFleetStatus { name, state, .. } = action else { return false };
        self.view.said(name).0.is_some_and(|said| said.state == *state)
    }

    /// Steps and obeys until nothing is planned.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..80 {
            self.obey();
            let planned = self.step();
            if planned.is_empty() {
                return all;
            }
            all.extend(planned);
        }
        panic!("still planning after 80 steps: {all:#?}");
    }
}
