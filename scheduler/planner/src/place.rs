//! Where instances without a place go: eligibility, then the least loaded.

use std::collections::BTreeMap;

use dsbus_schema::ids::{Epoch, InstanceId, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{Facility, Program};
use dsbus_schema::state::{State, WorkerState};
use dsbus_schema::worker::Worker;

use crate::action::Action;
use crate::evict;
use crate::plan::{Draft, next_epoch};
use crate::view::{Life, View};

/// Plans for one instance of a declared program: a place for it if it has none, and what schedulers
/// say of it.
pub(crate) fn plan(view: &View, program: &Program, name: &InstanceId, draft: &mut Draft) {
    let wanted = view.wanted(program, name.index);
    if let Some(placed) = view.placed(name) {
        let lost = view.life(placed) == Life::Lost;
        let fatal = view.status(name, placed).is_some_and(|s| s.state == State::Fatal);
        let given_up = !lost && fatal && evict::given_up(view, name, evict::asked(program, wanted));
        let reason = given_up.then(|| {
            let goal = view.goal(name);
            let workers: Vec<_> =
                goal.into_iter().flat_map(|g| &g.failed_on).map(WorkerName::as_str).collect();
            let fails = goal.map_or(0, |g| g.fails);
            let times = if fails == 1 { "once".to_owned() } else { format!("{fails} times") };
            format!("given up after it ended FATAL {times}, on {}", workers.join(", "))
        });
        say(view, name, reason.map(|r| (State::Fatal, r)), draft);
        return;
    }
    if !wanted.run {
        say(view, name, None, draft);
        return;
    }
    match choose(view, program, name, None, &draft.load) {
        Ok(worker) => {
            draft.loaded(&worker);
            let epoch = next_epoch(view, name);
            draft.actions.push(Action::Place {
                name: name.clone(),
                worker,
                guard: view.guard(name),
                placement: Box::new(placement(view, program, name, epoch)),
            });
        }
        Err(reason) => say(view, name, Some((State::Pending, reason)), draft),
    }
}

/// The placement of an instance that is placed anew.
pub(crate) fn placement(
    view: &View,
    program: &Program,
    name: &InstanceId,
    epoch: Epoch,
) -> Placement {
    let wanted = view.wanted(program, name.index);
    Placement::new(program.id, program.revision, epoch, wanted, program.spec.clone())
}

/// The worker that takes an instance, not being `except`: of those that may, the one with the
/// fewest instances, by name among equals.
///
/// # Errors
/// When none may take it: why, for people.
pub(crate) fn choose(
    view: &View,
    program: &Program,
    name: &InstanceId,
    except: Option<&WorkerName>,
    load: &BTreeMap<WorkerName, usize>,
) -> Result<WorkerName, String> {
    if view.workers.is_empty() {
        return Err("no worker has ever joined this fleet".to_owned());
    }
    let needs = program.spec.needs();
    let mut refusals = Vec::new();
    let mut candidates = Vec::new();
    let mut lacking: BTreeMap<Facility, Vec<&str>> = BTreeMap::new();
    for worker in view.workers.values().filter(|w| except != Some(&w.name)) {
        if let Some(why) = refusal(view, program, name, worker) {
            refusals.push(format!("{} {why}", worker.name));
            continue;
        }
        let lacks = view.lacks(&worker.name, &needs);
        if lacks.is_empty() {
            candidates.push(&worker.name);
        }
        for facility in lacks {
            lacking.entry(facility).or_default().push(worker.name.as_str());
        }
    }
    for machine in program.spec.machines.iter().filter(|m| !view.workers.contains_key(*m)) {
        refusals.push(format!("{machine} has never joined this fleet"));
    }
    refusals.extend(lacking.iter().map(|(facility, workers)| {
        let lack = if workers.len() == 1 { "lacks" } else { "lack" };
        format!("{} {lack} {facility}", workers.join(", "))
    }));
    candidates
        .into_iter()
        .min_by_key(|worker| (load.get(*worker).copied().unwrap_or(0), (*worker).clone()))
        .cloned()
        .ok_or_else(|| format!("no worker can take it: {}", refusals.join("; ")))
}

/// Why a worker may not take an instance.
fn refusal(view: &View, program: &Program, name: &InstanceId, worker: &Worker) -> Option<String> {
    let machines = &program.spec.machines;
    if !machines.is_empty() && !machines.contains(&worker.name) {
        return Some("is not among its machines".to_owned());
    }
    let state = view.worker_state(worker);
    if state != WorkerState::Ready {
        return Some(format!("is {state}"));
    }
    let wanted = view.wanted(program, name.index);
    view.goal(name)
        .is_some_and(|g| {
            g.fails_since >= evict::asked(program, wanted) && g.failed_on.contains(&worker.name)
        })
        .then(|| "has seen it end FATAL".to_owned())
}

/// Tells what schedulers know of an instance, unless that was told already.
fn say(view: &View, name: &InstanceId, now: Option<(State, String)>, draft: &mut Draft) {
    let guard = view.fleet_status_guards.get(name).copied().unwrap_or(0);
    match (now, view.fleet_statuses.get(name)) {
        (None, None) => {}
        (None, Some(_)) => {
            draft.actions.push(Action::ClearFleetStatus { name: name.clone(), guard });
        }
        (Some((state, reason)), Some(said))
            if said.value.state == state && said.value.reason.as_ref() == Some(&reason) => {}
        (Some((state, reason)), _) => {
            draft.actions.push(Action::SetFleetStatus { name: name.clone(), state, reason, guard });
        }
    }
}
