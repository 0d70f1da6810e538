//! Some hundred fleets: every invariant holds, whatever fails. `./run simulate` runs ten thousand.

use dsbus_simulation::{Setup, run, search};

/// As many as a build that is not optimised runs in some seconds.
const SEEDS: u64 = 100;

#[test]
fn every_invariant_holds_whatever_fails() {
    let found = search(0..SEEDS, &Setup::default());
    assert!(found.is_none(), "{found:?}: ./run simulate --seed N --trace shows what happened");
}

#[test]
fn a_seed_says_everything() {
    for seed in 0..5 {
        let setup = Setup { trace: true, ..Setup::default() };
        let (once, again) = (run(seed, &setup), run(seed, &setup));
        assert_eq!(once.counts, again.counts);
        assert_eq!(once.trace, again.trace);
    }
}

#[test]
fn much_happens() {
    let outcomes: Vec<_> = (0..20).map(|seed| run(seed, &Setup::default()).counts).collect();
    let sum = |count: fn(&dsbus_simulation::Counts) -> u64| outcomes.iter().map(count).sum::<u64>();
    assert!(sum(|c| c.faults) > 100 && sum(|c| c.births) > 150, "{outcomes:?}");
    assert!(sum(|c| c.moves) > 5 && sum(|c| c.losses) > 20, "{outcomes:?}");
    assert!(sum(|c| c.acknowledged) > 100 && sum(|c| c.refused) > 20, "{outcomes:?}");
}
