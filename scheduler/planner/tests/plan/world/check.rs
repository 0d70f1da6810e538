//! What must be true of every action at the moment it is enacted, found out anew from what is
//! declared and placed: the planner is not asked.

use std::collections::BTreeMap;

use dsbus_planner::view::{Life, Placed};
use dsbus_planner::{Action, View};
use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{Kind, Program, ProgramSpec};
use dsbus_schema::rollout::RolloutState;
use dsbus_schema::state::{State, WorkerState};
use dsbus_schema::status::Status;

/// Whoever is placed keeps every rule of its own and of the others there.
pub(super) fn placed(view: &View, name: &InstanceId, to: &WorkerName, placement: &Placement) {
    let spec = &placement.spec;
    assert_eq!(view.worker_state(to), WorkerState::Ready, "{name} on {to}");
    let worker = view.worker(to).unwrap();
    assert!(spec.machines.is_empty() || spec.machines.contains(to), "{name} on {to}");
    assert!(spec.labels.iter().all(|rule| rule.holds(&worker.labels)), "{name} on {to}");
    assert_eq!(view.lacks(to, spec), Vec::<String>::new(), "{name} on {to}");
    assert!(placement.epoch.0 > view.guard(name), "{name}: every epoch before was less");
    let program = view.program(&name.program).unwrap();
    let extra = !program.spec.system && name.index >= program.spec.numprocs;
    assert!(!extra || program.rollout.is_some(), "{name} is an extra one, and there is no rollout");
    assert!(!extra || !program.spec.exclusive, "{name} is an extra one of an exclusive program");
    let others: Vec<(InstanceId, &Placed)> =
        view.placements().filter(|(_, placed)| placed.worker == *to).collect();
    let (mut cpu, mut memory) = (taken(spec).0, taken(spec).1);
    for (other, placed) in &others {
        assert!(other != name, "{name} has a place on {to} already");
        let beside = format!("{name} beside {other} on {to}");
        assert!(!spec.anti_affinity.contains(&other.program), "{beside}");
        let theirs = view.program(&other.program).map(|program| &program.spec.anti_affinity);
        assert!(!theirs.is_some_and(|apart| apart.contains(&name.program)), "{beside}");
        assert!(!spec.system || other.program != name.program, "{beside}");
        let more = taken(&placed.spec);
        (cpu, memory) = (cpu + more.0, memory + more.1);
    }
    let (capacity, declared) = (worker.capacity, taken(spec));
    let within = |all: f64, taken: f64, own: f64| own == 0.0 || all == 0.0 || taken <= all + 1e-6;
    #[expect(clippy::cast_precision_loss, reason = "a few gigabytes")]
    let bytes = |bytes: u64| bytes as f64;
    assert!(within(capacity.cpu, cpu, declared.0), "{name} on {to}: {cpu} processors");
    let (all, own) = (bytes(capacity.memory), bytes(declared.1));
    assert!(within(all, bytes(memory), own), "{name} on {to}: {memory} bytes");
}

fn taken(spec: &ProgramSpec) -> (f64, u64) {
    (spec.resources.cpu.unwrap_or(0.0), spec.resources.memory.map_or(0, |size| size.0))
}

/// No plan takes more instances of a program down than may be, for whichever reasons.
pub(super) fn limits(view: &View, actions: &[Action]) {
    let mut downs: BTreeMap<&ProgramName, Vec<(&InstanceId, bool)>> = BTreeMap::new();
    for action in actions {
        if let Some((name, changes)) = takes_down(view, action) {
            downs.entry(&name.program).or_default().push((name, changes));
        }
    }
    for (name, downs) in downs {
        let program = view.program(name).unwrap();
        let update = &program.spec.update;
        let extra = |name: &InstanceId| !view.is_declared(program, name.index);
        let taken = downs.iter().filter(|(name, _)| !extra(name)).count();
        let changes = downs.iter().any(|(_, changes)| *changes);
        let extras = view
            .placements()
            .filter(|(other, placed)| {
                other.program == *name && extra(other) && is_up(view, other, placed)
            })
            .filter(|(other, _)| !downs.iter().any(|(name, _)| *name == other))
            .count();
        let rollout = program.rollout.as_ref().filter(|r| r.state == RolloutState::Rolling);
        let surges = changes && update.max_surge > 0 && rollout.is_some() && !program.spec.system;
        let least = if surges { update.max_unavailable } else { update.max_unavailable.max(1) };
        let limit = extras + usize::try_from(least).unwrap();
        let down = view
            .declared(program)
            .into_iter()
            .filter(|index| is_down(view, program, *index))
            .count();
        assert!(
            taken == 0 || down + taken <= limit,
            "{name}: {down} are down, {taken} are taken down, and {limit} may be: {downs:?}"
        );
    }
}

/// The instance that an action takes down although it is up and should be, and whether that is for
/// a change of its declaration.
fn takes_down<'a>(view: &View, action: &'a Action) -> Option<(&'a InstanceId, bool)> {
    let name = action.instance()?;
    let program = view.program(&name.program).filter(|program| !program.removing)?;
    let placed = view.placed(name).filter(|placed| is_up(view, name, placed))?;
    let keeps = program.spec.system
        || name.index < program.spec.numprocs
        || program.rollout.as_ref().is_some_and(|r| r.state == RolloutState::Rolling);
    if !keeps || !view.wanted(program, name.index).run || placed.id != program.id {
        return None;
    }
    match action {
        Action::Update { placement, .. } => {
            let changes = placement.wanted.run && !placement.spec.same_child(&placed.spec);
            assert!(
                !changes || program.spec.kind != Kind::Oneshot,
                "{name} is a oneshot that runs, and ends for a change"
            );
            let all = view.goals(&name.program).and_then(|goals| goals.all.as_ref());
            let restarts = placement.wanted.restarts > placed.wanted.restarts
                && all.is_some_and(|goal| goal.rolling);
            (changes || restarts || !placement.wanted.run).then_some((name, changes))
        }
        Action::Move { .. } | Action::Remove { .. } => Some((name, false)),
        _ => None,
    }
}

fn acted<'a>(view: &'a View, name: &InstanceId, placed: &Placed) -> Option<&'a Status> {
    view.status(name, placed)
        .filter(|told| told.wanted == placed.wanted && told.revision == placed.revision)
}

fn is_up(view: &View, name: &InstanceId, placed: &Placed) -> bool {
    placed.wanted.run
        && view.life(placed) != Life::Lost
        && acted(view, name, placed).is_some_and(|told| told.state == State::Running)
}

/// Whether an instance should run, does not, and may come up by itself: not so one whose worker is
/// lost, that has ended or was given up, or that no worker takes.
fn is_down(view: &View, program: &Program, index: u32) -> bool {
    let name = InstanceId::new(program.name.clone(), index);
    let Some(placed) = view.placed(&name) else {
        return view.wanted(program, index).run && view.said(&name).0.is_none();
    };
    let ended = acted(view, &name, placed).is_some_and(|told| told.state == State::Exited);
    view.wanted(program, index).run
        && !ended
        && placed.rest.is_none()
        && view.life(placed) != Life::Lost
        && !is_up(view, &name, placed)
}
