//! The order of the passes.

use std::collections::BTreeSet;

use dsbus_schema::ids::{Epoch, InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::Program;

use crate::action::Action;
use crate::condition::{self, Condition};
use crate::fit::Deltas;
use crate::order;
use crate::rolling::Rolling;
use crate::view::{Entry, Now, View};
use crate::{fire, place, placed, purge, repair, rolling, system};

/// What every pass adds to.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) actions: Vec<Action>,
    /// What this plan puts on workers.
    pub(crate) deltas: Deltas,
    /// Workers from which this plan begins to take an instance away because it is to leave.
    pub(crate) leaving: BTreeSet<WorkerName>,
    /// When the program in hand is to be planned for again, though nothing happens.
    pub(crate) wake: Option<BootTime>,
    /// An instance of the program in hand finds no worker.
    pub(crate) waits: bool,
    /// Workers that instances of the program in hand wait to leave.
    pub(crate) turns: BTreeSet<WorkerName>,
    /// How the program in hand is, for its group.
    pub(crate) condition: Condition,
}

impl Draft {
    /// The program in hand is planned for again at that time, or earlier.
    pub(crate) fn wake_at(&mut self, at: Option<BootTime>) {
        self.wake = match (self.wake, at) {
            (Some(known), Some(at)) => Some(known.min(at)),
            (known, at) => known.or(at),
        };
    }
}

/// One program while it is planned for.
pub(crate) struct Scene<'a> {
    pub(crate) view: &'a View,
    pub(crate) entry: &'a Entry,
    pub(crate) program: &'a Program,
    pub(crate) now: Now,
}

/// What to do about what changed since the last plan, and about what time has made due. Acting on
/// the answer and planning again gives nothing.
pub fn plan(view: &mut View, now: Now) -> Vec<Action> {
    view.index.wake(now.boot);
    let mut draft = Draft::default();
    purge::workers(view, &mut draft);
    let mut news = view.index.take_news();
    sum_up(view, &news);
    // Whoever is tied to a program that was summed up anew is planned for, too.
    news.extend(view.index.take_news());
    news.extend(next_to_leave(view, &news));
    let mut order: Vec<_> = news.iter().map(|name| (priority(view, name), name)).collect();
    order.sort();
    for (_, name) in order {
        one(view, name, now, &mut draft);
        view.index.set_wake(name, draft.wake.take());
        view.index.set_waiting(name, std::mem::take(&mut draft.waits));
        view.index.set_turns(name, std::mem::take(&mut draft.turns));
        let condition = std::mem::take(&mut draft.condition);
        if let Some(entry) = view.programs.get_mut(name) {
            entry.condition = condition;
        }
    }
    condition::groups(view, &news, &mut draft);
    draft.actions
}

/// The same for everything there is.
pub fn plan_all(view: &mut View, now: Now) -> Vec<Action> {
    view.note_all();
    plan(view, now)
}

fn priority(view: &View, name: &ProgramName) -> i32 {
    view.program(name).map_or(i32::MAX, |program| program.spec.priority)
}

/// Whoever waits to leave a worker that one of these programs leaves, or left: it may be next.
fn next_to_leave(view: &View, news: &BTreeSet<ProgramName>) -> Vec<ProgramName> {
    let concerned = |worker: &WorkerName| {
        let mut copies = view.hosts.get(worker).into_iter().flat_map(|host| host.copies.keys());
        copies.any(|name| news.contains(name))
            || view.index.moved_from(worker).any(|name| news.contains(&name.program))
    };
    let turns = view.index.turns().iter().filter(|(worker, _)| concerned(worker));
    turns.flat_map(|(_, waiting)| waiting.iter().cloned()).collect()
}

/// Sums programs up anew, and notes whoever is tied to one that changed.
fn sum_up(view: &mut View, news: &BTreeSet<ProgramName>) {
    for name in news {
        let Some(entry) = view.programs.get(name) else { continue };
        let sum = order::summary(view, entry);
        if sum != entry.summary {
            if let Some(entry) = view.programs.get_mut(name) {
                entry.summary = sum;
            }
            view.index.note_tied(name);
        }
    }
}

fn one(view: &View, name: &ProgramName, now: Now, draft: &mut Draft) {
    let Some(entry) = view.programs.get(name) else { return };
    if !view.is_known(name) {
        return forgeries(view, name, entry, draft);
    }
    purge::statuses(view, name, entry, draft);
    let program = entry.program.as_ref();
    let Some(seen) = program.filter(|seen| !seen.value.removing) else {
        for (index, instance) in &entry.instances {
            let name = InstanceId::new(name.clone(), *index);
            repair::plan(view, None, &name, instance, draft);
            placed::without_program(view, &name, instance, draft);
        }
        purge::program(name, entry, draft);
        return;
    };
    let scene = Scene { view, entry, program: &seen.value, now };
    let mut rolling = Rolling::new(&scene);
    fire::plan(&scene, draft);
    for (index, instance) in &entry.instances {
        let name = InstanceId::new(name.clone(), *index);
        repair::plan(view, Some((&scene, &rolling)), &name, instance, draft);
    }
    let placed: Vec<u32> = entry
        .instances
        .iter()
        .filter(|(_, instance)| !instance.placements.is_empty())
        .map(|(index, _)| *index)
        .collect();
    for index in placed {
        placed::plan(&scene, index, &mut rolling, draft);
    }
    if seen.value.spec.system {
        system::plan(&scene, &rolling, draft);
    } else {
        for index in 0..rolling.indexes() {
            place::plan(&scene, index, &rolling, draft);
        }
    }
    rolling::plan(&scene, seen.seq, &rolling, draft);
    if seen.value.spec.group.is_some() {
        draft.condition = condition::of(&scene, &draft.actions);
    }
    draft.wake_at(rolling.wake());
}

/// Of a program that nobody knows, what was forged is written over by what is known to have stood
/// there, and cleared away where nothing runs.
fn forgeries(view: &View, name: &ProgramName, entry: &Entry, draft: &mut Draft) {
    for (index, instance) in &entry.instances {
        let Some((at, _)) = instance.forged.first() else { continue };
        let is_known = instance.placements.iter().any(|placed| placed.worker == *at);
        if is_known || !instance.statuses.iter().any(|(worker, _)| worker == at) {
            let name = InstanceId::new(name.clone(), *index);
            repair::plan(view, None, &name, instance, draft);
        }
    }
}

/// The epoch of an instance that is placed anew: greater than every epoch it ever had, because the
/// sequence guarded on is, too (DESIGN.md section 5, rule 10). On a bus that was made anew sequences begin
/// anew; there it is greater than what placements, tombstones and workers tell of.
pub(crate) fn next_epoch(entry: &Entry, index: u32) -> Epoch {
    let Some(instance) = entry.instance(index) else { return Epoch(1) };
    let told = instance.statuses.iter().map(|(_, status)| status.value.epoch);
    let told = told.filter(|epoch| *epoch <= Epoch::TOLD_MAX);
    let last = told.fold(instance.floor, Epoch::max);
    Epoch(instance.guard.max(last.0).saturating_add(1))
}
