//! What goes over the bus while nothing happens (`bus`), and a fleet of 1,000 workers on one server
//! (`crew`).
//!
//! Workers cost messages, instances at rest must not: the same four workers with 10, 1,000 and
//! 10,000 instances. For a great fleet the workers are simulated: see [`crate::member`].

use std::time::Duration;

use crate::clock::{look, millis, now, rest};
use crate::crew::Crew;
use crate::fleet::{self, DEADLINE, Fleet};
use crate::markers::Markers;
use crate::report::{Limit, Report, Who};
use crate::varz::traffic;
use crate::{Outcome, Setting, float, proc};

/// Real workers, and the instances that they have together, at each look.
const WORKERS: usize = 4;
const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// How many times the messages of the least instances those of the most may be.
const GROWTH_MAX: f64 = 1.1;
/// Simulated workers, at each look; the last ones get all instances.
const CREWS: [usize; 2] = [100, 1_000];
/// A program has at most 5,000.
const COPIES_MAX: usize = 5_000;
/// What was started is told, and what was freed is free.
const SETTLE: Duration = Duration::from_secs(10);
const WATCHED: Duration = Duration::from_secs(30);
/// Longer than 10,000 instances take to start, on a busy machine, too.
const START_MAX: Duration = Duration::from_secs(300);
/// Between two looks through the command line.
const LOOK: Duration = Duration::from_millis(200);
/// The lease of all that name none.
const LEASE: u64 = 5;

/// What a fleet costs at rest.
#[derive(Debug, Clone, Copy)]
struct AtRest {
    /// Messages per second: those that the server got, and those that it gave.
    to_server: f64,
    from_server: f64,
    /// Of a core, in percent.
    server: f64,
    scheduler: f64,
}

fn at_rest(fleet: &Fleet, setting: Setting) -> Outcome<AtRest> {
    let watched = if setting.short { Duration::from_secs(2) } else { WATCHED };
    rest(if setting.short { Duration::from_secs(2) } else { SETTLE });
    let server = i32::try_from(fleet.nats.pid().ok_or("no server")?)?;
    let scheduler = fleet.pid("s1")?;
    let (begun, before) = (now(), traffic(fleet.monitor)?);
    let ticks = (proc::ticks(server)?, proc::ticks(scheduler)?);
    rest(watched);
    let after = traffic(fleet.monitor)?;
    let seconds = now().since(begun).as_secs_f64();
    let per_second =
        |count: u64| Ok::<_, Box<dyn std::error::Error>>(float(usize::try_from(count)?) / seconds);
    Ok(AtRest {
        to_server: per_second(after.from_clients - before.from_clients)?,
        from_server: per_second(after.to_clients - before.to_clients)?,
        server: f64::from(proc::ticks(server)? - ticks.0) / seconds,
        scheduler: f64::from(proc::ticks(scheduler)? - ticks.1) / seconds,
    })
}

impl AtRest {
    fn messages(&self) -> f64 {
        self.to_server + self.from_server
    }

    fn told(&self, report: &mut Report, of: &str) {
        let mut row = |what: &str, unit, number| {
            report.row(Who::Ours, &format!("{of} at rest: {what}"), unit, vec![number]);
        };
        row("messages to the server", "1/s", self.to_server);
        row("messages from the server", "1/s", self.from_server);
        row("time of nats-server", "% of a core", self.server);
        row("time of a scheduler", "% of a core", self.scheduler);
    }
}

fn sleepers(size: usize) -> String {
    let sleep = ["sleep", "1000000"].map(str::to_owned);
    let quiet = "stdout_logfile = \"NONE\"\nstderr_logfile = \"NONE\"";
    (0..size.div_ceil(COPIES_MAX))
        .map(|n| {
            let copies = COPIES_MAX.min(size - n * COPIES_MAX);
            fleet::program(&format!("rest{n}"), &sleep, &format!("numprocs = {copies}\n{quiet}"))
        })
        .collect()
}

/// Real workers, more and more instances.
pub(crate) fn instances(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    let fleet = Fleet::start(2, WORKERS)?;
    let mut all = Vec::new();
    for size in SIZES {
        let size = setting.rounds(size, size.min(40));
        let begun = now();
        fleet.ask_for(&sleepers(size))?;
        look("all to run", START_MAX, LOOK, || {
            let rows = fleet.rows(&["status"])?;
            let running = rows.iter().filter(|row| row["state"] == "RUNNING").count();
            Ok((running == size).then_some(()))
        })?;
        let of = format!("{WORKERS} workers, {size} instances");
        report.row(
            Who::Ours,
            &format!("{of}: apply to the last told RUNNING"),
            "s",
            vec![now().since(begun).as_secs_f64()],
        );
        let seen = at_rest(&fleet, setting)?;
        seen.told(&mut report, &of);
        all.push(seen.messages());
    }
    let what = format!("messages at rest, most instances / fewest, same {WORKERS} workers");
    let both = (all.last().copied(), all.first().copied());
    report.ratio(&what, both, Some(Limit::AtMost(GROWTH_MAX)));
    Ok(report)
}

/// Simulated workers, more and more.
pub(crate) fn workers(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    let fleet = Fleet::start(1, 0)?;
    let mut crew = Crew::new(&fleet.nats.url())?;
    let mut all = Vec::new();
    for size in CREWS {
        let size = setting.rounds(size, size.min(20));
        let begun = now();
        crew.grow_to(size)?;
        look("all workers to be ready", DEADLINE, LOOK, || {
            let rows = fleet.rows(&["workers"])?;
            let ready = rows.iter().filter(|row| row["state"] == "ready").count();
            Ok((ready == size).then_some(()))
        })?;
        let of = format!("{size} simulated workers");
        report.row(
            Who::Ours,
            &format!("{of}: until all are ready"),
            "s",
            vec![now().since(begun).as_secs_f64()],
        );
        let seen = at_rest(&fleet, setting)?;
        seen.told(&mut report, &format!("{of}, no instances"));
        all.push(seen.messages() / float(size));
    }
    let size = setting.rounds(CREWS[1], 20);
    let count = setting.rounds(SIZES[2], 40);
    let of = format!("{size} simulated workers, {count} instances");
    let mut told = crew.watch()?;
    let begun = now();
    fleet.ask_for(&sleepers(count))?;
    let last = crew.all_running(&mut told, (count, START_MAX), |_| true)?;
    report.row(
        Who::Ours,
        &format!("{of}: apply to the last told RUNNING"),
        "s",
        vec![last.since(begun).as_secs_f64()],
    );
    drop(told);
    let seen = at_rest(&fleet, setting)?;
    seen.told(&mut report, &of);
    let kib = f64::from(proc::pss(fleet.pid("s1")?)?);
    report.row(Who::Ours, &format!("{of}: memory of a scheduler"), "MiB", vec![kib / 1024.0]);
    lose(&fleet, &mut crew, count, &mut report)?;
    let failed = crew.failed();
    if failed > 0 {
        return Err(format!("{failed} simulated workers ended by themselves").into());
    }
    let what = format!("messages at rest of {size} workers, by {count} instances");
    all.push(seen.messages() / float(size));
    report.ratio(
        &what,
        (all.get(2).copied(), all.get(1).copied()),
        Some(Limit::AtMost(GROWTH_MAX)),
    );
    let what = "messages at rest per worker, many workers / few";
    report.ratio(what, (all.get(1).copied(), all.first().copied()), None);
    Ok(report)
}

/// One of many workers is lost, with all its instances.
fn lose(fleet: &Fleet, crew: &mut Crew, count: usize, report: &mut Report) -> Outcome<()> {
    const LOST: &str = "m0007";
    let markers = Markers::watch(&fleet.nats.url())?;
    let mut told = crew.watch()?;
    crew.all_running(&mut told, (count, START_MAX), |_| true)?;
    let instances = told.on(LOST);
    crew.lose(LOST)?;
    let begun = now();
    let moved = crew.all_running(&mut told, (count, DEADLINE), |told| told.on(LOST) == 0)?;
    let marker = markers.next(LOST, LEASE)?;
    let of = format!("a simulated worker with {instances} instances is lost");
    report.row(
        Who::Ours,
        &format!("{of}: marker stored to the last told RUNNING elsewhere"),
        "ms",
        vec![millis(moved.since(marker.stored))],
    );
    report.row(
        Who::Ours,
        &format!("{of}: to the last told RUNNING elsewhere"),
        "s",
        vec![moved.since(begun).as_secs_f64()],
    );
    Ok(())
}
