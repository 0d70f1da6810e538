//! What becomes of instances that have a place: they stay, change there, move, or go.

use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::Program;
use dsbus_schema::state::State;
use dsbus_schema::status::Status;

use crate::action::{Action, LeaseGuard};
use crate::place;
use crate::plan::{Draft, next_epoch};
use crate::view::{Life, Placed, View};

/// Plans for one instance that has a place.
pub(crate) fn plan(view: &View, name: &InstanceId, draft: &mut Draft) {
    let Some(placed) = view.placed(name) else { return };
    for other in view.placements.get(name).into_iter().flatten() {
        if other.worker != placed.worker {
            // Invariant 1 was broken from outside. The newest stays.
            draft.actions.push(remove(view, name, other, "a second placement of one instance"));
            return;
        }
    }
    let program = view.programs.get(&name.program).map(|p| &p.value);
    let lack = || program.and_then(|program| out_of_reach(view, program, name, placed));
    if let Some(reason) = out_of_place(program, name, placed).map(str::to_owned).or_else(lack) {
        retire(view, name, placed, &reason, draft);
    } else if let Some(program) = program {
        keep(view, program, name, placed, draft);
    }
}

/// Why an instance cannot stay where it is, whatever its health.
fn out_of_place(
    program: Option<&Program>,
    name: &InstanceId,
    placed: &Placed,
) -> Option<&'static str> {
    let Some(program) = program else { return Some("its program is gone") };
    let spec = &program.spec;
    if program.id != placed.placement.id {
        Some("its program was declared anew")
    } else if program.removing {
        Some("its program is being removed")
    } else if name.index >= spec.numprocs {
        Some("numprocs was lowered")
    } else if !spec.machines.is_empty() && !spec.machines.contains(&placed.worker) {
        Some("machines no longer names its worker")
    } else if !spec.same_identity(&placed.placement.spec) {
        Some("touch_timeout or exclusive was changed")
    } else {
        None
    }
}

/// Why an instance cannot stay on a worker that lacks what it needs. A child that lives is left
/// alone, whatever its worker lost meanwhile: it got what it needs when it was started, and what has
/// ended for good, or failed, is as it would be elsewhere. It goes when a start is what it waits
/// for, or when its declaration asks for more than the child has.
fn out_of_reach(
    view: &View,
    program: &Program,
    name: &InstanceId,
    placed: &Placed,
) -> Option<String> {
    let lacks = view.lacks(&placed.worker, &program.spec.needs());
    if lacks.is_empty() || view.life(placed) == Life::Lost {
        return None;
    }
    let had = placed.placement.spec.needs();
    let waits = view
        .status(name, placed)
        .is_some_and(|status| matches!(status.state, State::Backoff | State::Stopped));
    (waits || lacks.iter().any(|facility| !had.contains(facility)))
        .then(|| format!("{} lacks {}", placed.worker, lacks.join(", ")))
}

/// Stops an instance where it is, and takes its placement away once nothing of it runs: the end of
/// every willing move (DESIGN.md section 5, rule 12).
fn retire(view: &View, name: &InstanceId, placed: &Placed, reason: &str, draft: &mut Draft) {
    if view.life(placed) == Life::Lost {
        draft.actions.push(remove(view, name, placed, reason));
    } else if placed.placement.wanted.run {
        let mut placement = placed.placement.clone();
        placement.wanted.run = false;
        draft.actions.push(update(view, name, placed, placement));
    } else if acted(view, name, placed).is_some_and(|s| !s.state.may_have_child()) {
        draft.actions.push(remove(view, name, placed, reason));
    }
}

/// The state of an instance, if its worker has acted on the placement as it is now. An older state
/// says nothing: the child may have been started since.
fn acted<'a>(view: &'a View, name: &InstanceId, placed: &Placed) -> Option<&'a Status> {
    let placement = &placed.placement;
    view.status(name, placed)
        .filter(|s| s.wanted == placement.wanted && s.revision == placement.revision)
}

fn keep(view: &View, program: &Program, name: &InstanceId, placed: &Placed, draft: &mut Draft) {
    let wanted = view.wanted(program, name.index);
    if view.life(placed) == Life::Lost {
        if wanted.run {
            let seconds = placed.placement.spec.touch_seconds();
            let reason = format!("{} is lost: no touch for {seconds} s, no answer", placed.worker);
            relocate(view, program, name, placed, &reason, draft);
        }
        return;
    }
    let now = &placed.placement;
    let older =
        asked(program, wanted) < asked(program, now.wanted) || wanted.reloads < now.wanted.reloads;
    if now.revision > program.revision || older {
        // Whoever wrote the placement knew of a later command: the view is behind.
        return;
    }
    let unchanged = now.wanted == wanted && now.revision == program.revision;
    if unchanged && wanted.run && failed(view, name, placed) {
        if give_up_or_count(view, name, placed, asked(program, wanted), draft) {
            return;
        }
        let reason = format!("it ended FATAL on {}", placed.worker);
        relocate(view, program, name, placed, &reason, draft);
        return;
    }
    if !unchanged {
        let placement = Placement {
            wanted,
            revision: program.revision,
            spec: program.spec.clone(),
            ..now.clone()
        };
        draft.actions.push(update(view, name, placed, placement));
    }
}

/// Whether its worker gave it up, under this placement and after the last start asked for.
fn failed(view: &View, name: &InstanceId, placed: &Placed) -> bool {
    acted(view, name, placed).is_some_and(|s| s.state == State::Fatal)
}

/// Counts a failure that is not counted yet. Says whether the instance is not to be moved (now).
fn give_up_or_count(
    view: &View,
    name: &InstanceId,
    placed: &Placed,
    asked: u64,
    draft: &mut Draft,
) -> bool {
    let goal = view.goal(name);
    let epoch = placed.placement.epoch;
    if goal.is_none_or(|g| g.failed_epoch < epoch || g.fails_since < asked) {
        draft.actions.push(Action::CountFailure {
            name: name.clone(),
            worker: placed.worker.clone(),
            epoch,
            asked,
        });
        return true;
    }
    given_up(view, name, asked)
}

/// How often a person asked for something new: starts, restarts, changed declarations. A count of
/// failures belongs to one such number.
pub(crate) fn asked(program: &Program, wanted: Wanted) -> u64 {
    wanted.starts + wanted.restarts + program.revision
}

/// Whether an instance has failed as often as it may.
pub(crate) fn given_up(view: &View, name: &InstanceId, asked: u64) -> bool {
    let limit = view.programs.get(&name.program).map_or(1, |p| p.value.spec.max_fail_count);
    view.goal(name).is_some_and(|g| g.fails_since >= asked && g.fails >= limit)
}

/// Moves an instance to another worker, if one can take it.
fn relocate(
    view: &View,
    program: &Program,
    name: &InstanceId,
    placed: &Placed,
    reason: &str,
    draft: &mut Draft,
) {
    let Ok(to) = place::choose(view, program, name, Some(&placed.worker), &draft.load) else {
        return;
    };
    let Ok(lease) = lease_guard(view, name, placed) else { return };
    draft.loaded(&to);
    draft.actions.push(Action::Move {
        name: name.clone(),
        from: placed.worker.clone(),
        to,
        guard: view.guard(name),
        lease,
        placement: Box::new(place::placement(view, program, name, next_epoch(view, name))),
        reason: reason.to_owned(),
    });
}

/// What a move must stand on, besides the placement: that a lost worker has not touched since; and
/// that a worker which gave up an exclusive instance is still the run that did (a new run would
/// start it again, under a new touch).
///
/// # Errors
/// When another run of the worker holds the lease: its own word is to be awaited.
fn lease_guard(
    view: &View,
    name: &InstanceId,
    placed: &Placed,
) -> Result<Option<LeaseGuard>, Stale> {
    if let Some(lost) = lost_lease(view, placed) {
        return Ok(Some(lost));
    }
    if !placed.placement.spec.exclusive {
        return Ok(None);
    }
    let told_by = view.status(name, placed).map(|status| status.incarnation);
    let held_by = view.lease(placed).and_then(|lease| lease.incarnation);
    if told_by.is_some() && told_by == held_by {
        Ok(Some(guard_of(view, placed)))
    } else {
        Err(Stale)
    }
}

/// What is known of an instance is older than its worker's present run.
struct Stale;

/// The lease that a placement lives by, as it stands.
fn guard_of(view: &View, placed: &Placed) -> LeaseGuard {
    let seconds = placed.placement.spec.touch_seconds();
    LeaseGuard { seconds, seq: view.lease(placed).map_or(0, |lease| lease.seq) }
}

/// The same, if it is lost.
fn lost_lease(view: &View, placed: &Placed) -> Option<LeaseGuard> {
    (view.life(placed) == Life::Lost).then(|| guard_of(view, placed))
}

fn remove(view: &View, name: &InstanceId, placed: &Placed, reason: &str) -> Action {
    Action::Remove {
        lease: lost_lease(view, placed),
        name: name.clone(),
        worker: placed.worker.clone(),
        guard: view.guard(name),
        epoch: placed.placement.epoch,
        reason: reason.to_owned(),
    }
}

fn update(view: &View, name: &InstanceId, placed: &Placed, placement: Placement) -> Action {
    Action::Update {
        name: name.clone(),
        worker: placed.worker.clone(),
        guard: view.guard(name),
        placement: Box::new(placement),
    }
}
