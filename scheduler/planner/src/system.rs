//! Programs that run on each worker that may take them.

use std::collections::BTreeMap;

use dsbus_schema::ids::{InstanceId, WorkerName};

use crate::action::Action;
use crate::fit::Ask;
use crate::order;
use crate::place;
use crate::plan::{Draft, Scene, next_epoch};
use crate::rolling::Rolling;

/// Places a copy where there is none. A copy has the lowest index that is free.
pub(crate) fn plan(scene: &Scene<'_>, rolling: &Rolling<'_>, draft: &mut Draft) {
    let (view, entry, program) = (scene.view, scene.entry, scene.program);
    if let Some(wait) = order::before_start(view, program, scene.now) {
        return draft.wake_at(wait.until);
    }
    if entry.instances.values().any(|instance| !instance.forged.is_empty()) {
        return;
    }
    // A copy that nobody has commanded does what the program does.
    if !view.wanted(program, u32::MAX).run {
        return;
    }
    // Copies of which the bus has lost the placements are where they are.
    let adrift: BTreeMap<u32, &WorkerName> = entry
        .instances
        .iter()
        .filter(|(_, instance)| instance.placements.is_empty())
        .filter_map(|(index, instance)| Some((*index, view.adrift(instance, false)?.0)))
        .collect();
    let taken = |index: u32| {
        adrift.contains_key(&index)
            || entry.instance(index).is_some_and(|i| !i.placements.is_empty())
    };
    let wanted = |index: u32| view.wanted(program, index).run;
    let mut free = (0..u32::MAX).filter(|index| !taken(*index) && wanted(*index)).peekable();
    let any = InstanceId::new(program.name.clone(), 0);
    // The first copies may be canaries.
    let specs = [rolling.fresh(0), rolling.fresh(u32::MAX - 1)];
    let past = place::past_of_all(scene);
    let asks = specs.each_ref().map(|(_, spec)| Ask::new(view, &any, spec, past.clone()));
    for (worker, host) in &view.hosts {
        let Some(index) = free.peek().copied() else { return };
        let (revision, spec) = rolling.fresh(index);
        let ask = if revision == specs[0].0 { &asks[0] } else { &asks[1] };
        let has = adrift.values().any(|at| *at == worker);
        if has || ask.refusal(host, &draft.deltas).is_some() {
            continue;
        }
        free.next();
        draft.deltas.add(host, &program.name, &spec);
        let epoch = next_epoch(entry, index);
        let mut placement = place::placement(scene, index, epoch, revision, &spec);
        placement.reason = Some("it runs on each worker that may take it".to_owned());
        draft.actions.push(Action::Place {
            name: InstanceId::new(program.name.clone(), index),
            worker: worker.clone(),
            guard: entry.instance(index).map_or(0, |instance| instance.guard),
            placement: Box::new(placement),
        });
    }
}
