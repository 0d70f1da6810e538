//! What becomes of instances that have a place: they stay, change there, move, or go.

use std::sync::Arc;

use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::placement::Rest;
use dsbus_schema::program::{Kind, OnWorkerLoss, Program, ProgramSpec};
use dsbus_schema::state::State;
use dsbus_schema::status::Status;

use crate::action::Action;
use crate::fit::Ask;
use crate::leave::{self, Leave};
use crate::moves::{relocate, remove, stop, update};
use crate::order;
use crate::plan::{Draft, Scene};
use crate::rolling::{self, Health, Rolling};
use crate::view::{Instance, Life, Placed, View};

/// Plans for an instance whose program is gone, or is being removed.
pub(crate) fn without_program(
    view: &View,
    name: &InstanceId,
    instance: &Instance,
    draft: &mut Draft,
) {
    let Some(placed) = instance.placed() else { return };
    if !alone(view, name, instance, placed, draft) {
        return;
    }
    let priority = placed.spec.priority;
    if placed.wanted.run && order::before_stop(view, &name.program, priority).is_some() {
        return;
    }
    retire(view, name, instance, placed, "its program is removed", draft);
}

/// Plans for one placed instance of a declared program.
pub(crate) fn plan(scene: &Scene<'_>, index: u32, rolling: &mut Rolling<'_>, draft: &mut Draft) {
    let Scene { view, entry, program, .. } = *scene;
    let name = InstanceId::new(program.name.clone(), index);
    let Some(instance) = entry.instance(index) else { return };
    let Some(placed) = instance.placed() else { return };
    if !alone(view, &name, instance, placed, draft) {
        return;
    }
    if placed.id != program.id {
        return retire(view, &name, instance, placed, "its program was declared anew", draft);
    }
    if !program.spec.system && !rolling.has(index) {
        let surge = placed.revision > 0 && program.rollout.is_some();
        let reason = if surge { "the rollout needs it no more" } else { "numprocs was lowered" };
        return retire(view, &name, instance, placed, reason, draft);
    }
    let wanted = view.wanted(program, index);
    let older = asked(program, wanted) < asked(program, placed.wanted)
        || wanted.reloads < placed.wanted.reloads;
    if placed.revision > program.revision || older {
        // Whoever wrote the placement knew of a later command: the view is behind.
        return;
    }
    let (mut revision, mut spec) = rolling.next(index, placed);
    let leave = leave::why(scene, &name, instance, placed, wanted, &spec);
    if view.life(placed) == Life::Lost {
        return lost(scene, &name, instance, placed, leave.as_ref(), draft);
    }
    if let Some(leave) = leave {
        if depart(scene, &name, instance, placed, &leave, rolling, draft) {
            return;
        }
        if !leave.asked {
            // Until its turn comes, it is what it was: its new declaration is not for this place.
            (revision, spec) = (placed.revision, placed.spec.clone());
        }
    }
    keep(scene, &name, instance, placed, wanted, (revision, spec), rolling, draft);
}

/// Invariant 1: an instance has one placement. When it was broken from outside, the newest stays.
fn alone(
    view: &View,
    name: &InstanceId,
    instance: &Instance,
    placed: &Placed,
    draft: &mut Draft,
) -> bool {
    let other = instance.placements.iter().find(|other| other.worker != placed.worker);
    if let Some(other) = other {
        draft.actions.push(remove(
            view,
            name,
            instance,
            other,
            "a second placement of one instance",
        ));
    }
    other.is_none()
}

/// Stops an instance where it is, and takes its placement away once nothing of it runs: the end of
/// every willing move (DESIGN.md section 5, rule 12).
fn retire(
    view: &View,
    name: &InstanceId,
    instance: &Instance,
    placed: &Placed,
    reason: &str,
    draft: &mut Draft,
) {
    if view.life(placed) == Life::Lost {
        draft.actions.push(remove(view, name, instance, placed, reason));
    } else if placed.wanted.run {
        draft.actions.push(stop(name, instance, placed));
    } else if is_stopped(instance, placed) {
        draft.actions.push(remove(view, name, instance, placed, reason));
    }
}

/// Its worker has said that nothing of it runs.
fn is_stopped(instance: &Instance, placed: &Placed) -> bool {
    instance.acted(placed).is_some_and(|status| !status.state.may_have_child())
}

/// An instance whose worker is lost.
fn lost(
    scene: &Scene<'_>,
    name: &InstanceId,
    instance: &Instance,
    placed: &Placed,
    leave: Option<&Leave>,
    draft: &mut Draft,
) {
    let program = scene.program;
    let wanted = scene.view.wanted(program, name.index);
    if !wanted.run {
        // Nobody will tell that it has stopped. It is not started when its worker comes back, and
        // whatever of it lives there is stopped then.
        let reason = leave.map_or("it is not to run, and its worker is lost", |l| &l.reason);
        draft.actions.push(remove(scene.view, name, instance, placed, reason));
        return;
    }
    let status = instance.acted(placed).filter(|_| placed.wanted == wanted);
    if placed.rest.is_some() || status.is_some_and(|s| at_end(scene, name, placed, s)) {
        return;
    }
    let policy = if program.spec.system { OnWorkerLoss::Stay } else { program.spec.on_worker_loss };
    match policy {
        OnWorkerLoss::Stay => {}
        OnWorkerLoss::Stop => draft.actions.push(Action::Stop {
            name: name.clone(),
            epoch: placed.epoch,
            reason: format!("{} is lost, and on_worker_loss is stop", placed.worker),
        }),
        OnWorkerLoss::Move => {
            let seconds = placed.spec.touch_seconds();
            let reason = format!("{} is lost: no touch for {seconds} s, no answer", placed.worker);
            relocate(scene, name, instance, placed, &reason, draft);
        }
    }
}

/// Whether an instance has ended for good: nobody starts it again until a person asks for that.
fn at_end(scene: &Scene<'_>, name: &InstanceId, placed: &Placed, status: &Status) -> bool {
    match status.state {
        State::Exited => status.rests,
        State::Fatal => given_up(scene, name.index, asked(scene.program, placed.wanted)),
        State::Stopped
        | State::Pending
        | State::Starting
        | State::Running
        | State::Backoff
        | State::Stopping
        | State::Unknown => false,
    }
}

/// An instance leaves its place, if it may do so now. Says whether it is on its way.
fn depart(
    scene: &Scene<'_>,
    name: &InstanceId,
    instance: &Instance,
    placed: &Placed,
    leave: &Leave,
    rolling: &mut Rolling<'_>,
    draft: &mut Draft,
) -> bool {
    let Scene { view, program, now, .. } = *scene;
    let wanted = view.wanted(program, name.index);
    if !wanted.run {
        if leave.asked && placed.wanted.run {
            return false;
        }
        retire(view, name, instance, placed, &leave.reason, draft);
        return true;
    }
    if leave.asked {
        let (_, spec) = rolling.fresh(name.index);
        let goes_nowhere = program.spec.system;
        let ask = Ask::new(view, name, &spec, &[]);
        let may = goes_nowhere || ask.choose(Some(&placed.worker), &draft.deltas).is_ok();
        if !may || !leave::may_begin(view, name, instance, placed, draft) {
            return false;
        }
    }
    let resting = placed.rest.is_some();
    if placed.wanted.run && !resting {
        let health = rolling::health(view, instance, placed, std::time::Duration::ZERO, now.boot);
        if !rolling.take_down(health) {
            return false;
        }
        draft.leaving.insert(placed.worker.clone());
        draft.actions.push(stop(name, instance, placed));
    } else if resting || is_stopped(instance, placed) {
        if leave.anew || program.spec.system {
            draft.actions.push(remove(view, name, instance, placed, &leave.reason));
        } else {
            draft.leaving.insert(placed.worker.clone());
            relocate(scene, name, instance, placed, &leave.reason, draft);
        }
    }
    true
}

fn keep(
    scene: &Scene<'_>,
    name: &InstanceId,
    instance: &Instance,
    placed: &Placed,
    wanted: Wanted,
    (mut revision, mut spec): (u64, Arc<ProgramSpec>),
    rolling: &mut Rolling<'_>,
    draft: &mut Draft,
) {
    let Scene { view, program, entry, now } = *scene;
    let mut next = wanted;
    let acted = instance.acted(placed);
    let rests = acted.is_some_and(|status| at_end(scene, name, placed, status));
    if wanted.run && !placed.wanted.run {
        if let Some(wait) = order::before_start(view, program, now) {
            draft.wake_at(wait.until);
            return;
        }
    } else if !wanted.run && placed.wanted.run {
        if order::before_stop(view, &name.program, placed.spec.priority).is_some() {
            return;
        }
    } else if program.spec.schedule.is_some() && wanted.starts == placed.wanted.starts && rests {
        // The next run is the first one of a changed declaration.
        (revision, spec) = (placed.revision, placed.spec.clone());
    } else if wanted.run && !rests {
        // It lives: what ends its child is done when its turn comes.
        let anew = !spec.same_child(&placed.spec);
        let rolls = anew && (program.rollout.is_some() || program.spec.kind == Kind::Oneshot);
        let goal = entry.goals.all.as_ref();
        let restarts = wanted.restarts > placed.wanted.restarts && goal.is_some_and(|g| g.rolling);
        if rolls || restarts {
            let health =
                rolling::health(view, instance, placed, std::time::Duration::ZERO, now.boot);
            let busy = program.spec.kind == Kind::Oneshot && health != Health::Down;
            if busy || !rolling.take_down(health) {
                next.restarts = if restarts { placed.wanted.restarts } else { wanted.restarts };
                if anew {
                    (revision, spec) = (placed.revision, placed.spec.clone());
                }
            }
        }
    }
    let unchanged = placed.wanted == next && placed.revision == revision;
    if unchanged && wanted.run {
        if acted.is_some_and(|status| status.state == State::Fatal && placed.rest.is_none())
            && !give_up_or_count(scene, name, placed, draft)
        {
            let reason = format!("it ended FATAL on {}", placed.worker);
            return relocate(scene, name, instance, placed, &reason, draft);
        }
        let ended = acted.filter(|status| at_end(scene, name, placed, status));
        if let Some(status) = ended.filter(|_| placed.rest.is_none()) {
            let mut placement = placed.placement();
            placement.rest = Rest::told(&placement, status);
            if placement.rest.is_some() {
                draft.actions.push(update(name, instance, placed, placement));
            }
        }
        return;
    }
    if !unchanged {
        let mut placement = placed.placement();
        placement.rest = Rest::kept(&placement, next, revision, &spec);
        (placement.wanted, placement.revision) = (next, revision);
        placement.spec = ProgramSpec::clone(&spec);
        draft.actions.push(update(name, instance, placed, placement));
    }
}

/// Counts a failure that is not counted yet. Says whether the instance is not to be moved (now).
fn give_up_or_count(
    scene: &Scene<'_>,
    name: &InstanceId,
    placed: &Placed,
    draft: &mut Draft,
) -> bool {
    let goal = scene.view.goal(name);
    let asked = asked(scene.program, placed.wanted);
    if goal.is_none_or(|g| g.failed_epoch < placed.epoch || g.fails_since < asked) {
        draft.actions.push(Action::CountFailure {
            name: name.clone(),
            worker: placed.worker.clone(),
            epoch: placed.epoch,
            asked,
        });
        return true;
    }
    given_up(scene, name.index, asked)
}

/// How often a person asked for something new: starts, restarts, changed declarations. A count of
/// failures belongs to one such number.
pub(crate) fn asked(program: &Program, wanted: Wanted) -> u64 {
    wanted.starts + wanted.restarts + program.revision
}

/// Whether an instance has failed as often as it may.
pub(crate) fn given_up(scene: &Scene<'_>, index: u32, asked: u64) -> bool {
    let limit = scene.program.spec.max_fail_count;
    let goal = scene.entry.goals.each.get(&index);
    goal.is_some_and(|g| g.fails_since >= asked && g.fails >= limit)
}
