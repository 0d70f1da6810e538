//! What is left behind: states of lost workers, programs of which nothing runs any more, workers
//! that stopped in order.

use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::state::WorkerState;
use dsbus_schema::worker_goal::WorkerGoal;

use crate::action::Action;
use crate::plan::Draft;
use crate::view::{Entry, View};

/// States that nobody will take back.
pub(crate) fn statuses(view: &View, name: &ProgramName, entry: &Entry, draft: &mut Draft) {
    let removing = entry.program.as_ref().is_some_and(|seen| seen.value.removing);
    for (index, instance) in &entry.instances {
        let name = || InstanceId::new(name.clone(), *index);
        if removing && let Some((worker, epoch)) = view.returns(instance) {
            // Then nothing would tell of it, and nobody would tell it.
            draft.actions.push(Action::Remove {
                name: name(),
                worker: worker.clone(),
                guard: instance.guard,
                lease: None,
                epoch,
                reason: "its program is removed".to_owned(),
            });
            continue;
        }
        for (worker, status) in &instance.statuses {
            let held = instance.placements.iter().any(|placed| placed.worker == *worker);
            // A living worker takes its own entry away, once the child is gone; but not one that an
            // earlier run of it told, whose children died with it.
            let earlier = || {
                let record = view.worker(worker);
                record.is_none_or(|record| record.incarnation != status.value.incarnation)
            };
            // Where the bus knows no more of an instance, it is all that tells who has it.
            let tells = || {
                if removing {
                    view.tells_of_removed(instance, worker, status)
                } else {
                    view.tells(instance, worker, status)
                }
            };
            if !held && (view.is_gone(worker) || earlier()) && !tells() {
                draft.actions.push(Action::DropStatus {
                    name: name(),
                    worker: worker.clone(),
                    guard: status.seq,
                });
            }
        }
        let program = entry.program.as_ref().map(|seen| &seen.value).filter(|p| !p.removing);
        let declared = program
            .is_some_and(|program| view.is_declared(program, *index) || program.rollout.is_some());
        if instance.said.is_some() && !declared {
            let guard = instance.said_guard;
            draft.actions.push(Action::ClearFleetStatus { name: name(), guard });
        }
    }
}

/// A removed program of which nothing is left.
pub(crate) fn program(name: &ProgramName, entry: &Entry, draft: &mut Draft) {
    let Some(seen) = &entry.program else { return };
    let mut instances = entry.instances.values();
    let left = instances.any(|i| !i.placements.is_empty() || !i.statuses.is_empty());
    if !left {
        draft.actions.push(Action::Forget { program: name.clone(), guard: seen.seq });
    }
}

/// Workers that stopped because they were told to, and hold nothing any more: nobody misses them.
/// And those that are drained, and hold nothing any more: that is told once for each drain.
pub(crate) fn workers(view: &mut View, draft: &mut Draft) {
    for worker in view.index.take_workers() {
        let Some(host) = view.hosts.get(&worker) else { continue };
        if host.state == WorkerState::Stopped
            && host.placed.is_empty()
            && let Some(record) = &host.record
        {
            let guard = record.seq;
            draft.actions.push(Action::ForgetWorker { worker, guard });
        } else if host.goal.draining && !host.goal.drained && host.placed.is_empty() {
            let goal = Box::new(WorkerGoal { drained: true, ..host.goal.clone() });
            draft.actions.push(Action::Drained { worker, guard: host.goal_seq, goal });
        }
    }
}
