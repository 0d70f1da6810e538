use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dsbus_schema::call::Channel;
use dsbus_schema::event::{Fact, OutputFact, OutputKind, WorkerChange, WorkerFact};
use dsbus_schema::ids::{Epoch, ProgramId, WorkerName};
use dsbus_schema::moment::Timestamp;
use uuid::Uuid;

use super::saving::DISK_PAUSE;
use super::*;

mod broken;
mod golden;
mod late;
mod ledger;
mod model;

const NOW: BootTime = BootTime(1_000_000_000_000);

fn gone(n: u64) -> Reported {
    Reported::Gone { name: "web:0".parse().unwrap(), epoch: Epoch(n) }
}

/// At second `n`.
fn worker(n: u64) -> Reported {
    let fact = WorkerFact {
        worker: WorkerName::parse("w1").unwrap(),
        change: WorkerChange::Refused,
        reason: None,
        incarnation: None,
        dropped: None,
    };
    let time = Timestamp::from_unix_nanos(i128::from(n) * 1_000_000_000);
    Reported::Worker { id: Uuid::from_u128(n.into()), time, fact }
}

/// At second `n`, with so many bytes of text.
fn output(n: u64, bytes: usize) -> Reported {
    let fact = OutputFact {
        name: "web:0".parse().unwrap(),
        id: ProgramId(Uuid::nil()),
        group: None,
        process: None,
        worker: WorkerName::parse("w1").unwrap(),
        epoch: Epoch(1),
        pid: 1,
        channel: Channel::Stdout,
        output: OutputKind::Log,
        text: "x".repeat(bytes),
    };
    let time = Timestamp::from_unix_nanos(i128::from(n) * 1_000_000_000);
    let fact = Box::new(Fact::Output(fact));
    Reported::Event { id: Uuid::from_u128(n.into()), time, fact }
}

/// Ends a turn of the loop, in which the agent reads: numbers of the reports that it is given.
fn turn(reports: &mut Reports) -> Vec<u64> {
    while reports.has_to_save() {
        assert_eq!(reports.save(NOW), None);
    }
    reports.save(NOW);
    let mut given = Vec::new();
    while reports.may_hand() {
        reports.hand(NOW, |line| given.push(number(line)));
    }
    reports.release();
    given
}

fn number(line: &[u8]) -> u64 {
    assert_eq!(line.last(), Some(&b'\n'));
    let said: ToAgent = serde_json::from_slice(line).unwrap();
    let ToAgent::Report(report) = said else { panic!("{said:?}") };
    report.number
}

/// Files of a lane, oldest first.
fn files(directory: &Path, lane: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(lane);
    let mut files: Vec<_> = entries.filter(of).collect();
    files.sort();
    files
}

fn small() -> Limits {
    Limits {
        count: 100,
        bytes: 1 << 20,
        output_bytes: 1 << 18,
        segment_bytes: 2_000,
        window: 10,
        window_bytes: 1 << 20,
    }
}

#[test]
fn kept_until_done_and_in_order() {
    let mut reports = Reports::in_memory();
    for n in 1..=5 {
        reports.push(gone(n));
    }
    assert_eq!(turn(&mut reports), [1, 2, 3, 4, 5]);
    assert!(reports.done(3));
    reports.take_back();
    assert_eq!(turn(&mut reports), [4, 5]);
    assert!(reports.done(9) && reports.is_empty() && !reports.done(9));
    assert_eq!(reports.window, (0, 0));
}

#[test]
fn what_an_agent_was_not_given_is_not_done() {
    let mut reports = Reports::in_memory();
    reports.push(gone(1));
    assert!(!reports.done(1));
    assert_eq!(turn(&mut reports), [1]);
}

#[test]
fn the_next_run_finds_what_is_not_done_and_numbers_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    for n in 1..=5 {
        reports.push(worker(n));
        reports.push(output(n, 10));
    }
    assert_eq!(turn(&mut reports), (1..=10).collect::<Vec<_>>());
    reports.done(5);
    turn(&mut reports);
    let mut next = Reports::open_with(directory.path(), small());
    assert_eq!(next.waiting(), 5);
    assert_eq!(next.push(gone(1)), 11);
    assert_eq!(turn(&mut next), (6..=11).collect::<Vec<_>>());
    next.done(11);
    turn(&mut next);
    let mut last = Reports::open_with(directory.path(), small());
    assert!(last.is_empty());
    assert_eq!(last.push(gone(1)), 12);
}

#[test]
fn an_agent_is_given_a_window_and_the_rest_is_in_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    let mut given = Vec::new();
    for n in 1..=50 {
        reports.push(if n % 3 == 0 { output(n, 100) } else { worker(n) });
        given.extend(turn(&mut reports));
    }
    assert_eq!(given, (1..=10).collect::<Vec<_>>());
    assert!(reports.lanes.iter().all(|lane| lane.in_memory() == 0));
    for through in 1..=50 {
        assert!(reports.done(through));
        given.extend(turn(&mut reports));
    }
    assert_eq!(given, (1..=50).collect::<Vec<_>>());
    assert!(reports.is_empty());
}

#[test]
fn a_window_has_bytes_too_and_takes_one_that_is_greater() {
    let limits = Limits { window_bytes: 3_000, ..small() };
    let mut reports = Reports::new(Path::new(""), limits, Disk::None);
    for (n, bytes) in [(1, 5_000), (2, 1_000), (3, 1_000), (4, 1_000), (5, 1_000)] {
        reports.push(output(n, bytes));
    }
    assert_eq!(turn(&mut reports), [1]);
    reports.done(1);
    assert_eq!(turn(&mut reports), [2, 3, 4]);
}

#[test]
fn files_are_removed_when_the_bus_has_all_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { window: 1_000, ..small() };
    let mut reports = Reports::open_with(directory.path(), limits);
    for n in 1..=90 {
        reports.push(worker(n));
        turn(&mut reports);
    }
    assert!(files(directory.path(), "state.").len() > 5);
    reports.done(90);
    turn(&mut reports);
    assert!(files(directory.path(), "state.").len() <= 1);
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    let all: u64 = fs::read_dir(directory.path()).unwrap().map(|e| size(&e.unwrap().path())).sum();
    assert!(all < 3_000, "{all}");
}

#[test]
fn the_oldest_go_output_first_and_are_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    for n in 1..=60 {
        reports.push(worker(n));
        reports.push(output(n, 10));
        // What is written can be dropped as well as what is not.
        if n % 7 == 0 {
            reports.save(NOW);
            reports.release();
        }
    }
    assert_eq!((reports.lanes[STATE].count(), reports.lanes[OUTPUT].count()), (60, 40));
    for n in 61..=105 {
        reports.push(worker(n));
    }
    assert_eq!((reports.lanes[STATE].count(), reports.lanes[OUTPUT].count()), (100, 0));
    assert_eq!(reports.dropped(NOW), None, "the bus is away");
    assert_eq!(turn(&mut reports).len(), 10);
    reports.done(20);
    let dropped = reports.tell_dropped(NOW).unwrap();
    let kinds: Vec<_> = dropped.kinds.iter().map(|(kind, n)| (kind.as_str(), *n)).collect();
    assert_eq!((dropped.events, &kinds[..]), (65, &[("output", 60), ("worker", 5)][..]));
    let second = |n: i128| Some(Timestamp::from_unix_nanos(n * 1_000_000_000));
    assert_eq!((dropped.from, dropped.to), (second(1), second(60)));
    reports.push(worker(1_000));
    assert_eq!(reports.dropped(NOW), None);
    assert!(reports.take_stale() && !reports.take_stale());
}

#[test]
fn output_alone_has_a_limit_of_bytes_and_pushes_out_nothing_else() {
    let mut reports = Reports::new(Path::new(""), small(), Disk::None);
    reports.push(worker(1));
    for n in 2..=40 {
        reports.push(output(n, 10_000));
    }
    assert_eq!(reports.lanes[STATE].count(), 1);
    let bytes = reports.lanes[OUTPUT].bytes();
    assert!(bytes <= 1 << 18 && bytes > (1 << 18) - 20_000, "{bytes}");
    assert_eq!(turn(&mut reports)[0], 1);
}

#[test]
fn one_that_is_too_long_by_itself_is_kept() {
    let limits = Limits { bytes: 1_000, output_bytes: 1_000, ..small() };
    let mut reports = Reports::new(Path::new(""), limits, Disk::None);
    reports.push(output(1, 5_000));
    reports.push(output(2, 5_000));
    assert_eq!(turn(&mut reports), [2]);
}

#[test]
fn what_an_agent_was_given_and_publishes_after_all_is_not_counted_as_dropped() {
    let mut reports = Reports::new(Path::new(""), small(), Disk::None);
    for n in 1..=200 {
        reports.push(worker(n));
        turn(&mut reports);
    }
    assert!(reports.done(10));
    assert_eq!(reports.dropped(NOW).unwrap().events, 90);
    assert_eq!(reports.window, (0, 0));
    // An agent that dies publishes none of it.
    assert_eq!(turn(&mut reports), (101..=110).collect::<Vec<_>>());
    for n in 201..=220 {
        reports.push(worker(n));
    }
    reports.take_back();
    assert_eq!(turn(&mut reports)[0], 121);
    assert!(reports.done(121));
    assert_eq!(reports.dropped(NOW).unwrap().events, 90 + 20);
}

#[test]
fn what_was_dropped_is_known_to_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    for n in 1..=130 {
        reports.push(worker(n));
        turn(&mut reports);
    }
    let mut next = Reports::open_with(directory.path(), small());
    assert_eq!(next.waiting(), 100);
    // Told, and then dropped itself: all of it is told once more.
    assert_eq!(turn(&mut next)[0], 31);
    next.done(31);
    assert_eq!(next.tell_dropped(NOW).unwrap().events, 30);
    next.push(worker(1_000));
    turn(&mut next);
    let mut last = Reports::open_with(directory.path(), small());
    for n in 1..=150 {
        last.push(worker(n));
    }
    turn(&mut last);
    last.done(u64::MAX);
    assert_eq!(last.dropped(NOW).unwrap().events, 30 + 99 + 1 + 50);
}

#[test]
fn what_was_told_and_published_is_not_told_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    for n in 1..=130 {
        reports.push(worker(n));
    }
    turn(&mut reports);
    reports.done(31);
    assert_eq!(reports.tell_dropped(NOW).unwrap().events, 30);
    reports.push(worker(1_000));
    let mut through = 31;
    while !reports.is_empty() {
        through = turn(&mut reports).last().copied().unwrap_or(through);
        reports.done(through);
    }
    turn(&mut reports);
    let mut next = Reports::open_with(directory.path(), small());
    next.push(worker(1));
    turn(&mut next);
    next.done(u64::MAX);
    assert_eq!(next.dropped(NOW), None);
}

#[test]
fn while_more_is_dropped_that_is_told_now_and_then() {
    let mut reports = Reports::new(Path::new(""), small(), Disk::None);
    let mut told = 0;
    let mut through = 0;
    // Two minutes, in which the bus takes one of ten.
    for second in 0..120 {
        let now = NOW + Duration::from_secs(second);
        for n in 0..100 {
            reports.push(worker(n));
        }
        through = turn(&mut reports).last().copied().unwrap_or(through);
        reports.done(through);
        if reports.tell_dropped(now).is_some() {
            reports.push(worker(1));
            told += 1;
        }
    }
    assert!(told <= 12, "{told}");
}
