//! What becomes of instances that have a place: they stay, change there, move, or go.

use std::sync::Arc;

use dsbus_schema::event::{INSTANCE_FATAL, WORKER_FORGOTTEN, WORKER_LOST};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::placement::Rest;
use dsbus_schema::program::{Kind, OnWorkerLoss, Program, ProgramSpec};
use dsbus_schema::state::{State, WorkerState};
use dsbus_schema::status::Status;

use crate::action::Action;
use crate::ahead;
use crate::fit::Ask;
use crate::leave::{self, Leave};
use crate::moves::{Held, arguments, relocate, remove, rest, stop, update};
use crate::order;
use crate::place;
use crate::plan::{Draft, Scene, next_epoch};
use crate::refused;
use crate::rolling::{self, Rolling};
use crate::view::{Instance, View};

/// Plans for an instance whose program is gone, or is being removed.
pub(crate) fn without_program(
    view: &View,
    name: &InstanceId,
    instance: &Instance,
    draft: &mut Draft,
) {
    let Some(placed) = instance.placed().filter(|_| instance.forged.is_empty()) else { return };
    let held = Held { name, instance, placed };
    if !alone(view, held, draft) {
        return;
    }
    let priority = placed.spec.priority;
    if placed.wanted.run && order::before_stop(view, &name.program, priority).is_some() {
        return;
    }
    retire(view, held, "its program is removed", draft);
}

/// Plans for one placed instance of a declared program.
pub(crate) fn plan(scene: &Scene<'_>, index: u32, rolling: &mut Rolling<'_>, draft: &mut Draft) {
    let Scene { view, entry, program, .. } = *scene;
    let name = InstanceId::new(program.name.clone(), index);
    let Some(instance) = entry.instance(index) else { return };
    let Some(placed) = instance.placed().filter(|_| instance.forged.is_empty()) else { return };
    let held = Held { name: &name, instance, placed };
    if !alone(view, held, draft) {
        return;
    }
    if placed.id != program.id {
        return retire(view, held, "its program was declared anew", draft);
    }
    if !program.spec.system && !rolling.has(index) {
        let extra = program.rollout.is_some() && index < rolling.most();
        let reason = if extra { "the rollout needs it no more" } else { "numprocs was lowered" };
        return retire(view, held, reason, draft);
    }
    let wanted = entry.wanted(program, index);
    if ahead::is_ahead(entry, program, index, placed) {
        return;
    }
    let mut next = rolling.next(index, placed);
    let leave = leave::why(scene, index, instance, placed, wanted, &next.1);
    if view.is_cut_off(placed) {
        return lost(scene, held, leave.as_ref(), rolling, draft);
    }
    if let Some(note) = refused::note(scene, held) {
        // It leaves when nobody can send it back to the same worker.
        return draft.actions.push(note);
    }
    if let Some(leave) = leave {
        if depart(scene, held, &leave, rolling, draft) {
            return;
        }
        if !leave.asked {
            // Until its turn comes, it is what it was: its new declaration is not for this place.
            next = (placed.revision, placed.spec.clone());
        }
    }
    keep(scene, held, wanted, next, rolling, draft);
}

/// Invariant 1: an instance has one placement. When it was broken from outside, the newest stays.
fn alone(view: &View, held: Held<'_>, draft: &mut Draft) -> bool {
    let mut others = held.instance.placements.iter();
    let Some(placed) = others.find(|other| other.worker != held.placed.worker) else { return true };
    let reason = "a second placement of one instance";
    draft.actions.push(remove(view, Held { placed, ..held }, reason));
    false
}

/// Stops an instance where it is, and takes its placement away once nothing of it runs: the end of
/// every willing move (DESIGN.md section 5, rule 12).
fn retire(view: &View, held: Held<'_>, reason: &str, draft: &mut Draft) {
    if view.is_cut_off(held.placed) {
        draft.actions.push(remove(view, held, reason));
    } else if held.placed.wanted.run {
        draft.actions.push(stop(held));
    } else if is_stopped(held) {
        draft.actions.push(remove(view, held, reason));
    }
}

/// Its worker has said that nothing of it runs.
fn is_stopped(held: Held<'_>) -> bool {
    held.instance.acted(held.placed).is_some_and(|status| !status.state.may_have_child())
}

/// An instance whose worker is lost.
fn lost(
    scene: &Scene<'_>,
    held: Held<'_>,
    leave: Option<&Leave>,
    rolling: &Rolling<'_>,
    draft: &mut Draft,
) {
    let Scene { view, entry, program, .. } = *scene;
    let placed = held.placed;
    let wanted = entry.wanted(program, held.name.index);
    // A worker without a record never comes back.
    let forgotten = view.worker(&placed.worker).is_none();
    let gone = || format!("{} {WORKER_FORGOTTEN}", placed.worker);
    if !wanted.run {
        // Nobody will tell that it has stopped. It is not started when its worker comes back, and
        // whatever of it lives there is stopped then.
        let reason = match leave {
            Some(leave) => leave.reason.clone(),
            None if forgotten => gone(),
            None => "it is not to run, and its worker is lost".to_owned(),
        };
        draft.actions.push(remove(view, held, &reason));
        return;
    }
    let next = rolling.again(placed);
    let acted = held.instance.acted(placed).filter(|_| placed.wanted == wanted);
    let rests =
        rest(held, wanted, &next).is_some() || acted.is_some_and(|s| at_end(scene, held, s));
    let policy = if program.spec.system { OnWorkerLoss::Stay } else { program.spec.on_worker_loss };
    let ended = view.worker_state(&placed.worker) == WorkerState::Stopped;
    if program.spec.system && ended {
        // It stopped because it was told to, and its copy with it.
        let reason = format!("{} has stopped", placed.worker);
        return draft.actions.push(remove(view, held, &reason));
    }
    if !forgotten && (rests || policy == OnWorkerLoss::Stay) {
        return;
    }
    if !rests && policy == OnWorkerLoss::Stop {
        return draft.actions.push(Action::Stop {
            name: held.name.clone(),
            epoch: placed.epoch,
            starts: wanted.starts,
            reason: format!("{} is lost, and on_worker_loss is stop", placed.worker),
        });
    }
    let reason = if forgotten {
        gone()
    } else {
        let seconds = placed.spec.touch_seconds();
        format!("{} {WORKER_LOST} {seconds} s, no answer", placed.worker)
    };
    let moves = !program.spec.system && relocate(scene, held, &next, &reason, draft);
    // What rests would begin anew if it were placed anew: only a move takes that along.
    if forgotten && !moves && (!rests || program.spec.system) {
        draft.actions.push(remove(view, held, &reason));
    }
}

/// Whether an instance has ended for good: nobody starts it again until a person asks for that.
fn at_end(scene: &Scene<'_>, held: Held<'_>, status: &Status) -> bool {
    match status.state {
        State::Exited => status.rests,
        State::Fatal => given_up(scene, held.name.index, asked(scene.program, held.placed.wanted)),
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
    held: Held<'_>,
    leave: &Leave,
    rolling: &mut Rolling<'_>,
    draft: &mut Draft,
) -> bool {
    let Scene { view, entry, program, .. } = *scene;
    let Held { name, instance, placed } = held;
    let wanted = entry.wanted(program, name.index);
    if !wanted.run {
        if leave.asked && placed.wanted.run {
            return false;
        }
        retire(view, held, &leave.reason, draft);
        return true;
    }
    if let Some(rested) = come_to_rest(scene, held) {
        // Only what is known to rest can be moved without being run again.
        draft.actions.push(rested);
        return true;
    }
    let rests = placed.rest.is_some();
    // A job comes to its end first, where it only is asked to leave.
    let job = program.spec.kind == Kind::Oneshot
        && instance.acted(placed).is_none_or(|s| s.state.may_have_child());
    if leave.asked && job && placed.wanted.run && !rests {
        return false;
    }
    if placed.wanted.run && !rests {
        let may = !leave.asked
            || (leave::may_begin(scene, instance, placed, draft)
                && fits(scene, held, rolling, draft));
        if !may || !rolling.take_down(view, instance, placed) {
            return false;
        }
        draft.leaving.insert(placed.worker.clone());
        draft.actions.push(stop(held));
        return true;
    }
    if !rests && !is_stopped(held) {
        return true;
    }
    if leave.asked && !fits(scene, held, rolling, draft) {
        return false;
    }
    let next = rolling.next(name.index, placed);
    let begins = rest(held, wanted, &next).is_none();
    if program.spec.system || (leave.anew && begins) {
        draft.actions.push(remove(view, held, &leave.reason));
    } else {
        // What rests would begin anew if it were placed anew: only a move takes that along.
        draft.leaving.insert(placed.worker.clone());
        relocate(scene, held, &next, &leave.reason, draft);
    }
    true
}

/// Whether another worker can take an instance; one of a system program goes nowhere.
fn fits(scene: &Scene<'_>, held: Held<'_>, rolling: &Rolling<'_>, draft: &mut Draft) -> bool {
    if scene.program.spec.system {
        return true;
    }
    let (_, spec) = rolling.next(held.name.index, held.placed);
    let past = place::past(scene, held.name.index);
    let ask = Ask::new(scene.view, held.name, &spec, past);
    let fits = ask.choose(Some(&held.placed.worker), &draft.deltas).is_ok();
    draft.waits |= !fits;
    fits
}

/// An instance stays where it is, and becomes there what it should be, when its turn comes.
fn keep(
    scene: &Scene<'_>,
    held: Held<'_>,
    wanted: Wanted,
    next: (u64, Arc<ProgramSpec>),
    rolling: &mut Rolling<'_>,
    draft: &mut Draft,
) {
    let Scene { view, entry, program, now } = *scene;
    let placed = held.placed;
    if wanted.run && !placed.wanted.run {
        if let Some(wait) = order::before_start(view, program, now) {
            return draft.wake_at(wait.until);
        }
    } else if !wanted.run
        && placed.wanted.run
        && order::before_stop(view, &held.name.program, placed.spec.priority).is_some()
    {
        return;
    }
    let (wanted, (revision, spec)) = if wanted.run && placed.wanted.run {
        in_turn(scene, held, wanted, next, rolling)
    } else {
        (wanted, next)
    };
    let arguments = arguments(scene, held, wanted);
    let told = (placed.wanted, placed.revision, &*placed.arguments, placed.leaves);
    if told == (wanted, revision, arguments, false) {
        if wanted.run {
            look_after(scene, held, rolling, draft);
        }
        return;
    }
    if let Some(host) = view.hosts.get(&placed.worker) {
        draft.deltas.grow(host, &placed.spec, &spec);
    }
    let mut placement = placed.placement();
    placement.rest = Rest::kept(&placement, wanted, revision, &spec);
    let again = Wanted { run: true, ..placed.wanted };
    if !placed.wanted.run && again == wanted {
        // It was stopped to leave, and stays after all. Under the same epoch the word that it has
        // stopped would count again, when it is to leave the next time.
        placement.epoch = next_epoch(entry, held.name.index);
    }
    (placement.wanted, placement.revision) = (wanted, revision);
    placement.arguments = arguments.to_vec();
    placement.leaves = false;
    placement.spec = ProgramSpec::clone(&spec);
    draft.actions.push(update(held, placement));
}

/// What an instance that should run, and was to run before, is told now: what would end its child
/// waits for its turn.
fn in_turn(
    scene: &Scene<'_>,
    held: Held<'_>,
    wanted: Wanted,
    next: (u64, Arc<ProgramSpec>),
    rolling: &mut Rolling<'_>,
) -> (Wanted, (u64, Arc<ProgramSpec>)) {
    let Scene { view, program, .. } = *scene;
    let Held { instance, placed, .. } = held;
    let acted = instance.acted(placed);
    let rests = placed.rest.is_some() || acted.is_some_and(|status| at_end(scene, held, status));
    let as_it_is = || (placed.revision, placed.spec.clone());
    if rests {
        // The next run of a job is the first one of a changed declaration.
        let waits = program.spec.schedule.is_some() && wanted.starts == placed.wanted.starts;
        return (wanted, if waits { as_it_is() } else { next });
    }
    let oneshot = program.spec.kind == Kind::Oneshot;
    let anew = next.0 != placed.revision && !rolling.is_quiet(&placed.spec);
    let restarts =
        wanted.restarts > placed.wanted.restarts && rolling::restarts(scene, held.name.index);
    if !anew && !restarts {
        return (wanted, next);
    }
    // A oneshot is to come to its end.
    let busy = oneshot && acted.is_none_or(|status| status.state.may_have_child());
    if !busy && rolling.take_down(view, instance, placed) {
        return (wanted, next);
    }
    let restarts = if restarts { placed.wanted.restarts } else { wanted.restarts };
    (Wanted { restarts, ..wanted }, if anew { as_it_is() } else { next })
}

/// An instance is as it should be; but its child may have come to an end.
fn look_after(scene: &Scene<'_>, held: Held<'_>, rolling: &Rolling<'_>, draft: &mut Draft) {
    let Held { name, instance, placed } = held;
    let Some(status) = instance.acted(placed).filter(|_| placed.rest.is_none()) else { return };
    if status.state == State::Fatal && !give_up_or_count(scene, held, draft) {
        let reason = format!("{INSTANCE_FATAL} {}", placed.worker);
        relocate(scene, held, &rolling.fresh(name.index), &reason, draft);
    } else {
        draft.actions.extend(come_to_rest(scene, held));
    }
}

/// Writes into a placement that its instance has ended for good, if it has, and that is news.
fn come_to_rest(scene: &Scene<'_>, held: Held<'_>) -> Option<Action> {
    let Held { instance, placed, .. } = held;
    let status = instance.acted(placed).filter(|_| placed.rest.is_none())?;
    if !at_end(scene, held, status) {
        return None;
    }
    let mut placement = placed.placement();
    placement.rest = Rest::told(&placement, status);
    placement.rest.is_some().then(|| update(held, placement))
}

/// Counts a failure that is not counted yet. Says whether the instance is not to be moved (now).
fn give_up_or_count(scene: &Scene<'_>, held: Held<'_>, draft: &mut Draft) -> bool {
    let goal = scene.view.goal(held.name);
    let asked = asked(scene.program, held.placed.wanted);
    if goal.is_none_or(|g| g.failed_epoch < held.placed.epoch || g.fails_since < asked) {
        draft.actions.push(Action::CountFailure {
            name: held.name.clone(),
            worker: held.placed.worker.clone(),
            epoch: held.placed.epoch,
            asked,
        });
        return true;
    }
    given_up(scene, held.name.index, asked)
}

/// How often a person asked for something new: starts, restarts, changed declarations. A count of
/// failures belongs to one such number.
pub(crate) fn asked(program: &Program, wanted: Wanted) -> u64 {
    wanted.starts.saturating_add(wanted.restarts).saturating_add(program.revision)
}

/// Whether an instance has failed as often as it may. Each copy of a system program belongs to its
/// worker, and has no other.
pub(crate) fn given_up(scene: &Scene<'_>, index: u32, asked: u64) -> bool {
    let spec = &scene.program.spec;
    let limit = if spec.system { 1 } else { spec.max_fail_count };
    let goal = scene.entry.goals.each.get(&index);
    goal.is_some_and(|g| g.fails_since >= asked && g.fails >= limit)
}
