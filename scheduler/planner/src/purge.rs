//! What is left behind: states of lost workers, and programs of which nothing runs any more.

use crate::action::Action;
use crate::plan::Draft;
use crate::view::{Life, View};
use dsbus_schema::touch::PRESENCE_SECONDS;

/// Plans the tidying up.
pub(crate) fn plan(view: &View, draft: &mut Draft) {
    for (name, told) in &view.statuses {
        for (worker, status) in told {
            let held =
                view.placements.get(name).is_some_and(|p| p.iter().any(|p| p.worker == *worker));
            let lease = view.leases.get(&(worker.clone(), PRESENCE_SECONDS));
            let lost = lease.is_none_or(|lease| lease.life == Life::Lost);
            // A living worker takes its own entry away, once the child is gone; but not one that an
            // earlier run of it told, whose children died with it.
            let earlier = view
                .workers
                .get(worker)
                .is_none_or(|record| record.incarnation != status.value.incarnation);
            if !held && (lost || earlier) {
                draft.actions.push(Action::DropStatus {
                    name: name.clone(),
                    worker: worker.clone(),
                    guard: status.seq,
                });
            }
        }
    }
    for (name, said) in &view.fleet_statuses {
        let declared = view
            .programs
            .get(&name.program)
            .is_some_and(|p| !p.value.removing && name.index < p.value.spec.numprocs);
        if !declared {
            draft.actions.push(Action::ClearFleetStatus { name: name.clone(), guard: said.seq });
        }
    }
    for (name, program) in view.programs.iter().filter(|(_, p)| p.value.removing) {
        let left = view.placements.keys().chain(view.statuses.keys()).any(|i| i.program == *name);
        if !left {
            draft.actions.push(Action::Forget { program: name.clone(), guard: program.seq });
        }
    }
}
