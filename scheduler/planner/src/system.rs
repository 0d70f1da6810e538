//! Programs that run on each worker that may take them.

use dsbus_schema::ids::InstanceId;

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
    let taken = |index: u32| entry.instance(index).is_some_and(|i| !i.placements.is_empty());
    let mut free = (0..).filter(|index| !taken(*index));
    let any = InstanceId::new(program.name.clone(), 0);
    let (revision, spec) = rolling.fresh(0);
    let ask = Ask::new(view, &any, &spec, &[]);
    for (worker, host) in &view.hosts {
        if ask.refusal(host, &draft.deltas).is_some() {
            continue;
        }
        let Some(index) = free.next() else { return };
        if !view.wanted(program, index).run {
            continue;
        }
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
