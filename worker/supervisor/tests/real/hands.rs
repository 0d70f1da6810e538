//! What people do to a child that lives.

use std::fs;

use dsbus_schema::call::{SignalAsk, StdinAsk, StdinTaken};
use dsbus_schema::event::Notice;
use dsbus_schema::ids::Epoch;
use dsbus_schema::state::{Exit, State};
use dsbus_supervisor::protocol::{Handed, NotHanded, Order, ToAgent, ToSupervisor};
use uuid::Uuid;

use crate::stage::{Stage, order, script, sleeper};

fn answer(stage: &mut Stage, wanted: u64) -> Result<Handed, NotHanded> {
    stage.hear("an answer", |message| match message {
        ToAgent::Handed { number, outcome } if *number == wanted => Some(outcome.clone()),
        _ => None,
    })
}

fn stdin(order: &Order, pid: i32, bytes: &[u8], eof: bool) -> StdinAsk {
    StdinAsk {
        name: order.name.clone(),
        epoch: order.placement.epoch,
        pid,
        writer: Uuid::from_u128(1),
        offset: 0,
        base64: StdinAsk::encoded(bytes),
        eof,
        by: "ann".parse().unwrap(),
    }
}

/// Descriptors that a process has.
fn descriptors(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut found: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    found
}

#[test]
fn the_input_of_one_child_is_no_other_childs() {
    let mut stage = Stage::open();
    let reader = order("reader", &["cat"], |spec| spec.stdin = true);
    let pid = stage.run(&reader);
    // Born while the pipe is open: would it have the writing end, the reader would never end.
    let other = stage.run(&sleeper("other"));
    let third = stage.run(&order("third", &["cat"], |spec| spec.stdin = true));
    for pid in [pid, other, third] {
        // One that was born a moment ago opens its libraries.
        stage.wait_for("no other descriptors", || descriptors(pid) == ["0", "1", "2"]);
    }
    assert_eq!(fs::read_link(format!("/proc/{other}/fd/0")).unwrap().to_str(), Some("/dev/null"));
    stage.say(&ToSupervisor::Stdin { number: 1, ask: stdin(&reader, pid, b"to the end\n", true) });
    let name = reader.name.clone();
    let taken = StdinTaken { name, through: 11, closed: true };
    assert_eq!(answer(&mut stage, 1), Ok(Handed::Taken(taken)));
    let told = stage.notice("reader", Notice::StdinClosed);
    assert_eq!((told.pid, told.by), (Some(pid), Some("ann".parse().unwrap())));
    let (exited, _) = stage.change("reader", State::Exited);
    assert_eq!(exited.exit, Some(Exit::code(0)));
    assert_eq!(fs::read_to_string(stage.file("reader", "stdout.log")).unwrap(), "to the end\n");
}

#[test]
fn only_the_child_that_is_meant_hears_of_it() {
    let mut stage = Stage::open();
    let web = script("web", "trap 'exit 9' HUP; echo up; while :; do sleep 0.05; done", |_| {});
    let pid = stage.run(&web);
    stage.wait_for("its word", || {
        stage.file("web", "stdout.log").metadata().is_ok_and(|f| f.len() == 3)
    });
    let ask = |pid, epoch| SignalAsk {
        name: web.name.clone(),
        epoch,
        pid,
        signal: "HUP".parse().unwrap(),
        by: "ann".parse().unwrap(),
    };
    let epoch = web.placement.epoch;
    for (number, ask) in [(1, ask(pid, Epoch(epoch.0 + 1))), (2, ask(stage.pid(), epoch))] {
        stage.say(&ToSupervisor::Signal { number, ask });
        assert!(matches!(answer(&mut stage, number), Err(NotHanded::Gone(_))));
    }
    stage.say(&ToSupervisor::Stdin { number: 3, ask: stdin(&web, pid, b"x", false) });
    match answer(&mut stage, 3) {
        Err(NotHanded::Refused(why)) => assert!(why.contains("no standard input"), "{why}"),
        other => panic!("{other:?}"),
    }
    stage.say(&ToSupervisor::Signal { number: 4, ask: ask(pid, epoch) });
    let told = stage.notice("web", Notice::Signalled);
    assert_eq!(told.signal.map(dsbus_schema::program::Signal::name), Some("HUP"));
    assert_eq!(stage.change("web", State::Exited).0.exit, Some(Exit::code(9)));
    let sent = |message: &ToAgent| {
        matches!(message, ToAgent::Handed { number: 4, outcome: Ok(Handed::Sent(_)) })
    };
    stage.all_heard("its answer", |heard| heard.iter().any(sent));
}
