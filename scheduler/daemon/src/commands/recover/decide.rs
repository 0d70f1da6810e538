//! What is rebuilt of what workers have. Pure.
//!
//! The bus is believed where it knows something that is as late as what workers know; the epoch says what
//! is later. Where workers contradict each other, nothing is done unless it is forced: then the copy with
//! the greatest epoch counts, and the others are stopped.

use std::collections::BTreeMap;

use dsbus_schema::call::{Hold, Holding};
use dsbus_schema::command::Recovery;
use dsbus_schema::goal::{Arguments, Goal, Wanted};
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, WorkerName};
use dsbus_schema::program::{Program, ProgramSpec};

/// What a worker has of an instance.
pub(super) type Copy<'a> = (&'a WorkerName, &'a Holding);

/// What stands on the bus about an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stands {
    /// Its placement: where, and under which epoch.
    pub(super) placed: Option<(WorkerName, Epoch)>,
    /// The epoch that its tombstone names.
    pub(super) removed: Epoch,
}

impl Stands {
    /// The greatest epoch that the bus knows of.
    fn latest(&self) -> Epoch {
        self.placed.as_ref().map_or(self.removed, |(_, epoch)| *epoch)
    }
}

/// How it is to be done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms<'a> {
    /// Also what is doubtful.
    pub(super) force: bool,
    /// Workers that may have something, and do not say so.
    pub(super) silent: &'a [WorkerName],
}

/// What becomes of an instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Decision {
    /// Each copy, what becomes of it, and why.
    pub(super) rows: Vec<(WorkerName, Recovery, Option<String>)>,
    /// Where it is placed from now on, and under which epoch. `None`: as it stands.
    pub(super) place: Option<(WorkerName, Epoch)>,
    /// Under whose keys tombstones are written first, and about which epoch.
    pub(super) end: Vec<(WorkerName, Epoch)>,
}

/// The program that `copies` of all its instances are of: the declaration of the greatest revision, of the
/// identity that was placed last.
pub(super) fn newest<'a>(copies: &[Copy<'a>]) -> Option<(ProgramId, u64, &'a ProgramSpec)> {
    let (_, last) = copies.iter().max_by_key(|(_, held)| held.epoch)?;
    let id = last.placement.id;
    let of_it = copies.iter().map(|(_, held)| &held.placement).filter(|placed| placed.id == id);
    let newest = of_it.max_by_key(|placed| placed.revision)?;
    Some((id, newest.revision, &newest.spec))
}

/// What becomes of one instance of `program`.
pub(super) fn instance(
    program: ProgramId,
    copies: &[Copy<'_>],
    stands: &Stands,
    terms: Terms<'_>,
) -> Decision {
    let verdict = verdict(program, copies, stands, terms);
    let mut decision = Decision::default();
    for (at, held) in copies {
        let at = *at;
        let counts = verdict.winner.as_ref() == Some(at) && held.placement.id == program;
        if counts && !verdict.known {
            decision.rows.push((at.clone(), Recovery::Rebuilt, None));
        } else if counts {
            decision.rows.push((at.clone(), Recovery::Known, None));
        } else if !is_held(held) {
            if verdict.winner.is_none() && stands.latest() < held.epoch {
                let why = if held.hold == Hold::LetGo { LET_GO } else { REFUSED };
                decision.rows.push((at.clone(), Recovery::Rebuilt, Some(why.to_owned())));
            }
        } else {
            let recovery = if terms.force { Recovery::Ended } else { Recovery::Left };
            if terms.force {
                decision.end.push((at.clone(), held.epoch));
            }
            let reason = if held.placement.id == program {
                verdict.reason.clone()
            } else {
                "it is of another program of that name".to_owned()
            };
            decision.rows.push((at.clone(), recovery, Some(reason)));
        }
    }
    let left = |worker: &WorkerName| {
        stands
            .placed
            .as_ref()
            .filter(|(at, _)| at != worker)
            .map(|(at, epoch)| (at.clone(), *epoch))
    };
    match (&verdict.winner, best(program, copies)) {
        (Some(worker), Some((_, held))) if !verdict.known => {
            decision.place = Some((worker.clone(), held.placement.epoch));
            let ended = |at: &WorkerName| decision.end.iter().any(|(ended, _)| ended == at);
            let left = left(worker).filter(|(at, _)| !ended(at));
            decision.end.extend(left);
        }
        (None, None) => {
            // It is placed anew, under a greater epoch than any that it had.
            let last = copies.iter().max_by_key(|(_, held)| held.epoch);
            let Some((at, held)) = last.filter(|(_, held)| stands.latest() < held.epoch) else {
                return decision;
            };
            let key = stands.placed.as_ref().map_or(*at, |(at, _)| at);
            decision.end.push((key.clone(), held.epoch));
        }
        (_, _) => {}
    }
    decision
}

/// Of an exclusive instance that stopped when its placement was lost.
const LET_GO: &str = "it stopped, since it is exclusive; it is placed anew";

/// Of one that the bus places under an epoch of the past.
const REFUSED: &str =
    "the bus went back in time, and its worker knows later epochs; it is placed anew";

/// Whether a worker has an instance now.
fn is_held(held: &Holding) -> bool {
    match held.hold {
        Hold::Placed | Hold::Adrift => true,
        Hold::LetGo | Hold::Refused => false,
    }
}

/// Which copy counts.
struct Verdict {
    winner: Option<WorkerName>,
    /// The bus knows that it does.
    known: bool,
    /// Why another one does not.
    reason: String,
}

fn verdict(program: ProgramId, copies: &[Copy<'_>], stands: &Stands, terms: Terms<'_>) -> Verdict {
    let known = |worker: &WorkerName| Verdict {
        winner: Some(worker.clone()),
        known: true,
        reason: format!("the one on {worker} counts"),
    };
    let has = |worker: &WorkerName| copies.iter().any(|(at, held)| *at == worker && is_held(held));
    let Some((at, held)) = best(program, copies) else {
        return match &stands.placed {
            // Nobody has it who would be later than the bus.
            Some((worker, epoch)) if copies.iter().all(|(_, held)| held.epoch <= *epoch) => {
                known(worker)
            }
            _ => Verdict { winner: None, known: false, reason: String::new() },
        };
    };
    let doubt = match &stands.placed {
        Some((worker, epoch)) if held.placement.epoch <= *epoch => return known(worker),
        Some((worker, epoch)) if at != worker && has(worker) => {
            Some(format!("{worker}, where the bus has it under epoch {epoch}, has it, too"))
        }
        Some((worker, epoch)) if at != worker && terms.silent.contains(worker) => {
            Some(format!("{worker}, where the bus has it under epoch {epoch}, does not answer"))
        }
        Some(_) => None,
        None if held.epoch < stands.removed => {
            let reason = format!("it was taken away under epoch {}", stands.removed);
            return Verdict { winner: None, known: false, reason };
        }
        None => {
            let others = copies.iter().filter(|(other, _)| *other != at && has(other));
            let others: Vec<_> = others.map(|(other, _)| other.as_str()).collect();
            let silent: Vec<_> = terms.silent.iter().map(WorkerName::as_str).collect();
            match (others.as_slice(), silent.as_slice()) {
                ([], []) => None,
                ([], silent) => {
                    Some(format!("{} may have it, too, and does not answer", silent.join(", ")))
                }
                (others, _) => Some(format!("{} has it, too", others.join(", "))),
            }
        }
    };
    match doubt {
        Some(reason) if !terms.force => Verdict { winner: None, known: false, reason },
        _ => Verdict {
            winner: Some(at.clone()),
            known: false,
            reason: format!("the one on {at} counts"),
        },
    }
}

/// The copy of this program that was placed last; of two, the one with a child.
fn best<'a>(program: ProgramId, copies: &[Copy<'a>]) -> Option<Copy<'a>> {
    let of_it = copies.iter().filter(|(_, held)| held.placement.id == program && is_held(held));
    of_it.max_by_key(|(at, held)| (held.epoch, held.pid.is_some(), *at)).copied()
}

/// The goals of a program by which its instances are wanted exactly as they were placed: that of all, and
/// those of single ones.
pub(super) fn goals(held: &BTreeMap<InstanceId, &Holding>) -> BTreeMap<Option<u32>, Goal> {
    let wanted = || held.values().map(|held| held.placement.wanted);
    let least = |of: fn(&Wanted) -> u64| wanted().map(|wanted| of(&wanted)).min().unwrap_or(0);
    let all = Goal {
        // One that stands stopped was stopped alone, where others run.
        run: wanted().any(|wanted| wanted.run),
        stamp: 1,
        starts: least(|wanted| wanted.starts),
        restarts: least(|wanted| wanted.restarts),
        reloads: least(|wanted| wanted.reloads),
        ..Goal::default()
    };
    let mut goals = BTreeMap::new();
    for (name, held) in held {
        let (wanted, words) = (held.placement.wanted, &held.placement.arguments);
        let own = Goal {
            run: wanted.run,
            stamp: if wanted.run == all.run { 0 } else { 2 },
            starts: wanted.starts - all.starts,
            restarts: wanted.restarts - all.restarts,
            reloads: wanted.reloads - all.reloads,
            arguments: (!words.is_empty()).then(|| Arguments {
                words: words.clone(),
                of: wanted.starts.saturating_add(wanted.restarts),
            }),
            ..Goal::default()
        };
        let plain = Goal { run: own.run, ..Goal::default() };
        if own != plain {
            goals.insert(Some(name.index), own);
        }
    }
    goals.insert(None, all);
    goals
}

/// Copies that no worker has (any more), with the epoch that they must exceed when they are placed anew:
/// their own, or, where nobody knows that, the greatest that is known of any.
pub(super) fn floors(
    program: &Program,
    held: &BTreeMap<InstanceId, &Holding>,
    greatest: Epoch,
) -> Vec<(InstanceId, Epoch)> {
    let let_go = held.iter().filter(|(_, held)| !is_held(held));
    let let_go = let_go.map(|(name, held)| (name.clone(), held.epoch));
    let missing = program
        .instances()
        .filter(|name| !program.spec.system && !held.contains_key(name))
        .map(|name| (name, greatest));
    let_go.chain(missing).collect()
}

#[cfg(test)]
mod tests;
