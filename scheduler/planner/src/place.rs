//! Where instances without a place go, and what schedulers say of instances.

use std::sync::Arc;

use dsbus_schema::ids::{Epoch, InstanceId, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::State;

use crate::action::Action;
use crate::fit::{Ask, Past};
use crate::order::{self, Wait};
use crate::placed;
use crate::plan::{Draft, Scene, next_epoch};
use crate::rolling::{self, Health, Rolling};
use crate::view::{Instance, Placed};

/// Plans for one instance of a declared program: a place for it if it has none, and what schedulers
/// say of it.
pub(crate) fn plan(scene: &Scene<'_>, index: u32, rolling: &Rolling<'_>, draft: &mut Draft) {
    let (view, entry, program) = (scene.view, scene.entry, scene.program);
    let wanted = entry.wanted(program, index);
    let instance = entry.instance(index);
    if instance.is_some_and(|instance| !instance.forged.is_empty()) {
        return;
    }
    let placed = instance.and_then(|instance| Some((instance, instance.placed()?)));
    if let Some((instance, placed)) = placed {
        return say(scene, index, given_up(scene, index, instance, placed), draft);
    }
    if !wanted.run {
        return say(scene, index, None, draft);
    }
    if let Some((worker, epoch)) =
        instance.and_then(|instance| view.adrift(instance, program.spec.exclusive))
    {
        let reason = if instance.is_some_and(|instance| instance.guard > 0) {
            format!("its child of epoch {epoch} has not ended on {worker}")
        } else {
            format!(
                "{worker} still has it under epoch {epoch}, of which the bus has lost the placement; dsbus \
                 recover rebuilds that"
            )
        };
        draft.waits = true;
        return say(scene, index, Some((State::Pending, reason)), draft);
    }
    if let Some(wait) = before_start(scene, index) {
        draft.wake_at(wait.until);
        return say(scene, index, wait.tell.then_some((State::Pending, wait.reason)), draft);
    }
    let name = InstanceId::new(program.name.clone(), index);
    let (revision, spec) = rolling.fresh(index);
    let past = past(scene, index);
    let ask = Ask::new(view, &name, &spec, past);
    match ask.choose(None, &draft.deltas) {
        Ok((worker, score)) => {
            if let Some(host) = view.hosts.get(worker) {
                draft.deltas.add(host, &program.name, &spec);
            }
            let epoch = next_epoch(entry, index);
            let mut placement = placement(scene, index, epoch, revision, &spec);
            placement.reason =
                Some(format!("best of those that may take it ({})", ask.words(score)));
            let (worker, guard) = (worker.clone(), instance.map_or(0, |i| i.guard));
            let placement = Box::new(placement);
            draft.actions.push(Action::Place { name, worker, guard, placement });
        }
        Err(reason) => {
            draft.waits = true;
            say(scene, index, Some((State::Pending, reason)), draft);
        }
    }
}

/// What schedulers say of an instance that has a place: nothing, mostly.
fn given_up(
    scene: &Scene<'_>,
    index: u32,
    instance: &Instance,
    placed: &Placed,
) -> Option<(State, String)> {
    let lost = scene.view.is_cut_off(placed);
    let fatal = instance.status(placed).is_some_and(|s| s.state == State::Fatal);
    let asked = placed::asked(scene.program, scene.entry.wanted(scene.program, index));
    if !fatal || (lost && placed.rest.is_none()) || !placed::given_up(scene, index, asked) {
        return None;
    }
    let goal = scene.entry.goals.each.get(&index);
    let workers: Vec<_> =
        goal.into_iter().flat_map(|g| &g.failed_on).map(WorkerName::as_str).collect();
    let fails = goal.map_or(0, |g| g.fails);
    let times = if fails == 1 { "once".to_owned() } else { format!("{fails} times") };
    let reason = format!("given up after it ended FATAL {times}, on {}", workers.join(", "));
    Some((State::Fatal, reason))
}

/// What an instance without a place waits for, before a worker is looked for.
pub(crate) fn before_start(scene: &Scene<'_>, index: u32) -> Option<Wait> {
    order::before_start(scene.view, scene.program, scene.now).or_else(|| canaries(scene, index))
}

/// At the first start of a program with canaries, the rest waits until these are healthy.
fn canaries(scene: &Scene<'_>, index: u32) -> Option<Wait> {
    let (program, entry) = (scene.program, scene.entry);
    let update = &program.spec.update;
    let fresh = entry.instance(index).is_none_or(|instance| instance.guard == 0);
    if !fresh || index < update.canary || program.rollout.is_some() {
        return None;
    }
    let mut until = None;
    for canary in (0..update.canary).filter(|i| scene.entry.wanted(program, *i).run) {
        let instance = entry.instance(canary);
        let placed = instance.and_then(|instance| instance.placed());
        let health = instance.zip(placed).map_or(Health::Down, |(instance, placed)| {
            let young = update.min_healthy.0;
            rolling::health(scene.view, instance, placed, young, scene.now.boot)
        });
        match health {
            Health::Up => continue,
            Health::Young(at) => until = Some(at),
            Health::Down => {}
        }
        let reason = format!("waits until {}:{canary} is healthy", program.name);
        return Some(Wait { reason, until, tell: true });
    }
    None
}

/// The placement of an instance that is placed anew.
pub(crate) fn placement(
    scene: &Scene<'_>,
    index: u32,
    epoch: Epoch,
    revision: u64,
    spec: &Arc<ProgramSpec>,
) -> Placement {
    let wanted = scene.entry.wanted(scene.program, index);
    Placement {
        arguments: scene.entry.goals.arguments(index).to_vec(),
        ..Placement::new(scene.program.id, revision, epoch, wanted, ProgramSpec::clone(spec))
    }
}

/// What came of it since a person last asked for something new.
pub(crate) fn past<'a>(scene: &Scene<'a>, index: u32) -> Past<'a> {
    let asked = placed::asked(scene.program, scene.entry.wanted(scene.program, index));
    let Some(goal) = scene.entry.goals.each.get(&index) else { return Past::default() };
    let failed_on = if goal.fails_since >= asked { &goal.failed_on[..] } else { &[] };
    let refused =
        if goal.refused_since >= asked { goal.refused.iter().collect() } else { Vec::new() };
    Past { failed_on, refused }
}

/// Who refused any copy of a program: each copy of a system program may go to each worker.
pub(crate) fn past_of_all<'a>(scene: &Scene<'a>) -> Past<'a> {
    let each = scene.entry.goals.each.keys();
    let refused = each.flat_map(|index| past(scene, *index).refused).collect();
    Past { failed_on: &[], refused }
}

/// Tells what schedulers know of an instance, unless that was told already.
fn say(scene: &Scene<'_>, index: u32, now: Option<(State, String)>, draft: &mut Draft) {
    let instance = scene.entry.instance(index);
    let said = instance.and_then(|instance| instance.said.as_ref());
    let guard = instance.map_or(0, |instance| instance.said_guard);
    let name = InstanceId::new(scene.program.name.clone(), index);
    match (now, said) {
        (None, None) => {}
        (None, Some(_)) => draft.actions.push(Action::ClearFleetStatus { name, guard }),
        (Some((state, reason)), Some(said))
            if said.value.state == state && said.value.reason.as_ref() == Some(&reason) => {}
        (Some((state, reason)), _) => {
            draft.actions.push(Action::SetFleetStatus { name, state, reason, guard });
        }
    }
}
