//! Instances that should be elsewhere although their worker lives: what is declared has changed, the
//! worker is drained, or a person asked for balance. They go one after the other.

use dsbus_schema::event::{BALANCE, WORKER_DRAINED};
use dsbus_schema::goal::Wanted;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::State;

use crate::fit;
use crate::order;
use crate::plan::{Draft, Scene};
use crate::refused;
use crate::rolling;
use crate::view::{Instance, Placed, View};

/// Why an instance should leave its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leave {
    /// For people.
    pub(crate) reason: String,
    /// It may come back to the same worker, under a new epoch.
    pub(crate) anew: bool,
    /// Somebody asked for it, and it stays if it finds no other place. Otherwise it must go.
    pub(crate) asked: bool,
}

/// Why an instance that lives should leave its place, if it should.
pub(crate) fn why(
    scene: &Scene<'_>,
    index: u32,
    instance: &Instance,
    placed: &Placed,
    wanted: Wanted,
    spec: &ProgramSpec,
) -> Option<Leave> {
    let view = scene.view;
    let must = |reason: String, anew| Some(Leave { reason, anew, asked: false });
    if !spec.same_identity(&placed.spec) {
        return must("touch_timeout or exclusive was changed".to_owned(), true);
    }
    if let Some(by) = refused::here(scene, index, placed) {
        return must(format!("{} has refused it: {}", placed.worker, by.refusal.reason), true);
    }
    let host = view.hosts.get(&placed.worker)?;
    if let Some(misfit) = fit::misfit(spec, host) {
        // A child that lives is left alone, whatever its worker lost meanwhile: it got what it needs
        // when it was started, and what has ended for good, or failed, is as it would be elsewhere.
        // It goes when a start is what it waits for, or when its declaration asks for more than it
        // has.
        let needs = placed.spec.needs();
        let asks_for_more = spec.machines != placed.spec.machines
            || spec.labels != placed.spec.labels
            || spec.needs().iter().any(|need| !needs.contains(need))
            || !placed.wanted.run;
        let waits = instance
            .status(placed)
            .is_some_and(|status| matches!(status.state, State::Backoff | State::Stopped));
        if waits || asks_for_more {
            return must(format!("{} {misfit}", placed.worker), true);
        }
    }
    let asked = |reason: String| Some(Leave { reason, anew: false, asked: true });
    if host.is_draining() {
        return asked(format!("{} {WORKER_DRAINED}", placed.worker));
    }
    let leave = scene.entry.goals.each.get(&index).map(|goal| goal.leave);
    if wanted.run && leave == Some(placed.epoch) {
        return asked(BALANCE.to_owned());
    }
    None
}

/// Whether an instance may begin to leave now: one after the other leaves a worker, and the next one
/// when the last is healthy where it went.
pub(crate) fn may_begin(
    scene: &Scene<'_>,
    instance: &Instance,
    placed: &Placed,
    draft: &mut Draft,
) -> bool {
    // One that is not up is on its way, or nothing is lost when it goes, too.
    if !rolling::is_up(scene.view, instance, placed) {
        return true;
    }
    let may = !draft.leaving.contains(&placed.worker)
        && !is_leaving(scene, placed)
        && !is_arriving(scene.view, placed);
    if !may {
        draft.turns.insert(placed.worker.clone());
    }
    may
}

/// Whether an instance is being stopped on the same worker, to leave it: it does not run, though it
/// should and waits for nothing.
fn is_leaving(scene: &Scene<'_>, placed: &Placed) -> bool {
    let Scene { view, now, .. } = *scene;
    let Some(host) = view.hosts.get(&placed.worker) else { return false };
    host.placed.iter().any(|other| {
        let stays = view.placed(other).is_none_or(|p| p.wanted.run || p.worker != placed.worker);
        !stays
            && view.program(&other.program).is_some_and(|program| {
                !program.removing
                    && view.is_declared(program, other.index)
                    && view.wanted(program, other.index).run
                    && order::before_start(view, program, now).is_none()
            })
    })
}

/// Whether an instance that came from the same worker is not up yet.
fn is_arriving(view: &View, placed: &Placed) -> bool {
    view.index.moved_from(&placed.worker).any(|other| {
        let Some(instance) = view.instance(other) else { return false };
        let Some(there) = instance.placed() else { return false };
        let settled = instance.acted(there).is_some_and(|status| match status.state {
            State::Running | State::Exited | State::Fatal | State::Stopped => true,
            State::Pending
            | State::Starting
            | State::Backoff
            | State::Stopping
            | State::Unknown => false,
        });
        there.wanted.run && !view.is_cut_off(there) && !settled
    })
}
