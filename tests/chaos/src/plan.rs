//! Which faults come when: a function of the seed.
//!
//! Rounds of three themes take turns, and each ends in calm, when all must be as wanted:
//! - alone: one fault after the other, calm between them, so that what it does can be measured; each
//!   briefly, and longer than every `touch_timeout`;
//! - quiet: faults overlap, but none for which an instance may move: any move is wrong;
//! - all: everything overlaps.

use std::time::Duration;

use fastrand::Rng;

use crate::kind::{KINDS, Kind, Role};

/// Faults of a round in which they come one by one.
const ALONE_ROUND: usize = 11;
/// A fault that is over before any lease expires.
pub(crate) const BRIEF: Duration = Duration::from_secs(2);
/// A fault that outlasts every lease: the longest `touch_timeout` is 15 s.
pub(crate) const LONG: Duration = Duration::from_secs(18);
/// Faults of a round in which they overlap.
const ROUND: usize = 30;
/// Of a hundred overlapping faults, so many are done to NATS servers: these wait for each other,
/// since two of three must be well.
const NATS_PERCENT: usize = 15;

/// A fault to come.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) kind: &'static Kind,
    /// Which of the hosts, or of the children, of that role; modulo how many there are.
    pub(crate) which: usize,
    /// How long it lasts, or how long what it ended rests.
    pub(crate) hold: Duration,
    /// How long it is until the next one.
    pub(crate) then: Duration,
}

/// What a round is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    Alone,
    Quiet,
    All,
}

/// Faults between two calms.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) theme: Theme,
    pub(crate) faults: Vec<Planned>,
}

/// All rounds: `faults` in all, each kind `alone` times by itself, briefly and long, where there is
/// room for that.
pub(crate) fn rounds(
    seed: u64,
    faults: usize,
    alone: usize,
    kinds: &[&'static Kind],
) -> Vec<Round> {
    let mut rng = Rng::with_seed(seed);
    let mut singles = Vec::new();
    for kind in (0..alone).flat_map(|_| kinds.iter().copied()) {
        singles.push(Planned { hold: BRIEF, ..planned(&mut rng, kind) });
        if !kind.is_instant() {
            singles.push(Planned { hold: LONG, ..planned(&mut rng, kind) });
        }
    }
    rng.shuffle(&mut singles);
    singles.truncate(faults);
    let mut apart: Vec<Round> = singles
        .chunks(ALONE_ROUND)
        .map(|faults| Round { theme: Theme::Alone, faults: faults.to_vec() })
        .collect();
    let mut together = Vec::new();
    let mut left = faults - singles.len();
    let quiet: Vec<_> = kinds.iter().copied().filter(|kind| !kind.may_move).collect();
    while left > 0 {
        let of_quiet = together.len() % 3 == 2 && !quiet.is_empty();
        let (theme, of) = if of_quiet { (Theme::Quiet, &*quiet) } else { (Theme::All, kinds) };
        let size = left.min(ROUND);
        let faults = (0..size)
            .map(|_| {
                let kind = pick(&mut rng, of);
                planned(&mut rng, kind)
            })
            .collect();
        together.push(Round { theme, faults });
        left -= size;
    }
    // They take turns, so that a run that is ended early has had both.
    let mut rounds = Vec::new();
    let total = apart.len() + together.len();
    let share = apart.len();
    for number in 0..total {
        let due = share * (number + 1) / total > share * number / total;
        let from = if (due && !apart.is_empty()) || together.is_empty() {
            &mut apart
        } else {
            &mut together
        };
        rounds.push(from.remove(0));
    }
    rounds
}

fn pick(rng: &mut Rng, of: &[&'static Kind]) -> &'static Kind {
    let (nats, others): (Vec<_>, Vec<_>) =
        of.iter().copied().partition(|kind| kind.role == Role::Nats);
    let from = if others.is_empty() || (rng.usize(0..100) < NATS_PERCENT && !nats.is_empty()) {
        nats
    } else {
        others
    };
    rng.choice(from).unwrap_or(&KINDS[0])
}

fn planned(rng: &mut Rng, kind: &'static Kind) -> Planned {
    let hold = match (kind.role, kind.lasts(), rng.u32(0..100)) {
        (Role::Nats, _, 0..75) => rng.u64(500..4_000),
        (Role::Nats, ..) => rng.u64(4_000..10_000),
        (_, false, 0..60) => rng.u64(100..2_000),
        (_, true, 0..50) => rng.u64(500..3_000),
        (_, _, 0..85) => rng.u64(3_000..8_000),
        _ => rng.u64(8_000..20_000),
    };
    Planned {
        kind,
        which: rng.usize(0..1000),
        hold: Duration::from_millis(hold),
        then: Duration::from_millis(rng.u64(50..1_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rounds: &[Round]) -> String {
        format!("{rounds:?}")
    }

    #[test]
    fn a_seed_gives_the_same_again() {
        let all: Vec<_> = KINDS.iter().collect();
        let plan = |seed| rounds(seed, 300, 2, &all);
        assert_eq!(told(&plan(7)), told(&plan(7)));
        assert_ne!(told(&plan(7)), told(&plan(8)));
        let plan = plan(7);
        assert_eq!(plan.iter().map(|round| round.faults.len()).sum::<usize>(), 300);
        let alone = plan.iter().filter(|round| round.theme == Theme::Alone);
        let alone: Vec<&Planned> = alone.flat_map(|round| &round.faults).collect();
        for kind in KINDS {
            let of =
                |hold| alone.iter().filter(|f| f.kind.name == kind.name && f.hold == hold).count();
            let long = if kind.is_instant() { 0 } else { 2 };
            assert_eq!((of(BRIEF), of(LONG)), (2, long), "{}", kind.name);
        }
    }

    #[test]
    fn in_a_quiet_round_nothing_may_move() {
        let all: Vec<_> = KINDS.iter().collect();
        let plan = rounds(1, 1000, 0, &all);
        let quiet: Vec<_> = plan.iter().filter(|round| round.theme == Theme::Quiet).collect();
        assert!(!quiet.is_empty());
        assert!(quiet.iter().all(|r| r.faults.iter().all(|f| !f.kind.may_move)));
    }

    #[test]
    fn a_single_kind_is_enough() {
        for kind in KINDS {
            let plan = rounds(1, 40, 3, &[kind]);
            assert_eq!(plan.iter().map(|round| round.faults.len()).sum::<usize>(), 40);
        }
    }
}
