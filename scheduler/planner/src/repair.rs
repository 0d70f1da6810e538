//! What was forged under an instance's placement keys is written over: by what is known to have
//! stood there, or by what should. Until that is done nothing else is planned for the instance.
//!
//! An exclusive instance never runs twice for it. The write stands on the last sequence of all its
//! placement keys, which is that of what was forged: so all that is true was heard of before. A
//! scheduler that does not know what stood there (it began after that) takes the instance to be
//! where it was forged, and places it anew on that very worker: whose supervisor ends what runs first.

use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::placement::Placement;

use crate::action::Action;
use crate::place;
use crate::plan::{Draft, Scene, next_epoch};
use crate::rolling::Rolling;
use crate::view::{Forged, Instance, Placed, View};

/// Writes over the first thing that was forged, if something was: the guard lets one write through.
/// `scene` is that of its program, unless that is gone.
pub(crate) fn plan(
    view: &View,
    scene: Option<(&Scene<'_>, &Rolling<'_>)>,
    name: &InstanceId,
    instance: &Instance,
    draft: &mut Draft,
) {
    let Some((first, _)) = instance.forged.first() else { return };
    let known = |at: &WorkerName| instance.placements.iter().find(|placed| placed.worker == *at);
    // Where it must have been comes first, so that it is known from then on.
    let stood = scene
        .filter(|_| instance.placements.is_empty())
        .and_then(|(scene, rolling)| stood(view, scene, rolling, (name, instance)));
    let (worker, placement) = match stood {
        Some((worker, placement)) => (worker, Some(placement)),
        None => (first.clone(), known(first).map(Placed::placement)),
    };
    let Some((_, forged)) = instance.forged.iter().find(|(at, _)| *at == worker) else { return };
    draft.actions.push(Action::Repair {
        name: name.clone(),
        guard: instance.guard,
        epoch: placement.as_ref().map_or(forged.floor(instance), |placement| placement.epoch),
        placement: placement.map(Box::new),
        why: forged.why.clone(),
        worker,
    });
}

/// Where an instance of which no placement is known must have been, and what should stand there.
fn stood(
    view: &View,
    scene: &Scene<'_>,
    rolling: &Rolling<'_>,
    (name, instance): (&InstanceId, &Instance),
) -> Option<(WorkerName, Placement)> {
    let program = scene.program;
    if !program.spec.system && !rolling.has(name.index) {
        return None;
    }
    let lives = |worker: &WorkerName| {
        let told = instance.statuses.iter().find(|(by, _)| by == worker);
        told.filter(|(_, status)| status.value.id == program.id)
            .map(|(_, status)| 1 + u8::from(status.value.state.may_have_child()))
    };
    let rank = |(worker, forged): &(WorkerName, Forged)| {
        let said = forged.said.as_ref().is_some_and(|said| said.id == program.id);
        let told = lives(worker).unwrap_or(0) * 2 + u8::from(said);
        // Where nothing says that it was there, only an exclusive one is taken to be.
        (told > 0 || program.spec.exclusive).then_some(told)
    };
    let known = instance.forged.iter().filter(|(worker, _)| view.worker(worker).is_some());
    let (_, (worker, forged)) =
        known.filter_map(|at| Some((rank(at)?, at))).max_by_key(|(rank, _)| *rank)?;
    let (revision, spec) = rolling.fresh(name.index);
    let epoch = next_epoch(scene.entry, name.index);
    let mut placement = place::placement(scene, name.index, epoch, revision, &spec);
    match &forged.said {
        // It says what we would say: as it stands in a fleet that has just begun to sign. Its child
        // need not begin anew.
        Some(said)
            if (said.id, said.revision) == (program.id, revision)
                && (&said.spec, &said.arguments) == (&*spec, &placement.arguments)
                && said.epoch.0 <= forged.seq =>
        {
            placement.epoch = said.epoch;
            placement.from.clone_from(&said.from);
            placement.reason.clone_from(&said.reason);
            placement.rest = said.rest.clone().filter(|_| said.wanted == placement.wanted);
        }
        Some(_) | None => placement.reason = Some("its placement was forged".to_owned()),
    }
    Some((worker.clone(), placement))
}
