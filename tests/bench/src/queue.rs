//! Reports that wait for the bus: what one costs the supervisor, whose loop also repairs crashes;
//! what it takes to keep as many as may wait; and how fast a worker that is back publishes them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use dsbus_schema::event::ProcessFact;
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, ProgramId, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_supervisor::protocol::{ProcessEvent, Reported};
use dsbus_supervisor::report::{REPORTS_MAX, Reports};
use uuid::Uuid;

use crate::clock::{look, micros, millis, now, wall};
use crate::ear::Ear;
use crate::fleet::{DEADLINE, Fleet};
use crate::report::{Limit, Report, Who};
use crate::{Outcome, Setting, float, proc};

/// How many reports are told while the bus is there.
const TOLD: usize = 20_000;
/// A full queue is less than what the bus takes in this time.
const DRAIN_PER_SECOND_MIN: f64 = 5_000.0;
const REPORT_US_MAX: f64 = 20.0;
const OPEN_MS_MAX: f64 = 2_000.0;
/// Instances of a worker with some, and of one whose only program is in trouble.
const INSTANCES: [u32; 2] = [50, 1];
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn run(setting: Setting) -> Outcome<Report> {
    let mut report = Report::default();
    let rounds = setting.rounds(TOLD, 1_000);
    let room = tempfile::tempdir()?;
    let floor = writes(room.path(), rounds)?;
    report.row(Who::Floor, "a write of 1,000 bytes", "us", floor);
    let memory = told(&mut Reports::in_memory(), rounds)?;
    report.row(Who::Ours, "a report, kept in memory", "us", memory);
    let saved = told(&mut Reports::open(&room.path().join("told")), rounds)?;
    let saved = report.row(Who::Ours, "a report, kept on disk", "us", saved);

    let waiting = setting.rounds(REPORTS_MAX, 2_000);
    let full = room.path().join("full");
    let (kept, bytes) = keep(&full, waiting)?;
    let kept = report.row(Who::Ours, "a report while the bus is away", "us", kept);
    report.row(Who::Ours, "memory for one that waits on disk", "bytes", vec![bytes]);
    let begun = now();
    let found = Reports::open(&full).waiting();
    let opened = millis(now().since(begun));
    report.row(Who::Ours, &format!("{found} found at a start"), "ms", vec![opened]);

    let mut rates = Vec::new();
    for instances in INSTANCES {
        let (count, rate) = drained(waiting, instances)?;
        let what = format!("{count} events of {instances} instances published");
        report.row(Who::Ours, &what, "1/s", vec![rate]);
        rates.push(rate);
    }
    let mut goal = |what: &str, measured, limit| report.goal(what, measured, Some(limit));
    if let (Some(saved), Some(kept)) = (saved, kept) {
        goal("us for a report, p50", saved.median(), Limit::AtMost(REPORT_US_MAX));
        goal("us for one while the bus is away, p50", kept.median(), Limit::AtMost(REPORT_US_MAX));
    }
    goal("ms for a start with a full queue", opened, Limit::AtMost(OPEN_MS_MAX));
    goal(
        "events per second of a worker that is back",
        rates[0],
        Limit::AtLeast(DRAIN_PER_SECOND_MIN),
    );
    Ok(report)
}

/// What the file system asks for as much.
fn writes(room: &Path, rounds: usize) -> Outcome<Vec<f64>> {
    let file = File::create(room.join("floor"))?;
    let bytes = [b'x'; 1_000];
    let mut took = Vec::new();
    for round in 0..rounds {
        let begun = now();
        file.write_all_at(&bytes, u64::try_from(round)? * 1_000)?;
        took.push(micros(now().since(begun)));
    }
    Ok(took)
}

/// Each report is told, given to the agent, and published; as the loop of a supervisor does it.
fn told(reports: &mut Reports, rounds: usize) -> Outcome<Vec<f64>> {
    let mut took = Vec::new();
    for round in 0..rounds {
        let what = event(u32::try_from(round % 100)?, u64::try_from(round)?)?;
        let begun = now();
        let number = reports.push(what);
        let trouble = reports.save(BootTime(0));
        let mut given = 0;
        while reports.may_hand() {
            reports.hand(BootTime(0), |line| given += line.len());
        }
        reports.release();
        let published = reports.done(number);
        took.push(micros(now().since(begun)));
        if trouble.is_some() || given == 0 || !published {
            return Err(format!("not told as it should be: {trouble:?}").into());
        }
    }
    Ok(took)
}

/// Fills a queue: what each report takes, and how much memory all take in the end.
fn keep(directory: &Path, count: usize) -> Outcome<(Vec<f64>, f64)> {
    let me = i32::try_from(std::process::id())?;
    let mut took = Vec::with_capacity(count);
    let mut reports = Reports::open(directory);
    let before = f64::from(proc::pss(me)?);
    for round in 0..count {
        let what = event(u32::try_from(round % 100)?, u64::try_from(round)?)?;
        let begun = now();
        reports.push(what);
        reports.save(BootTime(0));
        while reports.may_hand() {
            reports.hand(BootTime(0), |_| {});
        }
        reports.release();
        took.push(micros(now().since(begun)));
    }
    // pss is in KiB, and the samples are touched already.
    let after = f64::from(proc::pss(me)?);
    let samples = float(count) * 8.0;
    Ok((took, ((after - before) * 1024.0 - samples) / float(reports.waiting())))
}

/// A worker comes back with so many events of an earlier run, or as many as it may keep: how many it
/// publishes, and how many per second.
fn drained(count: usize, instances: u32) -> Outcome<(usize, f64)> {
    let mut fleet = Fleet::start(1, 0)?;
    let directory = fleet.path().join("w1/reports/default.w1");
    let mut reports = Reports::open(&directory);
    for round in 0..count {
        let round = u32::try_from(round)?;
        reports.push(event(round % instances, u64::from(round / instances) + 1)?);
        reports.save(BootTime(0));
        reports.release();
    }
    let count = reports.waiting();
    drop(reports);
    let ear = Ear::listen(fleet.nats.port())?;
    fleet.worker("w1")?;
    let is_event = |heard: &crate::ear::Heard| heard.subject.contains(".event.w1.process.");
    let last = look("all events to be published", DEADLINE, LOOK, || {
        let (heard, last) = ear.last(is_event);
        Ok(last.filter(|_| heard >= count))
    })?;
    let first = ear.first(is_event).ok_or("no event at all")?;
    Ok((count, float(count) / last.since(first).as_secs_f64()))
}

/// A change of state of a common size.
fn event(index: u32, seq: u64) -> Outcome<Reported> {
    let name: InstanceId = format!("web:{index}").parse()?;
    let fact = ProcessFact {
        name: name.clone(),
        id: ProgramId(Uuid::nil()),
        group: None,
        process: None,
        worker: Some(WorkerName::parse("w1")?),
        epoch: Epoch(1),
        seq,
        revision: 1,
        from: State::Starting,
        state: State::Exited,
        pid: Some(4_711),
        exit: None,
        usage: None,
        expected: Some(false),
        reason: Some("it ended with exit code 1 after 2.3 s".to_owned()),
        spawnerr: None,
        stderr_line: Some("connection refused: 10.1.2.3:5432".to_owned()),
        attempt: None,
    };
    let status = Status {
        id: fact.id,
        epoch: fact.epoch,
        revision: 1,
        wanted: Wanted { run: true, ..Wanted::default() },
        state: fact.state,
        rests: false,
        refused: None,
        since: wall(),
        pid: None,
        restarts: seq,
        exit: None,
        usage: None,
        note: None,
        reason: fact.reason.clone(),
        spawnerr: None,
        stderr_line: fact.stderr_line.clone(),
        stdout_logfile: Some("/var/lib/dsbus/w1/instances/web.0/stdout.log".to_owned()),
        stderr_logfile: Some("/var/lib/dsbus/w1/instances/web.0/stderr.log".to_owned()),
        seq,
        event: None,
        incarnation: Incarnation(Uuid::nil()),
    };
    let event = ProcessEvent { id: Uuid::now_v7(), time: wall(), fact };
    Ok(Reported::Instance { name, status: Box::new(status), event: Some(Box::new(event)) })
}
