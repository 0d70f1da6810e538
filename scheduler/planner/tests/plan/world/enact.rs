//! What a bus makes of actions.

use dsbus_planner::view::Seen;
use dsbus_planner::{Action, jobs};
use dsbus_schema::goal::{Goal, Wanted};
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, ProgramId, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::placement::Placement;
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use uuid::Uuid;

use super::{World, check};

/// A status that says no more than it must.
pub(super) fn status(state: State, reason: Option<String>) -> Status {
    Status {
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
        reason,
        refused: None,
        spawnerr: None,
        stderr_line: None,
        stdout_logfile: None,
        stderr_logfile: None,
        seq: 0,
        event: None,
        incarnation: Incarnation(Uuid::nil()),
    }
}

impl World {
    fn put(&mut self, name: &InstanceId, worker: &WorkerName, placement: Placement) {
        let last = self.view.placed(name).map_or(Epoch(0), |p| p.epoch);
        assert!(placement.epoch >= last, "{name}: epoch {} after {last}", placement.epoch);
        let seq = self.next();
        self.view.set_placement(worker, name, seq, Some(placement));
    }

    fn delete(&mut self, name: &InstanceId, worker: &WorkerName) {
        let seq = self.next();
        self.view.set_placement(worker, name, seq, None);
    }

    fn goal(&self, name: &InstanceId) -> Goal {
        let goals = self.view.goals(&name.program).cloned().unwrap_or_default();
        let run = goals.all.as_ref().is_none_or(|g| g.run);
        goals.each.get(&name.index).cloned().unwrap_or(Goal { run, ..Goal::default() })
    }

    /// Does what an action says, if its guards are right, as they must be here.
    #[expect(clippy::too_many_lines, reason = "an arm for each action")]
    pub(super) fn enact(&mut self, action: Action) {
        match action {
            Action::Place { name, worker, guard, placement } => {
                assert_eq!(guard, self.view.guard(&name));
                check::placed(&self.view, &name, &worker, &placement);
                self.put(&name, &worker, *placement);
            }
            Action::Update { name, worker, guard, placement } => {
                assert_eq!(guard, self.view.guard(&name));
                // Only what was stopped to leave, and stays after all, begins anew where it is.
                let before = self.view.placed(&name).unwrap();
                let again = Wanted { run: true, ..before.wanted };
                let anew = !before.wanted.run && placement.wanted == again;
                assert_eq!(placement.epoch > before.epoch, anew);
                self.put(&name, &worker, *placement);
            }
            Action::Move { name, from, to, guard, lease, placement, .. } => {
                assert_eq!(guard, self.view.guard(&name));
                if let Some(lease) = lease {
                    let seen = self.view.lease_of(&from, lease.seconds);
                    assert_eq!(lease.seq, seen.map_or(0, |l| l.seq));
                }
                check::placed(&self.view, &name, &to, &placement);
                self.delete(&name, &from);
                self.put(&name, &to, *placement);
            }
            Action::Remove { name, worker, guard, lease, .. } => {
                assert_eq!(guard, self.view.guard(&name));
                if let Some(lease) = lease {
                    let seen = self.view.lease_of(&worker, lease.seconds);
                    assert_eq!(lease.seq, seen.map_or(0, |l| l.seq));
                }
                self.delete(&name, &worker);
            }
            Action::Repair { name, worker, guard, placement, .. } => {
                assert_eq!(guard, self.view.guard(&name));
                match placement {
                    Some(placement) => self.put(&name, &worker, *placement),
                    None => self.delete(&name, &worker),
                }
            }
            Action::CountFailure { name, worker, epoch, asked } => {
                let mut goal = self.goal(&name);
                if goal.fails_since < asked {
                    (goal.fails, goal.fails_since) = (0, asked);
                    goal.failed_on.clear();
                }
                goal.fails += 1;
                goal.failed_epoch = epoch;
                goal.failed_on.push(worker);
                self.view.set_goal(&name.program, Some(name.index), Some(goal));
            }
            Action::NoteRefusal { name, by, asked } => {
                let mut goal = self.goal(&name);
                if goal.refused_since < asked {
                    goal.refused_since = asked;
                    goal.refused.clear();
                }
                goal.refused.retain(|known| known.worker != by.worker);
                goal.refused.push(by);
                self.view.set_goal(&name.program, Some(name.index), Some(goal));
            }
            Action::Stop { name, .. } => {
                let stamp = self.next();
                let goal = Goal { run: false, stamp, ..self.goal(&name) };
                self.view.set_goal(&name.program, Some(name.index), Some(goal));
            }
            Action::Fire { program, due } => {
                let goals = self.view.goals(&program).cloned().unwrap_or_default();
                let mut goal = goals.all.unwrap_or_default();
                goal.last_due = Some(due.at);
                if due.verdict == jobs::Verdict::Run {
                    goal.starts += 1;
                }
                self.view.set_goal(&program, None, Some(goal));
            }
            Action::Rollout { record, .. } => self.write(*record),
            Action::SetFleetStatus { name, state, reason, guard } => {
                assert_eq!(guard, self.view.said(&name).1);
                let seq = self.next();
                self.view.set_said(&name, seq, Some(status(state, Some(reason))));
            }
            Action::ClearFleetStatus { name, guard } => {
                assert_eq!(guard, self.view.said(&name).1);
                let seq = self.next();
                self.view.set_said(&name, seq, None);
            }
            Action::DropStatus { name, worker, .. } => {
                let now = self.now().boot;
                self.view.set_status(&worker, &name, None, now);
            }
            Action::Drained { worker, guard, goal } => {
                let seq = self.next();
                assert!(guard > 0 && goal.drained && self.view.load(&worker) == 0);
                self.view.set_worker_goal(&worker, Some(Seen { seq, value: *goal }));
            }
            Action::TellGroup { fact, .. } => {
                let seq = self.next();
                self.view.set_group(&fact.group.clone(), seq, Some(fact));
            }
            Action::ForgetGroup { group, guard } => {
                assert!(guard > 0);
                let seq = self.next();
                self.view.set_group(&group, seq, None);
            }
            Action::ForgetWorker { worker, guard } => {
                assert_eq!(Some(guard), self.view.worker_seq(&worker));
                self.view.set_worker(&worker, None::<Seen<_>>);
            }
            Action::Forget { program, .. } => {
                let goals = self.view.goals(&program).cloned().unwrap_or_default();
                for index in goals.each.into_keys().map(Some).chain([None]) {
                    self.view.set_goal(&program, index, None);
                }
                self.view.set_program(&program, None);
            }
        }
    }
}

/// An action in a word or two.
pub(crate) fn show(action: &Action) -> String {
    match action {
        Action::Place { name, worker, placement, .. } => {
            let old = placement.revision;
            format!(
                "place {name} {worker}{}",
                if old > 1 { format!(" r{old}") } else { String::new() }
            )
        }
        Action::Update { name, placement, .. } => {
            let wanted = placement.wanted;
            let run = if placement.rest.is_some() {
                "rest"
            } else if wanted.run {
                "run"
            } else {
                "stop"
            };
            format!("update {name} {run} r{}", placement.revision)
        }
        Action::Move { name, from, to, lease, placement, .. } => {
            let guarded = if lease.is_some() { " lost" } else { "" };
            let revision = placement.revision;
            let revision = if revision > 1 { format!(" r{revision}") } else { String::new() };
            format!("move {name} {from} {to}{revision}{guarded}")
        }
        Action::Remove { name, worker, .. } => format!("remove {name} {worker}"),
        Action::Repair { name, worker, placement, .. } => match placement {
            Some(_) => format!("repair {name} {worker}"),
            None => format!("clear {name} {worker}"),
        },
        Action::CountFailure { name, worker, .. } => format!("count {name} {worker}"),
        Action::NoteRefusal { name, by, .. } => format!("refused {name} {}", by.worker),
        Action::Stop { name, .. } => format!("stop {name}"),
        Action::Fire { program, due } => format!("fire {program} {:?}", due.verdict),
        Action::Rollout { record, change, .. } => {
            format!("rollout {} {}", record.name, change.type_name())
        }
        Action::SetFleetStatus { name, state, .. } => format!("say {name} {state}"),
        Action::ClearFleetStatus { name, .. } => format!("unsay {name}"),
        Action::DropStatus { name, worker, .. } => format!("drop {name} {worker}"),
        Action::Drained { worker, .. } => format!("drained {worker}"),
        Action::TellGroup { fact, .. } => {
            let all = [&[fact.change.type_name().to_owned()], fact.failed.as_slice()].concat();
            format!("group {} {}", fact.group, all.join(" "))
        }
        Action::ForgetGroup { group, .. } => format!("forget group {group}"),
        Action::ForgetWorker { worker, .. } => format!("forget worker {worker}"),
        Action::Forget { program, .. } => format!("forget {program}"),
    }
}
