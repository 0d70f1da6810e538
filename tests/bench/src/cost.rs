//! What a fleet of 300 instances on three workers costs.

use std::time::Duration;

use crate::births::Births;
use crate::clock::{look, millis, now, rest};
use crate::fleet::{self, DEADLINE, Fleet};
use crate::report::{Report, Who};
use crate::{Outcome, Setting, floor, proc};

/// Instances of the fleet that is measured.
const INSTANCES: usize = 300;
/// How long a fleet at rest is watched.
const REST: Duration = Duration::from_secs(20);
/// Crashes, and losses of a worker, that are timed.
const CRASHES: usize = 50;
const LOSSES: usize = 5;
/// Between two looks through the command line.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let births = Births::listen()?;
    let mut fleet = Fleet::start(2, 3)?;
    let mut report = Report::default();
    let declared = |copies: usize| {
        let copies = format!("numprocs = {copies}");
        fleet::program("rest", &births.command("rest", &[]), &copies)
    };
    let instances = setting.rounds(INSTANCES, 30);
    fleet.apply(&declared(3))?;
    at_rest(&fleet, setting, 3, &mut report)?;
    let begun = now();
    fleet.apply(&declared(instances))?;
    let seconds = now().since(begun).as_secs_f64();
    let what = format!("apply of {instances} instances to the last one RUNNING");
    report.row(Who::Ours, &what, "s", vec![seconds]);
    let children = births.take("rest", instances)?;
    at_rest(&fleet, setting, instances, &mut report)?;
    let crashes = children.iter().take(setting.rounds(CRASHES, 5)).map(|child| {
        let begun = now();
        floor::shoot(child.pid)?;
        Ok(millis(births.next("rest")?.at.since(begun)))
    });
    let crashes = crashes.collect::<Outcome<_>>()?;
    report.row(Who::Ours, "kill -9 of a child to its successor's start", "ms", crashes);
    fleet.apply(&declared(3))?;
    look("three instances", DEADLINE, LOOK, || {
        Ok((fleet.rows(&["status"])?.len() == 3).then_some(()))
    })?;
    let losses =
        (0..setting.rounds(LOSSES, 1)).map(|n| loss(&mut fleet, ["w1", "w2", "w3"][n % 3]));
    let losses = losses.collect::<Outcome<_>>()?;
    let what = "kill -9 of a worker to its instances RUNNING elsewhere, touch_timeout 5 s";
    report.row(Who::Ours, what, "s", losses);
    Ok(report)
}

/// Memory and time of a worker and a scheduler while nothing happens.
fn at_rest(fleet: &Fleet, setting: Setting, size: usize, report: &mut Report) -> Outcome<()> {
    let watched = if setting.short { Duration::from_secs(2) } else { REST };
    let (supervisor, agent) = fleet.pids("w1")?;
    let sides = [
        ("a worker (both processes)", vec![supervisor, agent]),
        ("a scheduler", vec![fleet.pid("s1")?]),
    ];
    let ticks = |pids: &[i32]| pids.iter().map(|pid| proc::ticks(*pid)).sum::<Outcome<u32>>();
    let before = sides.iter().map(|(_, pids)| ticks(pids)).collect::<Outcome<Vec<_>>>()?;
    rest(watched);
    for ((who, pids), before) in sides.iter().zip(before) {
        let share = f64::from(ticks(pids)? - before) / watched.as_secs_f64();
        let kib = pids.iter().map(|pid| proc::pss(*pid)).sum::<Outcome<u32>>()?;
        let of = format!("{who} at rest, {size} instances");
        report.row(Who::Ours, &format!("memory of {of}"), "MiB", vec![f64::from(kib) / 1024.0]);
        report.row(Who::Ours, &format!("time of {of}"), "% of a core", vec![share]);
    }
    Ok(())
}

/// How long after a kill -9 of both of its processes all of a worker's instances run elsewhere.
fn loss(fleet: &mut Fleet, name: &str) -> Outcome<f64> {
    let (supervisor, agent) = fleet.pids(name)?;
    let begun = now();
    floor::shoot(agent)?;
    floor::shoot(supervisor)?;
    look("its instances to run elsewhere", DEADLINE, LOOK, || {
        let rows = fleet.rows(&["status"])?;
        let elsewhere = rows.iter().all(|r| r["state"] == "RUNNING" && r["worker"] != name);
        Ok(elsewhere.then_some(()))
    })?;
    let seconds = now().since(begun).as_secs_f64();
    fleet.bury(name)?;
    fleet.worker(name)?;
    Ok(seconds)
}
