//! `./run simulate`: many seeds on all cores, or one of them with its trace.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use dsbus_simulation::{Outcome, Planted, Setup, run, search, seconds};

/// Of a failure's trace, so many seconds before it are shown.
const SHOWN_SECONDS: f64 = 12.0;
/// Failures that are shown.
const SHOWN_FAILURES: usize = 20;

/// Runs whole fleets on a virtual clock, and checks that every invariant holds whatever fails.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds; with --rules, those that need more are left out
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Only this one
    #[arg(long)]
    seed: Option<u64>,
    /// Show everything that happened
    #[arg(long)]
    trace: bool,
    /// Take each rule out of dsbus, and see that it is found
    #[arg(long)]
    rules: bool,
    /// Take one rule out of dsbus, and see what comes of it
    #[arg(long, value_parser = rule)]
    planted: Option<Planted>,
}

fn rule(name: &str) -> Result<Planted, String> {
    let names = || Planted::ALL.map(|p| format!("{p:?}")).join(", ");
    Planted::parse(name).ok_or_else(|| format!("one of {}", names()))
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let setup = Setup { planted: args.planted, ..Setup::default() };
    let failed = match args.seed {
        _ if args.rules => each_rule(args.first, args.seeds)?,
        Some(seed) => one(seed, &setup, args.trace)?,
        None => many(args.first, args.seeds, &setup)?,
    };
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Takes each rule out that is missed within so many seeds; says whether one was not missed.
fn each_rule(first: u64, most: u64) -> io::Result<bool> {
    let mut unfound = false;
    for planted in Planted::ALL {
        let mut out = io::stdout().lock();
        let Some((seeds, invariants)) = planted.found() else {
            writeln!(out, "{planted:?}: an optimisation only, or too rare")?;
            continue;
        };
        if seeds > most {
            writeln!(out, "{planted:?}: left out, it needs up to {seeds} seeds")?;
            continue;
        }
        let setup = Setup { planted: Some(planted), ..Setup::default() };
        match search(first..first + seeds, &setup) {
            Some((seed, failure)) if invariants.contains(&failure.invariant) => {
                writeln!(out, "{planted:?}: seed {seed}, {failure}")?;
            }
            Some((seed, failure)) => {
                unfound = true;
                writeln!(out, "{planted:?}: seed {seed}, but {failure}")?;
            }
            None => {
                unfound = true;
                writeln!(out, "{planted:?}: not found within {seeds} seeds")?;
            }
        }
    }
    Ok(unfound)
}

/// Runs one seed; says whether it failed.
fn one(seed: u64, setup: &Setup, all: bool) -> io::Result<bool> {
    let outcome = run(seed, &Setup { trace: true, ..setup.clone() });
    show(seed, &outcome, all)?;
    if outcome.failure.is_none() {
        writeln!(io::stdout(), "seed {seed} passed: {:?}", outcome.counts)?;
    }
    Ok(outcome.failure.is_some())
}

fn show(seed: u64, outcome: &Outcome, all: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let end = outcome.failure.as_ref().map_or(f64::MAX, |failure| seconds(failure.at));
    let from = if all { 0.0 } else { end - SHOWN_SECONDS };
    for (at, line) in outcome.trace.iter().filter(|(at, _)| seconds(*at) >= from) {
        writeln!(out, "{:9.4}  {line}", seconds(*at))?;
    }
    if let Some(failure) = &outcome.failure {
        writeln!(out, "seed {seed} failed: {failure}")?;
    }
    Ok(())
}

/// Runs many seeds on all cores; says whether one failed.
fn many(first: u64, seeds: u64, setup: &Setup) -> io::Result<bool> {
    let (next, events, moves) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return;
                    }
                    let Outcome { counts, failure, .. } = run(seed, setup);
                    events.fetch_add(counts.events, Ordering::Relaxed);
                    moves.fetch_add(counts.moves, Ordering::Relaxed);
                    if let Some(failure) = failure {
                        let mut all = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        all.push((seed, failure));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|(seed, _)| *seed);
    if let Some((seed, _)) = failures.first() {
        show(*seed, &run(*seed, &Setup { trace: true, ..setup.clone() }), false)?;
    }
    let mut out = io::stdout().lock();
    for (seed, failure) in failures.iter().take(SHOWN_FAILURES) {
        writeln!(out, "seed {seed}: {failure}")?;
    }
    let mut by_kind = BTreeMap::new();
    for (_, failure) in &failures {
        *by_kind.entry(format!("{:?}", failure.invariant)).or_insert(0) += 1;
    }
    for (invariant, count) in by_kind {
        writeln!(out, "{invariant}: {count}")?;
    }
    let (failed, events) = (failures.len(), events.into_inner());
    let moves = moves.into_inner();
    writeln!(out, "{seeds} seeds, {events} events, {moves} moves: {failed} failed")?;
    if let Some((seed, _)) = failures.first() {
        writeln!(out, "again: ./run simulate --seed {seed} --trace")?;
    }
    Ok(failed > 0)
}
