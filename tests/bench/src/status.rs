//! How long `dsbus status` takes, from its start to its end: of a few instances beside a process that
//! does no more than connect and ask, and beside `supervisorctl status`; and of ten thousand.

use std::process::{Command, Stdio};
use std::time::Duration;

use dsbus_schema::command::Verb;
use dsbus_schema::ids::{FleetName, UserName};
use dsbus_schema::subject;

use crate::clock::{millis, now};
use crate::crew::Crew;
use crate::fleet::{self, Fleet};
use crate::report::{Limit, Report, Samples, Who};
use crate::supervisor::{self, Supervisor};
use crate::{Outcome, Setting};

/// Instances of the small fleet.
const FEW: usize = 3;
/// Instances of the large one, on so many simulated workers. A program has at most 5,000.
const MANY: usize = 10_000;
const WORKERS: usize = 20;
/// More than placing them takes.
const START_MAX: Duration = Duration::from_secs(180);
/// The rounds of a verb that takes milliseconds, of one that takes a hundred, and of the peer.
const ROUNDS: usize = 200;
const ROUNDS_MANY: usize = 40;
const ROUNDS_PEER: usize = 10;
/// Of few: times as long as a process that connects and asks.
const TIMES_MAX: f64 = 2.0;
/// Of many, in milliseconds.
const MANY_MAX: f64 = 100.0;

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    few(setting, &mut report)?;
    many(setting, &mut report)?;
    Ok(report)
}

/// From the start of a process to its end.
fn timed(command: &mut Command) -> Outcome<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = now();
    let status = command.status()?;
    let took = millis(now().since(begun));
    // `status` says by 3 that something does not run.
    if status.success() { Ok(took) } else { Err(format!("{command:?}: {status}").into()) }
}

fn few(setting: Setting, report: &mut Report) -> Outcome<()> {
    let fleet = Fleet::start(2, 2)?;
    let sleeper = ["sleep", "100000"].map(str::to_owned);
    fleet.apply(&fleet::program("web", &sleeper, &format!("numprocs = {FEW}")))?;
    let peer = setting.peer.then(|| {
        supervisor::version()?;
        let program = supervisor::program("web", &sleeper, &format!("numprocs={FEW}"));
        Supervisor::start(&program)
    });
    let peer = peer.transpose()?;
    let url = fleet.nats.url();
    let address = url.trim_start_matches("nats://").to_owned();
    let asked = subject::command(&FleetName::default(), &UserName::default(), Verb::Status);
    let bare = crate::beside("bench-asker")?;
    let (mut ours, mut floor, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let rounds = setting.rounds(ROUNDS, 5);
    for round in 0..rounds {
        ours.push(timed(&mut fleet.command(&["status"]))?);
        floor.push(timed(Command::new(&bare).args([&address, &asked]))?);
        if let Some(peer) = &peer
            && round % (rounds / setting.rounds(ROUNDS_PEER, 1)) == 0
        {
            theirs.push(timed(&mut peer.control(&["status"])?)?);
        }
    }
    let what = format!("status of {FEW} instances");
    let ours = report.row(Who::Ours, &what, "ms", ours);
    let floor = report.row(Who::Floor, "a process that connects and asks once", "ms", floor);
    let median = |samples: &Option<Samples>| samples.as_ref().map(Samples::median);
    report.ratio(
        &format!("{what} / a process that connects and asks, p50"),
        (median(&ours), median(&floor)),
        Some(Limit::AtMost(TIMES_MAX)),
    );
    if peer.is_some() {
        let theirs = report.row(Who::Peer, "supervisorctl status, as many", "ms", theirs);
        report.ratio(
            "supervisorctl status / dsbus status, p50",
            (median(&theirs), median(&ours)),
            None,
        );
    }
    Ok(())
}

fn many(setting: Setting, report: &mut Report) -> Outcome<()> {
    let fleet = Fleet::start(1, 0)?;
    let mut crew = Crew::new(&fleet.nats.url())?;
    crew.grow_to(WORKERS)?;
    let size = setting.rounds(MANY, 1_000);
    let mut told = crew.watch()?;
    let sleeper = ["sleep", "100000"].map(str::to_owned);
    let half = format!("numprocs = {}", size / 2);
    let programs = ["one", "two"].map(|name| fleet::program(name, &sleeper, &half));
    fleet.ask_for(&programs.concat())?;
    crew.all_running(&mut told, (size, START_MAX), |_| true)?;
    drop(told);
    let seen = fleet.rows(&["status"])?.len();
    if seen != size {
        return Err(format!("status shows {seen} of {size} instances").into());
    }
    let rounds = setting.rounds(ROUNDS_MANY, 3);
    let what = format!("status of {size} instances");
    for (kind, options) in [("a table", &["status"][..]), ("JSON", &["status", "-o", "json"][..])] {
        let took = (0..rounds).map(|_| timed(&mut fleet.command(options)));
        let took = took.collect::<Outcome<_>>()?;
        let name = format!("{what}, {kind}");
        if let Some(samples) = report.row(Who::Ours, &name, "ms", took) {
            let limit = Some(Limit::AtMost(MANY_MAX));
            report.goal(&format!("{name}, p50, ms"), samples.median(), limit);
        }
    }
    Ok(())
}
