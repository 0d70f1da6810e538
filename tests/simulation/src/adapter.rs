//! All that the simulation knows of the planner's view and actions.

use dsbus_client::{Expect, Write};
use dsbus_planner::view::{Life, Placed};
use dsbus_planner::{Action, plan};
use dsbus_scheduler::core::{Core, LeaseKey};
use dsbus_scheduler::writes::{Group, Writer, Writes, group_writes};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, InstanceId, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::status::Status;
use dsbus_schema::storage::{Bucket, instance_key};
use dsbus_schema::touch::PRESENCE_SECONDS;

use crate::planted::Planted;

/// What is to be done, with the identity of the program that it is about.
pub(crate) fn planned(core: &Core, planted: Option<Planted>) -> Group {
    let actions = plan(&core.view);
    let id = |action: &Action| {
        let name = action.instance()?;
        core.view.programs.get(&name.program).map(|program| program.value.id)
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
            placement.epoch = Epoch(core.view.placed(&name).map_or(0, |p| p.placement.epoch.0) + 1);
            Action::Move { name, from, to, guard, lease, placement, reason }
        }
        (Some(Planted::LowEpoch), Action::Place { name, worker, guard, mut placement }) => {
            placement.epoch = Epoch(1);
            Action::Place { name, worker, guard, placement }
        }
        (Some(Planted::NoStopFirst), Action::Update { name, worker, guard, placement }) => {
            let wanted = core.view.programs.get(&name.program);
            let wanted = wanted.map(|p| core.view.wanted(&p.value, name.index));
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
    let mut writes = group_writes(group, writer).ok().flatten()?;
    if planted == Some(Planted::LiteralGuard)
        && let Some((Action::Update { name, worker, .. }, _)) = group.first()
        && let Some(Write { key, expect, .. }) = writes.writes.first_mut()
        && let Some(Expect::Guard { seq, .. }) = expect
    {
        let seq = *seq;
        *key = instance_key(worker, name);
        *expect = Some(Expect::Own(seq));
    }
    Some(writes)
}

/// Whether a touch of this lease would be news to the planner.
pub(crate) fn lives(core: &Core, worker: &WorkerName, seconds: u64) -> bool {
    let key = (worker.clone(), seconds);
    core.view.leases.get(&key).is_some_and(|lease| lease.life == Life::Live)
}

/// Whether anybody lives by a lease.
pub(crate) fn holds(core: &Core, key: &LeaseKey) -> bool {
    let (worker, seconds) = key;
    let here = |p: &Placed| p.worker == *worker && p.placement.spec.touch_seconds() == *seconds;
    *seconds == PRESENCE_SECONDS || core.view.placements.values().flatten().any(here)
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
    let programs = core.view.programs.values().map(|p| &p.value).filter(|p| !p.removing);
    let of = |p: &dsbus_schema::program::Program| {
        let wish = |name: InstanceId| {
            let wanted = core.view.wanted(p, name.index);
            Wish { wanted, revision: p.revision, name }
        };
        p.instances().map(wish).collect::<Vec<_>>()
    };
    programs.flat_map(of).collect()
}

/// Placements of an instance: where, and what.
pub(crate) fn placements(core: &Core, name: &InstanceId) -> Vec<(WorkerName, Placement)> {
    let placed = core.view.placements.get(name).into_iter().flatten();
    placed.map(|p| (p.worker.clone(), p.placement.clone())).collect()
}

/// How many placements an instance has.
pub(crate) fn places(core: &Core, name: &InstanceId) -> usize {
    core.view.placements.get(name).map_or(0, Vec::len)
}

/// Whether an instance is placed on a worker, and under which epoch.
pub(crate) fn placed_on(core: &Core, name: &InstanceId, worker: &WorkerName) -> Option<Epoch> {
    let placed = core.view.placements.get(name).into_iter().flatten();
    placed.filter(|p| p.worker == *worker).map(|p| p.placement.epoch).max()
}

/// The state that a worker told of an instance.
pub(crate) fn status<'a>(
    core: &'a Core,
    name: &InstanceId,
    worker: &WorkerName,
) -> Option<&'a Status> {
    core.view.statuses.get(name)?.get(worker).map(|seen| &seen.value)
}

/// The length of the lease by which an instance lives on a worker.
pub(crate) fn lease_seconds(core: &Core, name: &InstanceId, worker: &WorkerName) -> Option<u64> {
    let placed = core.view.placements.get(name).into_iter().flatten();
    placed.filter(|p| p.worker == *worker).map(|p| p.placement.spec.touch_seconds()).max()
}

/// The last sequence over an instance's placement keys, as a scheduler knows it.
pub(crate) fn placement_of(core: &Core, name: &InstanceId) -> Option<(WorkerName, Placement, u64)> {
    let placed = core.view.placed(name)?;
    Some((placed.worker.clone(), placed.placement.clone(), core.view.guard(name)))
}

/// Which bucket's entries can change a plan when nothing else did.
pub(crate) fn is_news(bucket: Bucket) -> bool {
    bucket != Bucket::Fleet
}
