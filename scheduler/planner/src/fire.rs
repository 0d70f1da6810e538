//! Runs of programs that have a schedule.

use std::time::Duration;

use crate::action::Action;
use crate::ahead;
use crate::jobs;
use crate::order;
use crate::plan::{Draft, Scene};

/// Schedules are looked at at least so often, since the wall clock may be set meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Fires the run that is due, if one is.
pub(crate) fn plan(scene: &Scene<'_>, draft: &mut Draft) {
    let (program, now) = (scene.program, scene.now);
    if program.spec.schedule.is_none() {
        return;
    }
    if ahead::some_is(scene) {
        return;
    }
    let mut instances = scene.entry.instances.values();
    let lives = instances.any(|instance| order::may_live(scene.view, instance));
    if let Some(due) = jobs::due(program, scene.entry.goals.all.as_ref(), lives, now.wall) {
        draft.actions.push(Action::Fire { program: program.name.clone(), due });
    }
    if let Some(next) = jobs::next(program, now.wall) {
        let nanos = next.unix_nanos().saturating_sub(now.wall.unix_nanos()).max(0);
        let pause = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(LOOK_EVERY);
        draft.wake_at(Some(now.boot + pause));
    }
}
