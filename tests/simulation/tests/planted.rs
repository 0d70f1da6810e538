//! The simulation finds each rule that is taken out of dsbus, or what it costs. Without any of this
//! it finds nothing (`short.rs`). Rules that take many seeds to be missed are looked for by
//! `./run simulate --rules`, which runs an optimised build.

use dsbus_simulation::{Planted, Setup, run, search};

/// What takes more seeds is left to an optimised build.
const SEEDS_MAX: u64 = 200;

#[test]
fn each_rule_is_missed() {
    for planted in Planted::ALL {
        let Some((seeds, invariants)) = planted.found() else { continue };
        if seeds > SEEDS_MAX {
            continue;
        }
        let setup = Setup { planted: Some(planted), ..Setup::default() };
        let found = search(0..seeds, &setup);
        let (_, failure) = found.unwrap_or_else(|| panic!("{planted:?} is not found"));
        assert!(invariants.contains(&failure.invariant), "{planted:?}: {failure}");
    }
}

/// Rule 11 is an optimisation: without it all goes well, and many more races are lost.
#[test]
fn without_turns_many_races_are_lost() {
    let lost = |planted| {
        let setup = Setup { planted, ..Setup::default() };
        let outcomes = (0..30).map(|seed| run(seed, &setup));
        outcomes.map(|outcome| outcome.counts.lost_races).sum::<u64>()
    };
    let (with, without) = (lost(None), lost(Some(Planted::NoTurn)));
    assert!(without > 3 * with, "{with} races are lost with turns, and {without} without");
}
