//! Which instances would run elsewhere if they were placed now. Only on request: nothing moves
//! because a worker came back.

use std::collections::BTreeMap;

use dsbus_schema::command::PlannedMove;
use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::program::{Kind, ProgramSpec};

use crate::view::{Placed, View};

/// Most instances of one rebalance: they move one after the other, and one can ask again.
pub const MOVES_MAX: usize = 500;

/// The moves after which workers are loaded evenly, in the eyes of each program's strategy.
pub fn rebalance(view: &View) -> Vec<PlannedMove> {
    // The moves are tried on a copy of what is known, one after the other.
    let mut tried = view.clone();
    let mut moves: BTreeMap<InstanceId, (WorkerName, WorkerName)> = BTreeMap::new();
    let movable: Vec<InstanceId> = view
        .placements()
        .filter(|(name, placed)| is_movable(view, name, placed))
        .map(|(name, _)| name)
        .collect();
    for name in movable {
        if moves.len() >= MOVES_MAX {
            break;
        }
        let Some(placed) = tried.placed(&name).cloned() else { continue };
        let seq = placed.seq;
        tried.set_placement(&placed.worker, &name, seq, None);
        let to = better(&tried, &name, &placed.spec, &placed.worker);
        let at = to.as_ref().unwrap_or(&placed.worker).clone();
        tried.set_placement(&at, &name, seq, Some(placed.placement()));
        if let Some(to) = to {
            moves.insert(name, (placed.worker, to));
        }
    }
    moves.into_iter().map(|(name, (from, to))| PlannedMove { name, from, to }).collect()
}

fn is_movable(view: &View, name: &InstanceId, placed: &Placed) -> bool {
    let Some(program) = view.program(&name.program) else { return false };
    !program.removing
        && !program.spec.system
        && program.spec.kind == Kind::Service
        && program.rollout.is_none()
        && !view.is_cut_off(placed)
        && placed.wanted.run
        && placed.rest.is_none()
        && view.is_declared(program, name.index)
}

/// A worker that is better for an instance than the one it was on, by more than its name.
fn better(
    view: &View,
    name: &InstanceId,
    spec: &ProgramSpec,
    now: &WorkerName,
) -> Option<WorkerName> {
    use crate::fit::{Ask, Deltas, Past};
    let deltas = Deltas::default();
    let ask = Ask::new(view, name, spec, Past::default());
    let (best, score) = ask.choose(None, &deltas).ok()?;
    let host = view.hosts.get(now)?;
    let stays = ask.refusal(host, &deltas).is_none()
        && ask.score(host, &deltas, &ask.spread(&deltas)) <= score;
    (!stays && best != now).then(|| best.clone())
}
