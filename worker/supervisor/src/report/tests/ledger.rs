//! How instances stood when an earlier run ended.

use dsbus_schema::event::ProcessFact;
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Incarnation, InstanceId};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::State;
use dsbus_schema::status::Status;

use super::*;
use crate::protocol::{LastEvent, Order, ProcessEvent};

fn name(index: u32) -> InstanceId {
    format!("web:{index}").parse().unwrap()
}

fn fact(index: u32, (epoch, seq): (u64, u64), state: State) -> ProcessFact {
    ProcessFact {
        name: name(index),
        id: ProgramId(Uuid::from_u128(7)),
        group: Some("site".parse().unwrap()),
        process: Some("web_00".to_owned()),
        worker: Some(WorkerName::parse("w1").unwrap()),
        epoch: Epoch(epoch),
        seq,
        revision: 3,
        from: State::Stopped,
        state,
        pid: Some(42),
        exit: None,
        usage: None,
        expected: None,
        reason: None,
        spawnerr: None,
        stderr_line: None,
        attempt: None,
    }
}

/// A report of a change of state.
fn change(index: u32, number: (u64, u64), state: State) -> Reported {
    let fact = fact(index, number, state);
    let status = Status {
        id: fact.id,
        epoch: fact.epoch,
        revision: 3,
        wanted: Wanted::default(),
        state,
        rests: false,
        since: Timestamp::from_unix_nanos(0),
        pid: fact.pid,
        restarts: 0,
        exit: None,
        usage: None,
        note: None,
        reason: None,
        spawnerr: None,
        refused: None,
        stderr_line: None,
        stdout_logfile: None,
        stderr_logfile: None,
        seq: fact.seq,
        event: None,
        incarnation: Incarnation(Uuid::nil()),
    };
    let (id, time) = (Uuid::now_v7(), Timestamp::from_unix_nanos(0));
    let event = Some(Box::new(ProcessEvent { id, time, fact }));
    Reported::Instance { name: name(index), status: Box::new(status), event }
}

fn w1() -> WorkerName {
    WorkerName::parse("w1").unwrap()
}

fn order(index: u32, epoch: u64) -> Order {
    let spec = ProgramSpec::default();
    let id = ProgramId(Uuid::from_u128(7));
    let placement = Placement::new(id, 1, Epoch(epoch), Wanted::default(), spec);
    Order { name: name(index), placement, last: None }
}

/// Epoch, number and state of what is told.
fn told(fact: &ProcessFact) -> (u64, u64, State) {
    (fact.epoch.0, fact.seq, fact.state)
}

fn number(last: &LastEvent) -> (u64, u64) {
    (last.epoch.0, last.seq)
}

#[test]
fn what_was_alive_has_ended_with_its_worker_and_what_was_not_stays() {
    for (state, end) in [
        (State::Starting, Some(State::Exited)),
        (State::Running, Some(State::Exited)),
        (State::Stopping, Some(State::Stopped)),
        (State::Backoff, Some(State::Stopped)),
        (State::Stopped, None),
        (State::Exited, None),
        (State::Fatal, None),
    ] {
        let mut ledger = Ledger::default();
        ledger.note(&change(0, (5, 8), state));
        let (told_now, last) = ledger.meet(&name(0), None, &w1());
        assert_eq!((told_now, number(&last.unwrap())), (None, (5, 8)), "it lives in this run");
        let mut next = ledger.of_next_run();
        let (ended, last) = next.meet(&name(0), None, &w1());
        let expected = end.map(|end| (5, 9, end));
        assert_eq!(ended.as_ref().map(told), expected, "{state}");
        assert_eq!(number(&last.unwrap()), (5, 8 + u64::from(end.is_some())));
        if let Some(ended) = ended {
            assert_eq!((ended.from, ended.exit, ended.revision), (state, None, 3));
            assert_eq!(ended.group, Some("site".parse().unwrap()));
            assert_eq!(ended.pid.is_some(), state.may_have_child());
            assert_eq!(ended.expected, (ended.state == State::Exited).then_some(false));
            assert!(ended.reason.is_some());
        }
        assert_eq!(next.meet(&name(0), None, &w1()).0, None, "once");
    }
}

#[test]
fn the_later_of_what_disk_and_bus_know_counts() {
    let on_bus = |number, state| Some(LastEvent::of(&fact(0, number, state)));
    for (known, bus, end) in [
        (None, None, None),
        (None, on_bus((4, 2), State::Running), Some((4, 3, State::Exited))),
        (None, on_bus((4, 2), State::Fatal), None),
        (Some((5, 8)), on_bus((5, 7), State::Stopped), Some((5, 9, State::Exited))),
        (Some((5, 8)), on_bus((5, 9), State::Exited), None),
        (Some((5, 8)), on_bus((6, 1), State::Starting), Some((6, 2, State::Exited))),
    ] {
        let mut ledger = Ledger::default();
        if let Some(number) = known {
            ledger.note(&change(0, number, State::Running));
        }
        let mut next = ledger.of_next_run();
        let (ended, last) = next.meet(&name(0), bus.clone(), &w1());
        assert_eq!(ended.as_ref().map(told), end, "{known:?} {bus:?}");
        assert_eq!(last.is_none(), known.is_none() && bus.is_none());
    }
}

#[test]
fn what_is_no_longer_placed_here_ends_too_and_is_forgotten() {
    let mut ledger = Ledger::default();
    for (index, state) in [(0, State::Running), (1, State::Running), (2, State::Fatal)] {
        ledger.note(&change(index, (5, 8), state));
    }
    let mut next = ledger.of_next_run();
    next.note(&change(3, (1, 1), State::Running));
    let ends = next.leave(&[order(0, 5)], &w1());
    assert_eq!(ends.iter().map(told).collect::<Vec<_>>(), [(5, 9, State::Exited)]);
    assert_eq!(ends[0].name, name(1));
    assert!(next.leave(&[order(0, 5)], &w1()).is_empty());
    assert_eq!(next.meet(&name(2), None, &w1()), (None, None));
    assert_eq!(next.meet(&name(0), None, &w1()).0.as_ref().map(told), Some((5, 9, State::Exited)));
    assert!(next.leave(&[], &w1()).is_empty(), "what lives in this run is not over");
}

#[test]
fn what_is_gone_is_forgotten() {
    let mut ledger = Ledger::default();
    ledger.note(&change(0, (5, 8), State::Stopped));
    ledger.note(&Reported::Gone { name: name(0), epoch: Epoch(5) });
    assert_eq!(ledger.meet(&name(0), None, &w1()), (None, None));
}

#[test]
fn the_next_run_knows_what_was_published_and_removed_long_ago() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { window: 1_000, ..small() };
    let mut reports = Reports::open_with(directory.path(), limits);
    for index in 0..20 {
        reports.push(change(index, (1, 1), State::Starting));
        reports.push(change(index, (1, 2), State::Running));
        turn(&mut reports);
    }
    reports.push(change(3, (1, 3), State::Fatal));
    reports.push(Reported::Gone { name: name(4), epoch: Epoch(1) });
    turn(&mut reports);
    reports.done(u64::MAX);
    turn(&mut reports);
    assert!(files(directory.path(), "state.").len() <= 1);
    // Three runs, each of which dies before it has met anybody.
    for _ in 0..3 {
        turn(&mut Reports::open_with(directory.path(), limits));
    }
    let mut next = Reports::open_with(directory.path(), limits);
    for index in 0..20 {
        let ended = next.ledger().meet(&name(index), None, &w1()).0;
        let expected = (index != 3 && index != 4).then_some((1, 3, State::Exited));
        assert_eq!(ended.as_ref().map(told), expected, "web:{index}");
    }
}

#[test]
fn an_end_that_was_told_and_not_published_is_told_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut reports = Reports::open_with(directory.path(), small());
    reports.push(change(0, (1, 1), State::Running));
    turn(&mut reports);
    let mut next = Reports::open_with(directory.path(), small());
    let end = next.ledger().meet(&name(0), None, &w1()).0.unwrap();
    let (id, time) = (Uuid::now_v7(), Timestamp::from_unix_nanos(0));
    next.push(Reported::Event { id, time, fact: Box::new(Fact::Process(end)) });
    turn(&mut next);
    let mut last = Reports::open_with(directory.path(), small());
    let (ended, seen) = last.ledger().meet(&name(0), None, &w1());
    assert_eq!((ended, number(&seen.unwrap())), (None, (1, 2)));
    assert_eq!(last.waiting(), 2);
}
