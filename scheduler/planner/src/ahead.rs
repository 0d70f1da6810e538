//! Placements that know of more than the view does.
//!
//! Mostly the view is behind for a moment: buckets are watched apart from each other. But a bus that has
//! lost goals, or went back in time, stays behind, and what was stopped would be started. So nothing is
//! planned for such an instance until `recover` (or a person) has said what is wanted of it.

use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::program::{Program, ProgramSpec};

use crate::plan::Scene;
use crate::view::{Entry, Instance, Placed, View};

/// What people are told of an instance whose placement is ahead: the last of what its row says, unless it
/// is disabled.
pub const AHEAD: &str = "its placement knows of a later command or declaration than the bus; nothing is \
                         planned for it until dsbus recover";

/// Whether an instance of such a declaration runs without anybody's asking, and at once.
pub(crate) fn runs_by_itself(spec: &ProgramSpec) -> bool {
    spec.autostart && spec.schedule.is_none()
}

/// Whether whoever wrote this placement knew of a later command, or of a goal that is not there.
pub(crate) fn is_ahead(entry: &Entry, program: &Program, index: u32, placed: &Placed) -> bool {
    let (wanted, told) = (entry.wanted(program, index), placed.wanted);
    // Each by itself: a restart makes up for no start that is lost.
    let later = placed.revision > program.revision
        || wanted.starts < told.starts
        || wanted.restarts < told.restarts
        || wanted.reloads < told.reloads;
    // Nobody has commanded anything, its declaration would have it run, and yet somebody has stopped it.
    // What a declaration stops has that declaration: see `Rolling::next`.
    let stopped = wanted.run && !told.run && runs_by_itself(&placed.spec) && !placed.leaves;
    later || (stopped && !entry.goals.is_commanded(index))
}

/// Whether that holds for some instance of a program, or some is adrift: what a schedule has fired is not
/// known then.
pub(crate) fn some_is(scene: &Scene<'_>) -> bool {
    let Scene { view, entry, program, .. } = *scene;
    entry.instances.iter().any(|(index, instance)| match instance.placed() {
        Some(placed) => placed.id == program.id && is_ahead(entry, program, *index, placed),
        None => view.adrift(instance, program.spec.exclusive).is_some(),
    })
}

/// Whether nothing is planned for an instance because its placement is ahead: not even that it is placed
/// elsewhere when its worker is lost.
pub(crate) fn is_held_back(view: &View, name: &InstanceId) -> bool {
    let Some(entry) = view.programs.get(&name.program) else { return false };
    let program = entry.program.as_ref().map(|seen| &seen.value).filter(|it| !it.removing);
    program.zip(view.placed(name)).is_some_and(|(program, placed)| {
        let stays = entry.is_declared(program, name.index) || program.rollout.is_some();
        stays && placed.id == program.id && is_ahead(entry, program, name.index, placed)
    })
}

/// The placement of a program that has its latest declaration, of all that are known.
pub fn latest<'a>(view: &'a View, program: &Program) -> Option<&'a Placed> {
    let instances = view.programs.get(&program.name)?.instances.values();
    let placed = instances.filter_map(Instance::placed).filter(|placed| placed.id == program.id);
    placed.max_by_key(|placed| placed.revision)
}

/// Whether nothing is planned for some instance of a program, because its placement is ahead.
pub fn holds_back(view: &View, name: &ProgramName) -> bool {
    let mut indexes = view.programs.get(name).into_iter().flat_map(|entry| entry.instances.keys());
    indexes.any(|index| is_held_back(view, &InstanceId::new(name.clone(), *index)))
}
