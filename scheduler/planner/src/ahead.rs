//! Placements that know of more than the view does.
//!
//! Mostly the view is behind for a moment: buckets are watched apart from each other. But a bus that has
//! lost goals, or went back in time, stays behind, and what was stopped would be started. So nothing is
//! planned for such an instance until `recover` (or a person) has said what is wanted of it.

use crate::plan::Scene;
use crate::view::Placed;

/// Whether whoever wrote this placement knew of a later command, or of a goal that is not there.
pub(crate) fn is_ahead(scene: &Scene<'_>, index: u32, placed: &Placed) -> bool {
    let program = scene.program;
    let (wanted, told) = (scene.entry.wanted(program, index), placed.wanted);
    // Each by itself: a restart makes up for no start that is lost.
    let later = placed.revision > program.revision
        || wanted.starts < told.starts
        || wanted.restarts < told.restarts
        || wanted.reloads < told.reloads;
    // Nobody has commanded anything, its declaration would have it run, and yet somebody has stopped it.
    // What a declaration stops has that declaration: see `Rolling::next`.
    let runs_by_itself = placed.spec.autostart && placed.spec.schedule.is_none();
    let stopped = wanted.run && !told.run && runs_by_itself && !placed.leaves;
    later || (stopped && !scene.entry.goals.is_commanded(index))
}

/// Whether that holds for some instance of a program, or some is adrift: what a schedule has fired is not
/// known then.
pub(crate) fn some_is(scene: &Scene<'_>) -> bool {
    scene.entry.instances.iter().any(|(index, instance)| match instance.placed() {
        Some(placed) => placed.id == scene.program.id && is_ahead(scene, *index, placed),
        None => scene.view.adrift(instance, scene.program.spec.exclusive).is_some(),
    })
}
