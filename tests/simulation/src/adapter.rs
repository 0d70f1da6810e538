//! All that the simulation knows of the planner's view and actions.

use dsbus_client::{Expect, Write};
use dsbus_planner::view::Placed;
use dsbus_planner::{Action, Now, plan, plan_all};
use dsbus_scheduler::core::{Core, LeaseKey};
use dsbus_scheduler::writes::{Group, Writer, Writes, group_writes};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, InstanceId, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::Program;
use dsbus_schema::status::Status;
use dsbus_schema::storage::instance_key;

use crate::planted::Planted;

/// What has changed is planned for; what is not done of it is to be told by [`again`].
pub(crate) fn planned(core: &mut Core, planted: Option<Planted>, now: Now) -> Group {
    let actions = plan(&mut core.view, now);
    with_ids(core, actions, planted)
}

/// Everything is planned for, whether it changed or not.
pub(crate) fn all_planned(core: &Core, now: Now) -> Group {
    let mut view = core.view.clone();
    with_ids(core, plan_all(&mut view, now), None)
}

/// Whether something is to be planned for.
pub(crate) fn has_news(core: &Core, now: Now) -> bool {
    core.view.has_news() || core.view.next_wake().is_some_and(|at| at <= now.boot)
}

/// What was planned and not done is planned for again.
pub(crate) fn again(core: &mut Core, action: &Action) {
    action.program().cloned().iter().for_each(|name| core.view.note(name));
    action.worker().iter().for_each(|worker| core.view.note_worker(worker));
}

fn with_ids(core: &Core, actions: Vec<Action>, planted: Option<Planted>) -> Group {
    let id = |action: &Action| {
        action.program().and_then(|name| core.view.program(name)).map(|program| program.id)
    };
    let with_id = |action: Action| {
        let id = id(&action);
        (wrong(action, core, planted), id)
    };
    actions.into_iter().map(with_id).collect()
}

/// The action as a scheduler without a rule would plan it.
fn wrong(action: Action, core: &Core, planted: Option<Planted>) -> Action {
    match (planted, action) {
        (
            Some(Planted::NoLeaseGuard),
            Action::Move { name, from, to, guard, placement, reason, .. },
        ) => Action::Move { name, from, to, guard, lease: None, placement, reason },
        (
            Some(Planted::LowEpoch),
            Action::Move { name, from, to, guard, lease, mut placement, reason },
        ) => {
            placement.epoch =
                Epoch(core.view.placed(&name).map_or(0, |p| p.placement().epoch.0) + 1);
            Action::Move { name, from, to, guard, lease, placement, reason }
        }
        (Some(Planted::LowEpoch), Action::Place { name, worker, guard, mut placement }) => {
            placement.epoch = Epoch(1);
            Action::Place { name, worker, guard, placement }
        }
        (Some(Planted::NoStopFirst), Action::Update { name, worker, guard, placement }) => {
            let wanted = core.view.program(&name.program);
            let wanted = wanted.map(|program| core.view.wanted(program, name.index));
            let retires = placement.spec.exclusive
                && !placement.wanted.run
                && wanted.is_some_and(|wanted| wanted.run);
            if !retires {
                return Action::Update { name, worker, guard, placement };
            }
            let (epoch, reason) = (placement.epoch, "at once".to_owned());
            Action::Remove { name, worker, guard, lease: None, epoch, reason }
        }
        (_, action) => action,
    }
}

/// What a group of actions writes, as a scheduler without a rule would.
pub(crate) fn written(
    group: &Group,
    writer: &Writer<'_>,
    planted: Option<Planted>,
) -> Option<Writes> {
    let mut all = group_writes(group, writer).ok().flatten()?;
    if planted == Some(Planted::LiteralGuard)
        && let Some((Action::Update { name, worker, .. }, _)) = group.first()
        && let Some(Write { key, expect, .. }) = all.writes.first_mut()
        && let Some(Expect::Guard { seq, .. }) = expect
    {
        let seq = *seq;
        *key = instance_key(worker, name);
        *expect = Some(Expect::Own(seq));
    }
    Some(all)
}

/// Whether anybody lives by a lease.
pub(crate) fn holds(core: &Core, key: &LeaseKey) -> bool {
    core.view.held().contains(key)
}

/// An instance as it should be.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) name: InstanceId,
    pub(crate) wanted: Wanted,
    pub(crate) revision: u64,
}

/// Every instance that is declared.
pub(crate) fn wishes(core: &Core) -> Vec<Wish> {
    let programs = core.view.programs().filter(|program| !program.removing);
    let of = |program: &Program| {
        let wish = |name: InstanceId| {
            let wanted = core.view.wanted(program, name.index);
            Wish { wanted, revision: program.revision, name }
        };
        program.instances().map(wish).collect::<Vec<_>>()
    };
    programs.flat_map(of).collect()
}

fn all_placed<'a>(core: &'a Core, name: &InstanceId) -> impl Iterator<Item = &'a Placed> {
    core.view.placements().filter(move |(of, _)| of == name).map(|(_, placed)| placed)
}

/// Placements of an instance: where, and what.
pub(crate) fn placements(core: &Core, name: &InstanceId) -> Vec<(WorkerName, Placement)> {
    all_placed(core, name).map(|p| (p.worker.clone(), p.placement())).collect()
}

/// How many placements an instance has.
pub(crate) fn places(core: &Core, name: &InstanceId) -> usize {
    all_placed(core, name).count()
}

/// Whether an instance is placed on a worker, and under which epoch.
pub(crate) fn placed_on(core: &Core, name: &InstanceId, worker: &WorkerName) -> Option<Epoch> {
    let here = all_placed(core, name).filter(|p| p.worker == *worker);
    here.map(|p| p.placement().epoch).max()
}

/// The state that a worker told of an instance, under the placement that it has there.
pub(crate) fn status(core: &Core, name: &InstanceId, worker: &WorkerName) -> Option<Status> {
    let placed = all_placed(core, name).find(|p| p.worker == *worker)?;
    core.view.status(name, placed).cloned()
}

/// The length of the lease by which an instance lives on a worker.
pub(crate) fn lease_seconds(core: &Core, name: &InstanceId, worker: &WorkerName) -> Option<u64> {
    let here = all_placed(core, name).filter(|p| p.worker == *worker);
    here.map(|p| p.placement().spec.touch_seconds()).max()
}

/// The placement of an instance as a scheduler knows it, and the last sequence over its keys.
pub(crate) fn placement_of(core: &Core, name: &InstanceId) -> Option<(WorkerName, Placement, u64)> {
    let placed = core.view.placed(name)?;
    Some((placed.worker.clone(), placed.placement(), core.view.guard(name)))
}

/// What is placed on a worker.
pub(crate) fn placed_here(core: &Core, worker: &WorkerName) -> Vec<InstanceId> {
    let here = core.view.placements().filter(|(_, placed)| placed.worker == *worker);
    here.map(|(name, _)| name).collect()
}
