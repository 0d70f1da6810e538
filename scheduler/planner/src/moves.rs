//! The writes that change where an instance runs, and what each must stand on.

use std::sync::Arc;

use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::placement::{Placement, Rest};
use dsbus_schema::program::ProgramSpec;

use crate::action::{Action, LeaseGuard};
use crate::fit::Ask;
use crate::place;
use crate::plan::{Draft, Scene, next_epoch};
use crate::view::{Instance, Placed, View};

/// An instance and the placement that it has.
#[derive(Clone, Copy)]
pub(crate) struct Held<'a> {
    pub(crate) name: &'a InstanceId,
    pub(crate) instance: &'a Instance,
    pub(crate) placed: &'a Placed,
}

/// Moves an instance to another worker, to run that revision there. Says whether one can take it.
pub(crate) fn relocate(
    scene: &Scene<'_>,
    held: Held<'_>,
    next: &(u64, Arc<ProgramSpec>),
    reason: &str,
    draft: &mut Draft,
) -> bool {
    let (revision, spec) = (next.0, &next.1);
    let Scene { view, entry, .. } = *scene;
    let Held { name, instance, placed } = held;
    let past = place::past(scene, name.index);
    let ask = Ask::new(view, name, spec, past);
    let Ok((to, _)) = ask.choose(Some(&placed.worker), &draft.deltas) else {
        draft.waits = true;
        return false;
    };
    let Ok(lease) = lease_guard(view, instance, placed) else { return true };
    if let Some(host) = view.hosts.get(to) {
        draft.deltas.add(host, &name.program, spec);
    }
    let epoch = next_epoch(entry, name.index);
    let mut placement = place::placement(scene, name.index, epoch, revision, spec);
    placement.from = Some(placed.worker.clone());
    placement.reason = Some(reason.to_owned());
    placement.rest = rest(held, placement.wanted, next);
    draft.actions.push(Action::Move {
        name: name.clone(),
        from: placed.worker.clone(),
        to: to.clone(),
        guard: instance.guard,
        lease,
        placement: Box::new(placement),
        reason: reason.to_owned(),
    });
    true
}

/// What a move must stand on, besides the placement: that a lost worker has not touched since; and
/// that a worker which gave up an exclusive instance is still the run that did (a new run would
/// start it again, under a new touch).
///
/// # Errors
/// When another run of the worker holds the lease: its own word is to be awaited.
fn lease_guard(
    view: &View,
    instance: &Instance,
    placed: &Placed,
) -> Result<Option<LeaseGuard>, Stale> {
    if let Some(lost) = lost_lease(view, placed) {
        return Ok(Some(lost));
    }
    if !placed.spec.exclusive {
        return Ok(None);
    }
    let told_by = instance.status(placed).map(|status| status.incarnation);
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
    let seconds = placed.spec.touch_seconds();
    LeaseGuard { seconds, seq: view.lease(placed).map_or(0, |lease| lease.seq) }
}

/// The same, if it is lost.
fn lost_lease(view: &View, placed: &Placed) -> Option<LeaseGuard> {
    (view.is_cut_off(placed)).then(|| guard_of(view, placed))
}

/// What stays of an instance's rest when it is to be that.
pub(crate) fn rest(
    held: Held<'_>,
    wanted: Wanted,
    (revision, spec): &(u64, Arc<ProgramSpec>),
) -> Option<Rest> {
    held.placed.rest.as_ref()?;
    Rest::kept(&held.placed.placement(), wanted, *revision, spec)
}

/// The arguments that belong to what an instance is told to do: those of a start that waits for its
/// turn wait as well.
pub(crate) fn arguments<'a>(scene: &Scene<'a>, held: Held<'a>, told: Wanted) -> &'a [String] {
    let asked = |wanted: Wanted| (wanted.starts, wanted.restarts);
    if asked(scene.entry.wanted(scene.program, held.name.index)) == asked(told) {
        scene.entry.goals.arguments(held.name.index)
    } else {
        &held.placed.arguments
    }
}

/// Takes a placement away.
pub(crate) fn remove(view: &View, held: Held<'_>, reason: &str) -> Action {
    Action::Remove {
        lease: lost_lease(view, held.placed),
        name: held.name.clone(),
        worker: held.placed.worker.clone(),
        guard: held.instance.guard,
        epoch: held.placed.epoch,
        reason: reason.to_owned(),
    }
}

/// The same placement, not to be run, since it is to leave.
pub(crate) fn stop(held: Held<'_>) -> Action {
    let mut placement = held.placed.placement();
    placement.wanted.run = false;
    placement.leaves = true;
    placement.rest = None;
    update(held, placement)
}

/// Changes a placement where it is.
pub(crate) fn update(held: Held<'_>, placement: Placement) -> Action {
    Action::Update {
        name: held.name.clone(),
        worker: held.placed.worker.clone(),
        guard: held.instance.guard,
        placement: Box::new(placement),
    }
}
