//! What was seen, judged; pure.

use std::collections::BTreeMap;

use crate::chaos::{Options, Seen};
use crate::clock::{SECOND, millis};
use crate::ear::Placed;
use crate::inject::Done;
use crate::kind::{self, Act, Kind, Part};
use crate::lives::{self, Overlap};
use crate::programs;
use crate::report::{KindReport, Report, Spread, Thawed};

/// A worker that is well again may still be judged, and a batch be written, for so long.
const MOVES_AFTER: u64 = 10 * SECOND;
/// A child of a machine that thaws lives for moments; one that lives longer is no matter of the thaw.
const THAW_MAX: u64 = 5 * SECOND;

/// A move of an instance that nobody commands.
#[derive(Debug, Clone)]
struct Move {
    placed: Placed,
    from: String,
}

/// Judges a run.
pub(crate) fn judge(seen: &Seen, options: &Options) -> Report {
    let moves = moves(&seen.heard.placed);
    let (thawed, overlaps) = overlaps(seen);
    let mut problems: Vec<String> = overlaps.iter().map(overlap_told).collect();
    let exclusive_overlaps = overlaps.len();
    let needed = |one: &&Move| seen.faults.iter().any(|fault| explains(fault, one));
    let unneeded: Vec<&Move> = moves.iter().filter(|one| !needed(one)).collect();
    problems.extend(unneeded.iter().map(|one| {
        let Placed { instance, to, epoch, at, reason } = &one.placed;
        let after = millis(seen.from, *at);
        format!("unneeded move of {instance} from {} to {to}, epoch {epoch}, {after} ms after the begin: {reason}", one.from)
    }));
    let gaps = seen.heard.gaps(&seen.last);
    problems.extend(gaps.iter().map(|gap| format!("lost events: {gap}")));
    problems.extend(seen.lost_commands.iter().map(|lost| format!("lost command: {lost}")));
    problems.extend(seen.not_calm.iter().map(|wrong| format!("not as wanted: {wrong}")));
    if thawed.taken > 0 {
        problems.push(format!("{} writes under an old epoch were taken", thawed.taken));
    }
    let answered = || seen.ledgers.iter().flat_map(|ledger| &ledger.answered);
    let lossy = |one: &&Move| {
        let of = |fault: &&Done| explains(fault, one);
        seen.faults.iter().filter(of).all(|fault| fault.kind == "worker-loss") && needed(one)
    };
    Report {
        seed: options.seed,
        date: String::new(),
        machine: BTreeMap::new(),
        seconds: millis(seen.from, seen.until) / 1000,
        faults: seen.faults.len(),
        kinds: options.kinds.iter().flat_map(|kind| of_kind(kind, seen, &moves)).collect(),
        no_network: None,
        exclusive_overlaps: exclusive_overlaps + thawed.taken,
        unneeded_moves: unneeded.len(),
        lost_commands: seen.lost_commands.len(),
        lost_events: gaps.len(),
        not_calm: seen.not_calm.len(),
        thawed,
        moves: moves.len(),
        moves_on_lossy_links: moves.iter().filter(lossy).count(),
        events: seen.heard.total,
        events_twice: seen.heard.twice,
        commands: answered().count(),
        commands_sent_again: answered().filter(|one| one.sent > 1).count(),
        lives: seen.lives.len(),
        commands_ms: Spread::of(answered().map(|one| millis(one.from, one.until)).collect()),
        calm_ms: Spread::of(seen.calm_millis.clone()),
        ended_by_themselves: Vec::new(),
        problems,
    }
}

/// Placements that changed an instance's worker, of instances that nobody commands.
fn moves(placed: &[Placed]) -> Vec<Move> {
    let mut by: BTreeMap<&str, Vec<&Placed>> = BTreeMap::new();
    for one in placed.iter().filter(|one| programs::always_runs(&one.instance)) {
        by.entry(&one.instance).or_default().push(one);
    }
    let mut moves = Vec::new();
    for mut places in by.into_values() {
        places.sort_by_key(|one| one.epoch);
        for pair in places.windows(2) {
            if pair[0].to != pair[1].to {
                moves.push(Move { placed: pair[1].clone(), from: pair[0].to.clone() });
            }
        }
    }
    moves
}

/// Whether a fault is why an instance may have left its worker.
fn explains(fault: &Done, one: &Move) -> bool {
    let may = kind::named(&fault.kind).is_some_and(|kind| kind.may_move);
    may && fault.host == one.from
        && fault.from <= one.placed.at
        && one.placed.at <= fault.until + MOVES_AFTER
}

/// Overlaps that the thaw of a machine explains, and the others.
fn overlaps(seen: &Seen) -> (Thawed, Vec<Overlap>) {
    let freezes = seen.faults.iter().filter(|fault| {
        kind::named(&fault.kind).is_some_and(|k| k.act == Act::Freeze(Part::Machine))
    });
    let freezes: Vec<&Done> = freezes.collect();
    let mut thawed = Thawed::default();
    let mut others = Vec::new();
    for overlap in lives::overlaps(&seen.lives, programs::is_exclusive) {
        let thaw = freezes.iter().find(|freeze| {
            freeze.host == overlap.old.worker
                && overlap.old.first < freeze.from
                && freeze.from < overlap.new.first
                && freeze.until < overlap.old.last
                && overlap.old.last < freeze.until + THAW_MAX
        });
        match thaw {
            Some(freeze) => {
                thawed.overlaps += 1;
                thawed.lived_ms.push(millis(freeze.until, overlap.old.last));
            }
            None => others.push(overlap),
        }
    }
    let mut exclusive: Vec<&str> = seen.lives.iter().map(|life| life.instance.as_str()).collect();
    exclusive.sort_unstable();
    exclusive.dedup();
    for instance in exclusive.into_iter().filter(|name| programs::is_exclusive(name)) {
        let (_, refused, taken) = lives::store(&seen.directory, instance);
        thawed.refused += refused;
        thawed.taken += taken;
    }
    (thawed, others)
}

fn overlap_told(overlap: &Overlap) -> String {
    let Overlap { old, new, from, until } = overlap;
    format!(
        "two copies of {} for {} ms: pid {} on {} epoch {} beside pid {} on {} epoch {}, from {from}",
        old.instance,
        millis(*from, *until),
        old.pid,
        old.worker,
        old.epoch,
        new.pid,
        new.worker,
        new.epoch
    )
}

/// One report for each length in which it came alone.
fn of_kind(kind: &Kind, seen: &Seen, moves: &[Move]) -> Vec<KindReport> {
    let mut lengths: Vec<u64> = seen
        .settled
        .iter()
        .filter(|(done, _)| done.kind == kind.name)
        .map(|(done, _)| done.hold_ms)
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    if lengths.is_empty() {
        lengths.push(0);
    }
    lengths.into_iter().map(|hold_ms| of_length(kind, hold_ms, seen, moves)).collect()
}

fn of_length(kind: &Kind, hold_ms: u64, seen: &Seen, moves: &[Move]) -> KindReport {
    let of = |done: &&Done| done.kind == kind.name;
    let windows: Vec<(u64, u64)> = seen
        .settled
        .iter()
        .filter(|(done, _)| done.kind == kind.name && done.hold_ms == hold_ms)
        .map(|(done, settled)| (done.from, *settled))
        .collect();
    let without = |program: &str| {
        let outages = lives::outages(&seen.lives, seen.until, |name| name.starts_with(program));
        let longest = windows.iter().map(|(from, until)| {
            let within = outages.iter().filter(|o| o.until > *from && o.from < *until);
            within.map(|o| millis(o.from, o.until)).max().unwrap_or(0)
        });
        Spread::of(longest.collect())
    };
    let waited = windows.iter().filter_map(|(from, until)| {
        let answered = seen.ledgers.iter().flat_map(|ledger| &ledger.answered);
        let within = answered.filter(|one| one.until > *from && one.from < *until);
        within.map(|one| millis(one.from, one.until)).max()
    });
    let gone = moves
        .iter()
        .filter(|one| windows.iter().any(|(from, until)| (*from..*until).contains(&one.placed.at)));
    KindReport {
        name: kind.name.to_owned(),
        hold_ms,
        injected: seen.faults.iter().filter(of).count(),
        alone: windows.len(),
        ordinary: without("web:"),
        exclusive_5: without("single:"),
        exclusive_15: without("patient:"),
        commands: Spread::of(waited.collect()),
        moves: gone.count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: &str, host: &str, from: u64, until: u64) -> Done {
        let (kind, host) = (kind.to_owned(), host.to_owned());
        Done {
            kind,
            host,
            to: String::new(),
            from: from * SECOND,
            until: until * SECOND,
            hold_ms: 0,
            alone: false,
        }
    }

    fn placed(to: &str, epoch: u64, at: u64) -> Placed {
        Placed {
            instance: "web:0".to_owned(),
            to: to.to_owned(),
            epoch,
            at: at * SECOND,
            reason: String::new(),
        }
    }

    #[test]
    fn a_move_needs_a_fault_of_its_worker() {
        // A cut-off worker's late events may come after its successor's: epochs order them.
        let moves = moves(&[placed("w2", 5, 70), placed("w1", 3, 1), placed("w2", 9, 90)]);
        assert_eq!(moves.len(), 1, "the last one is a placement where it was: {moves:?}");
        assert_eq!((&*moves[0].from, &*moves[0].placed.to), ("w1", "w2"));
        let explained = |fault: &Done| explains(fault, &moves[0]);
        assert!(explained(&fault("worker-cut", "w1", 60, 65)));
        assert!(!explained(&fault("worker-cut", "w2", 60, 65)), "another worker's");
        assert!(!explained(&fault("worker-cut", "w1", 71, 75)), "later");
        assert!(!explained(&fault("worker-cut", "w1", 40, 50)), "long over");
        for harmless in ["agent-kill", "child-freeze", "worker-slow", "leader-kill"] {
            assert!(!explained(&fault(harmless, "w1", 60, 65)), "{harmless}");
        }
    }
}
