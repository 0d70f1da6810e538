//! The writes that change where an instance runs, and what each must stand on.

use dsbus_schema::ids::InstanceId;
use dsbus_schema::placement::Placement;

use crate::action::{Action, LeaseGuard};
use crate::fit::Ask;
use crate::place;
use crate::plan::{Draft, Scene, next_epoch};
use crate::rolling::Rolling;
use crate::view::{Instance, Life, Placed, View};

/// Moves an instance to another worker, if one can take it.
pub(crate) fn relocate(
    scene: &Scene<'_>,
    name: &InstanceId,
    instance: &Instance,
    placed: &Placed,
    reason: &str,
    draft: &mut Draft,
) {
    let Scene { view, entry, .. } = *scene;
    let rolling = Rolling::new(scene);
    let (revision, spec) = rolling.fresh(name.index);
    let failed_on = place::failed_on(scene, name.index);
    let ask = Ask::new(view, name, &spec, failed_on);
    let Ok((to, _)) = ask.choose(Some(&placed.worker), &draft.deltas) else {
        draft.waits = true;
        return;
    };
    let Ok(lease) = lease_guard(view, instance, placed) else { return };
    if let Some(host) = view.hosts.get(to) {
        draft.deltas.add(host, &name.program, &spec);
    }
    let epoch = next_epoch(entry, name.index);
    let mut placement = place::placement(scene, name.index, epoch, revision, &spec);
    placement.from = Some(placed.worker.clone());
    placement.reason = Some(reason.to_owned());
    placement.rest = placed.rest.clone().filter(|_| revision == placed.revision);
    draft.actions.push(Action::Move {
        name: name.clone(),
        from: placed.worker.clone(),
        to: to.clone(),
        guard: instance.guard,
        lease,
        placement: Box::new(placement),
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
    (view.life(placed) == Life::Lost).then(|| guard_of(view, placed))
}

/// Takes a placement away.
pub(crate) fn remove(
    view: &View,
    name: &InstanceId,
    instance: &Instance,
    placed: &Placed,
    reason: &str,
) -> Action {
    Action::Remove {
        lease: lost_lease(view, placed),
        name: name.clone(),
        worker: placed.worker.clone(),
        guard: instance.guard,
        epoch: placed.epoch,
        reason: reason.to_owned(),
    }
}

/// The same placement, not to be run.
pub(crate) fn stop(name: &InstanceId, instance: &Instance, placed: &Placed) -> Action {
    let mut placement = placed.placement();
    placement.wanted.run = false;
    placement.rest = None;
    update(name, instance, placed, placement)
}

/// Changes a placement where it is.
pub(crate) fn update(
    name: &InstanceId,
    instance: &Instance,
    placed: &Placed,
    placement: Placement,
) -> Action {
    Action::Update {
        name: name.clone(),
        worker: placed.worker.clone(),
        guard: instance.guard,
        placement: Box::new(placement),
    }
}
