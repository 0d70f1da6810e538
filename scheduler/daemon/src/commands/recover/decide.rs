//! What is rebuilt of what workers have. Pure.
//!
//! The bus is believed where it knows something that is as late as what workers know; the epoch says what
//! is later. Where workers contradict each other, nothing is done unless it is forced: then the copy with
//! the greatest epoch counts, and the others are stopped.

mod goals;

use dsbus_schema::call::{Hold, Holding};
use dsbus_schema::command::Recovery;
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, WorkerName};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{Program, ProgramSpec};

pub(super) use goals::goals;

/// What a worker has of an instance.
pub(super) type Copy<'a> = (&'a WorkerName, &'a Holding);

/// A worker that does not say what it has, or not as one does, and why not.
pub(super) type Silent = (WorkerName, &'static str);

/// Why most do not.
pub(super) const NO_ANSWER: &str = "it does not answer";

/// What stands on the bus about an instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Stands {
    /// Its placement, and where.
    pub(super) placed: Option<(WorkerName, Placement)>,
    /// The epoch that its tombstone names.
    pub(super) removed: Epoch,
}

impl Stands {
    /// The greatest epoch that the bus knows of.
    fn latest(&self) -> Epoch {
        self.placed.as_ref().map_or(self.removed, |(_, placement)| placement.epoch)
    }
}

/// The program that instances are of, as it is or will be on the bus.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of {
    pub(super) id: ProgramId,
    pub(super) revision: u64,
}

/// How it is to be done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms<'a> {
    /// Also what is doubtful.
    pub(super) force: bool,
    /// Who may have something, and does not say so.
    pub(super) silent: &'a [Silent],
}

/// What becomes of an instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Decision {
    /// Each copy, what becomes of it, and why.
    pub(super) rows: Vec<(WorkerName, Recovery, Option<String>)>,
    /// Whose copy is placed from now on. `None`: as it stands.
    pub(super) place: Option<WorkerName>,
    /// Under whose keys tombstones are written first, and about which epoch.
    pub(super) end: Vec<(WorkerName, Epoch)>,
}

/// The program that `copies` of all its instances are of: the declaration of the greatest revision, of the
/// identity that was placed last, or of this one.
pub(super) fn newest<'a>(
    copies: &[Copy<'a>],
    id: Option<ProgramId>,
) -> Option<(ProgramId, u64, &'a ProgramSpec)> {
    let last = copies.iter().max_by_key(|(_, held)| held.epoch)?.1.placement.id;
    let id = id.unwrap_or(last);
    let of_it = copies.iter().map(|(_, held)| &held.placement).filter(|placed| placed.id == id);
    let newest = of_it.max_by_key(|placed| placed.revision)?;
    Some((id, newest.revision, &newest.spec))
}

/// Whether the numbers that a worker tells can be: one that lies could use them up.
pub(super) fn is_believed(held: &Holding) -> bool {
    let (placement, wanted) = (&held.placement, held.placement.wanted);
    let numbers = [placement.revision, wanted.starts, wanted.restarts, wanted.reloads];
    let epoch = held.epoch.max(placement.epoch);
    epoch <= Epoch::TOLD_MAX && numbers.into_iter().all(|number| number <= Epoch::TOLD_MAX.0)
}

/// Who does not say what it has, and why, in words.
pub(super) fn silence(silent: &[Silent]) -> String {
    let (unheard, odd): (Vec<_>, Vec<_>) = silent.iter().partition(|(_, why)| *why == NO_ANSWER);
    let names: Vec<_> = unheard.iter().map(|(worker, _)| worker.as_str()).collect();
    let does = if names.len() == 1 { "does" } else { "do" };
    let all = format!("{} may have it, too, and {does} not answer", names.join(", "));
    let each = odd.iter().map(|(worker, why)| format!("{worker} may have it, too: {why}"));
    let said: Vec<_> = (!names.is_empty()).then_some(all).into_iter().chain(each).collect();
    said.join("; ")
}

/// What becomes of one instance of a program.
pub(super) fn instance(of: Of, copies: &[Copy<'_>], stands: &Stands, terms: Terms<'_>) -> Decision {
    let verdict = verdict(of, copies, stands, terms);
    let anew = anew(of, copies, stands, &verdict);
    // Whoever does not answer may have it: nothing may start it.
    let blocked = anew.is_some() && !terms.force && !terms.silent.is_empty();
    let anew = anew.filter(|_| !blocked);
    let mut decision = Decision::default();
    for (at, held) in copies {
        let at = *at;
        let counts = verdict.winner.as_ref() == Some(at) && held.placement.id == of.id;
        let row = if counts && !verdict.known {
            (Recovery::Rebuilt, None)
        } else if counts {
            (Recovery::Known, None)
        } else if !is_held(held) {
            let later = stands.latest() < held.epoch;
            let why = if held.hold == Hold::LetGo { LET_GO } else { REFUSED };
            match (blocked, &anew) {
                (true, _) if later => (Recovery::Left, Some(silence(terms.silent))),
                (false, Some(_)) if later => (Recovery::Rebuilt, Some(why.to_owned())),
                (_, _) => continue,
            }
        } else {
            let key = anew.as_ref().is_some_and(|(key, _)| key == at);
            if terms.force && !key {
                decision.end.push((at.clone(), held.epoch));
            }
            let reason = if held.placement.id != of.id {
                "it is of another program of that name".to_owned()
            } else if blocked {
                silence(terms.silent)
            } else {
                verdict.reason.clone()
            };
            let ended = terms.force || key;
            (if ended { Recovery::Ended } else { Recovery::Left }, Some(reason))
        };
        decision.rows.push((at.clone(), row.0, row.1));
    }
    if let (Some(worker), false) = (&verdict.winner, verdict.known) {
        decision.place = Some(worker.clone());
        let ended = |at: &WorkerName| decision.end.iter().any(|(ended, _)| ended == at);
        let left = stands.placed.as_ref().filter(|(at, _)| at != worker && !ended(at));
        decision.end.extend(left.map(|(at, placement)| (at.clone(), placement.epoch)));
    }
    decision.end.extend(anew);
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
    /// None does: a greater epoch than whoever has it knows was there.
    raise: bool,
    /// Why another one does not.
    reason: String,
}

impl Verdict {
    fn none(reason: String) -> Verdict {
        Verdict { winner: None, known: false, raise: false, reason }
    }
}

fn verdict(of: Of, copies: &[Copy<'_>], stands: &Stands, terms: Terms<'_>) -> Verdict {
    let counts = |worker: &WorkerName, known| Verdict {
        winner: Some(worker.clone()),
        known,
        raise: false,
        reason: format!("the one on {worker} counts"),
    };
    let has = |worker: &WorkerName| copies.iter().any(|(at, held)| *at == worker && is_held(held));
    let Some((at, held)) = best(of.id, copies) else {
        return match &stands.placed {
            // Nobody has it who would be later than the bus.
            Some((worker, stood)) if copies.iter().all(|(_, held)| held.epoch <= stood.epoch) => {
                counts(worker, true)
            }
            _ => Verdict::none(String::new()),
        };
    };
    let others: Vec<&str> = copies
        .iter()
        .filter(|(other, _)| *other != at && has(other))
        .map(|(other, _)| other.as_str())
        .collect();
    let known = stands.placed.as_ref().filter(|(worker, stood)| {
        let later = worker == at && is_later(&held.placement, stood);
        held.placement.epoch <= stood.epoch && !later
    });
    let counted = known.map_or(held.placement.epoch, |(_, stood)| stood.epoch);
    if let Some((later, epoch)) = later_elsewhere(of.id, copies, at, counted) {
        let reason =
            format!("{later} knows it under epoch {epoch}, which is later; it is placed anew");
        let alone = others.is_empty() && known.is_none_or(|(worker, _)| worker == at);
        let raise = terms.force || (alone && held.placement.spec.exclusive);
        return Verdict { raise, ..Verdict::none(reason) };
    }
    if let Some((worker, _)) = known {
        return counts(worker, true);
    }
    let doubt = match &stands.placed {
        Some((worker, stood)) if at != worker && has(worker) => {
            Some(format!("{worker}, where the bus has it under epoch {}, has it, too", stood.epoch))
        }
        Some((worker, stood)) if at != worker => {
            let silent = terms.silent.iter().find(|(silent, _)| silent == worker);
            let epoch = stood.epoch;
            silent.map(|(_, why)| {
                format!(
                    "{worker}, where the bus has it under epoch {epoch}, does not say so: {why}"
                )
            })
        }
        Some(_) => None,
        None if held.epoch < stands.removed => {
            return Verdict::none(format!("it was taken away under epoch {}", stands.removed));
        }
        None if !others.is_empty() => Some(format!("{} has it, too", others.join(", "))),
        None if !terms.silent.is_empty() => Some(silence(terms.silent)),
        None => None,
    };
    match doubt {
        Some(reason) if !terms.force => Verdict::none(reason),
        _ if held.placement.revision > of.revision => {
            let (its, known) = (held.placement.revision, of.revision);
            Verdict::none(format!("it is of revision {its}, and the program was left at {known}"))
        }
        _ => counts(at, false),
    }
}

/// Where an instance that is placed anew was, and the epoch that it must exceed.
fn anew(
    of: Of,
    copies: &[Copy<'_>],
    stands: &Stands,
    verdict: &Verdict,
) -> Option<(WorkerName, Epoch)> {
    let best = best(of.id, copies);
    let somebody = copies.iter().any(|(_, held)| is_held(held));
    if verdict.winner.is_some() || (somebody && !verdict.raise) {
        return None;
    }
    let (at, held) = copies.iter().max_by_key(|(_, held)| held.epoch)?;
    let stood = stands.placed.as_ref().map(|(worker, _)| worker);
    let key = stood.or(best.map(|(at, _)| at)).unwrap_or(at);
    (stands.latest() < held.epoch).then(|| (key.clone(), held.epoch))
}

/// The copy of this program that was placed last; of two, the one with a child.
fn best<'a>(program: ProgramId, copies: &[Copy<'a>]) -> Option<Copy<'a>> {
    let of_it = copies.iter().filter(|(_, held)| held.placement.id == program && is_held(held));
    of_it.max_by_key(|(at, held)| (held.epoch, held.pid.is_some(), *at)).copied()
}

/// Who else knows an instance under an epoch above this one, although he does not have it.
fn later_elsewhere<'a>(
    program: ProgramId,
    copies: &[Copy<'a>],
    at: &WorkerName,
    epoch: Epoch,
) -> Option<(&'a WorkerName, Epoch)> {
    let others = copies.iter().filter(|(other, held)| {
        *other != at && !is_held(held) && held.placement.id == program && held.epoch > epoch
    });
    let last = others.max_by_key(|(_, held)| held.epoch);
    last.map(|(other, held)| (*other, held.epoch))
}

/// Whether a worker was told more of a placement than stands on the bus under the same epoch.
fn is_later(held: &Placement, stood: &Placement) -> bool {
    let (has, had) = (held.wanted, stood.wanted);
    let more = has.starts > had.starts || has.restarts > had.restarts || has.reloads > had.reloads;
    // A stop counts nothing: where all else is the same, it is the later of the two.
    let stopped = Wanted { run: true, ..has } == had && !has.run && held.revision == stood.revision;
    let same = (held.id, held.epoch) == (stood.id, stood.epoch);
    same && (held.revision > stood.revision || more || stopped)
}

/// What stands under an instance's key from now on.
pub(super) fn placement(held: &Placement, stands: &Stands) -> Placement {
    let mut placement = held.clone();
    if let Some((_, stood)) = stands.placed.as_ref().filter(|(_, stood)| stood.epoch == held.epoch)
    {
        let (has, had) = (held.wanted, stood.wanted);
        placement.wanted = Wanted {
            run: has.run,
            starts: has.starts.max(had.starts),
            restarts: has.restarts.max(had.restarts),
            reloads: has.reloads.max(had.reloads),
        };
    }
    placement.from = None;
    placement.reason = Some("recovered: it was here".to_owned());
    placement
}

/// Copies of a program that no worker has, with the epoch that they must exceed when they are placed anew:
/// the greatest that is known of any of its instances.
pub(super) fn floors(program: &Program, copies: &[Copy<'_>]) -> Vec<(InstanceId, Epoch)> {
    let of_it = || copies.iter().filter(|(_, held)| held.placement.id == program.id);
    let greatest = of_it().map(|(_, held)| held.epoch).max().unwrap_or_default();
    let missing = |name: &InstanceId| !copies.iter().any(|(_, held)| held.name == *name);
    let declared = program.instances().filter(|_| !program.spec.system);
    declared.filter(missing).map(|name| (name, greatest)).collect()
}

#[cfg(test)]
mod tests;
