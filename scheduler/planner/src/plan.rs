//! The order of the passes.

use std::collections::BTreeMap;

use dsbus_schema::ids::{InstanceId, WorkerName};

use crate::action::Action;
use crate::view::View;
use crate::{evict, place, purge};

/// What every pass adds to.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) actions: Vec<Action>,
    /// Instances per worker, with what this plan adds.
    pub(crate) load: BTreeMap<WorkerName, usize>,
}

impl Draft {
    /// Counts an instance that this plan puts on `worker`.
    pub(crate) fn loaded(&mut self, worker: &WorkerName) {
        *self.load.entry(worker.clone()).or_insert(0) += 1;
    }
}

/// What to do about the world as `view` shows it. Acting on the answer and planning again gives
/// nothing.
pub fn plan(view: &View) -> Vec<Action> {
    let mut draft = Draft { actions: Vec::new(), load: view.load() };
    for name in view.placements.keys() {
        evict::plan(view, name, &mut draft);
    }
    for program in view.programs.values().filter(|p| !p.value.removing) {
        for name in program.value.instances() {
            place::plan(view, &program.value, &name, &mut draft);
        }
    }
    purge::plan(view, &mut draft);
    draft.actions
}

/// The epoch of an instance that is placed anew: greater than every epoch it ever had, because the
/// sequence guarded on is, too (DESIGN.md section 5, rule 10).
pub(crate) fn next_epoch(view: &View, name: &InstanceId) -> dsbus_schema::ids::Epoch {
    let last = view.placed(name).map_or(0, |placed| placed.placement.epoch.0);
    dsbus_schema::ids::Epoch(1 + view.guard(name).max(last))
}
