//! How long after a worker is lost its instances run elsewhere.
//!
//! The lost one has one instance, or 500. With one, the time begins when the server stores the
//! marker of the expired lease, and ends with the first line of the new child. With 500 it begins
//! when the loss is told or the marker is seen, whichever is later, and is compared with what the
//! same two workers need for 500 instances that are new.

use std::time::Duration;

use crate::births::{Births, Born};
use crate::clock::{Moment, look, millis, now, rest};
use crate::ear::{Ear, Heard};
use crate::fleet::{self, DEADLINE, Fleet};
use crate::floor::{freeze, shoot};
use crate::markers::{Marker, Markers};
use crate::report::{Limit, Report, Samples, Who};
use crate::{Outcome, Setting};

const ROUNDS: usize = 60;
/// The shortest lease there is, so that many rounds fit.
const LEASE: u64 = 2;
/// Goals in ms, of 99 rounds in a hundred: of a worker whose subject nobody answers for, and of one
/// that is silent.
const GONE_MAX: f64 = 100.0;
const SILENT_MAX: f64 = 500.0;
/// Instances of a worker that has many, rounds with them, and how many times as long as new ones
/// they may take.
const MANY: usize = 500;
const MANY_ROUNDS: usize = 5;
const MANY_GOAL: f64 = 1.5;
/// The lease of all that name none, and the worker's presence: its loss is told.
const PRESENCE: u64 = 5;
/// Of a fleet that has been running: by a lease that is new, schedulers judge only when they have
/// themselves touched often enough for it (DESIGN.md section 5, rule 5).
const SETTLE: Duration = Duration::from_secs(5);
/// Between rounds, and between two looks at what was heard.
const REST: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(2);
const WORKERS: [&str; 3] = ["w1", "w2", "w3"];

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    one(setting, &mut report)?;
    many(setting, &mut report)?;
    Ok(report)
}

/// What takes a worker away.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// kill -9 of both of its processes.
    Gone,
    /// Both are stopped where they are.
    Silent,
}

fn one(setting: Setting, report: &mut Report) -> Outcome<()> {
    let births = Births::listen()?;
    let mut fleet = Fleet::start(2, WORKERS.len())?;
    let markers = Markers::watch(&fleet.nats.url())?;
    let lease = format!("touch_timeout = \"{LEASE}s\"");
    fleet.apply(&fleet::program("victim", &births.command("one", &[]), &lease))?;
    births.next("one")?;
    rest(SETTLE);
    let (mut gone, mut silent) = (Vec::new(), Vec::new());
    for _ in 0..setting.rounds(ROUNDS, 2) {
        for (loss, taken) in [(Loss::Gone, &mut gone), (Loss::Silent, &mut silent)] {
            rest(REST);
            taken.push(lose_one(&mut fleet, &births, &markers, loss)?);
        }
    }
    let goals = [("gone (no responders)", gone, GONE_MAX), ("silent", silent, SILENT_MAX)];
    for (how, taken, most) in goals {
        let times = |from: fn(&Marker) -> Moment| -> Vec<f64> {
            taken.iter().map(|(marker, born)| millis(born.at.since(from(marker)))).collect()
        };
        let what = format!("1 instance, worker {how}: marker stored to the new child");
        let stored = report.row(Who::Ours, &what, "ms", times(|marker| marker.stored));
        let what = format!("1 instance, worker {how}: marker seen by a watch to the new child");
        report.row(Who::Ours, &what, "ms", times(|marker| marker.seen));
        if let Some(stored) = stored {
            let what = format!("worker {how}: marker to the new child, p99, ms");
            report.goal(&what, stored.percentile(99), Some(Limit::AtMost(most)));
        }
    }
    Ok(())
}

/// One round: the marker of the worker's lease, and the instance's new child.
fn lose_one(
    fleet: &mut Fleet,
    births: &Births,
    markers: &Markers,
    loss: Loss,
) -> Outcome<(Marker, Born)> {
    let rows = fleet.rows(&["status"])?;
    let worker = rows.first().and_then(|row| row["worker"].as_str()).ok_or("no instance")?;
    let (supervisor, agent) = fleet.pids(worker)?;
    markers.forget();
    let take = match loss {
        Loss::Gone => shoot,
        Loss::Silent => freeze,
    };
    take(agent)?;
    take(supervisor)?;
    let begun = now();
    let marker = markers.next(worker, LEASE)?;
    let born = births.next("one")?;
    if born.at < begun {
        return Err("a child was started before its worker was lost".into());
    }
    if matches!(loss, Loss::Silent) {
        shoot(agent)?;
        shoot(supervisor)?;
    }
    fleet.bury(worker)?;
    fleet.worker(worker)?;
    Ok((marker, born))
}

/// What 500 instances took, in ms.
#[derive(Debug, Default)]
struct Many {
    applied: Vec<f64>,
    declared: Vec<f64>,
    lost: Vec<f64>,
    verified: Vec<f64>,
}

fn many(setting: Setting, report: &mut Report) -> Outcome<()> {
    let births = Births::listen()?;
    let mut fleet = Fleet::start(2, WORKERS.len())?;
    let ear = Ear::listen(fleet.nats.port())?;
    let markers = Markers::watch(&fleet.nats.url())?;
    let instances = setting.rounds(MANY, 20);
    let mut many = Many::default();
    for round in 0..setting.rounds(MANY_ROUNDS, 1) {
        fleet.run(&["cordon", "w1"])?;
        new_ones(&fleet, &births, &ear, (&format!("new{round}"), instances), &mut many)?;
        rest(REST);
        fleet.run(&["uncordon", "w1"])?;
        let sides = (&births, &ear, &markers);
        lost_ones(&mut fleet, sides, (&format!("lost{round}"), instances), &mut many)?;
        rest(REST);
    }
    let mut row = |what: &str, numbers| {
        let what = format!("{instances} instances, {what}");
        report.row(Who::Ours, &what, "ms", numbers)
    };
    let lost = row("the loss verified, to the last new child", many.lost);
    row("the marker stored, to the loss verified", many.verified);
    let new =
        row("new, by the same workers: declared on the bus, to the last child", many.declared);
    row("new, by the same workers: `dsbus apply`, to the last child", many.applied);
    let median = |samples: &Option<Samples>| samples.as_ref().map(Samples::median);
    let both = (median(&lost), median(&new));
    report.ratio(
        "instances of a lost worker / new ones, p50",
        both,
        Some(Limit::AtMost(MANY_GOAL)),
    );
    Ok(())
}

fn new_ones(
    fleet: &Fleet,
    births: &Births,
    ear: &Ear,
    (name, instances): (&str, usize),
    many: &mut Many,
) -> Outcome<()> {
    ear.forget();
    let begun = now();
    fleet.apply(&several(births, name, instances))?;
    let last = last(&births.take(name, instances)?);
    let key = format!("$KV.dsbus_programs.{name}");
    let (_, declared) = ear.last(|heard| heard.subject == key);
    many.applied.push(millis(last.since(begun)));
    many.declared.push(millis(last.since(declared.ok_or("nobody heard of the program")?)));
    fleet.remove(name)
}

fn lost_ones(
    fleet: &mut Fleet,
    (births, ear, markers): (&Births, &Ear, &Markers),
    (name, instances): (&str, usize),
    many: &mut Many,
) -> Outcome<()> {
    fleet.run(&["cordon", "w2", "w3"])?;
    fleet.apply(&several(births, name, instances))?;
    births.take(name, instances)?;
    fleet.run(&["uncordon", "w2", "w3"])?;
    // What was started is told, and every scheduler has heard it.
    rest(REST * 4);
    ear.forget();
    markers.forget();
    let (supervisor, agent) = fleet.pids("w1")?;
    shoot(agent)?;
    shoot(supervisor)?;
    let marker = markers.next("w1", PRESENCE)?;
    let told =
        |h: &Heard| h.subject.contains(".worker.") && h.subject.rsplit('.').next() == Some("LOST");
    let told = look("the loss to be told", DEADLINE, LOOK, || Ok(ear.first(told)))?;
    let verified = told.max(marker.seen);
    many.lost.push(millis(last(&births.take(name, instances)?).since(verified)));
    many.verified.push(millis(verified.since(marker.stored)));
    fleet.bury("w1")?;
    fleet.remove(name)?;
    fleet.worker("w1")
}

fn several(births: &Births, name: &str, instances: usize) -> String {
    let copies = format!("numprocs = {instances}");
    fleet::program(name, &births.command(name, &[]), &copies)
}

fn last(born: &[Born]) -> Moment {
    born.iter().map(|born| born.at).max().unwrap_or(Moment(Duration::ZERO))
}
