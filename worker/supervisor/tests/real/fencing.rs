//! Exclusive children, and the leases that they live by.

use std::collections::BTreeSet;
use std::time::Duration;

use dsbus_schema::event::WorkerChange;
use dsbus_schema::ids::Epoch;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::{Exit, State};
use dsbus_supervisor::clock;
use dsbus_supervisor::protocol::{Order, Reported, ToAgent, ToSupervisor};
use nix::sys::signal::Signal;

use crate::stage::{Stage, alive, order, script, signal_one, sleeper};

const SECOND: Duration = Duration::from_secs(1);
/// A lease that ends within the test, and leaves a busy machine the time for what comes before.
const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(1000);

fn exclusive(spec: &mut ProgramSpec) {
    spec.exclusive = true;
    spec.touch_timeout = Some("2".parse().unwrap());
}

fn exclusive_sleeper() -> Order {
    order("web", &["sleep", "1000"], exclusive)
}

fn waits(message: &ToAgent) -> Option<()> {
    match message {
        ToAgent::Report(report) => match &report.what {
            Reported::Instance { status, .. } => {
                status.reason.as_ref()?.contains("waits for its lease").then_some(())
            }
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn a_child_waits_for_its_lease_and_does_not_outlive_it() {
    let mut stage = Stage::open();
    let free = stage.run(&sleeper("free"));
    // It ignores the stop signal, so that only the deadline ends it.
    stage.place(&script("web", "trap '' TERM; while :; do sleep 0.1; done", exclusive));
    stage.hear("a wait", waits);
    stage.lease(15, LONG);
    let until = stage.lease(2, SHORT);
    let (running, _) = stage.change("web", State::Running);
    let fenced = stage.worker_fact(WorkerChange::Fenced);
    assert!(fenced.reason.unwrap().contains("web:0"));
    let (stopped, status) = stage.change("web", State::Stopped);
    assert_eq!(stopped.exit, Some(Exit::signal(9)));
    assert!(clock::now().boot >= until, "not before its deadline");
    assert!(!alive(running.pid.unwrap()) && status.wanted.run);
    assert!(status.reason.unwrap().contains("fenced"));
    assert!(alive(free), "it lives by no lease");
    stage.lease(2, LONG);
    let (again, _) = stage.change("web", State::Running);
    assert!(alive(again.pid.unwrap()));
}

#[test]
fn a_renewed_lease_lets_it_live() {
    let mut stage = Stage::open();
    let first = stage.lease(2, SHORT);
    let pid = stage.run(&exclusive_sleeper());
    stage.lease(2, LONG);
    // What was promised once is not taken back.
    stage.lease(2, SECOND);
    stage.wait_for("the end of the first lease", || clock::now().boot >= first + SECOND);
    // It answers, so it has looked at the time since.
    let other = stage.run(&sleeper("other"));
    assert!(alive(pid) && alive(other));
}

#[test]
fn a_local_restart_needs_a_living_lease() {
    let mut stage = Stage::open();
    stage.lease(2, LONG);
    let first = stage.run(&exclusive_sleeper());
    signal_one(first, Signal::SIGKILL);
    stage.change("web", State::Exited);
    let (again, status) = stage.change("web", State::Running);
    assert_eq!(status.restarts, 1);
    assert!(alive(again.pid.unwrap()));
}

#[test]
fn a_frozen_supervisor_is_killed_and_its_children_with_it() {
    let mut stage = Stage::open();
    let free = stage.run(&sleeper("free"));
    let until = stage.lease(2, SHORT);
    let pid = stage.run(&exclusive_sleeper());
    stage.signal(Signal::SIGSTOP);
    assert!(alive(pid));
    let (_, signal, _) = stage.ended();
    assert_eq!(signal, Some(9), "by the kernel: nobody else could");
    assert!(clock::now().boot >= until);
    stage.wait_for("the death of its children", || !alive(pid) && !alive(free));
}

#[test]
fn a_freeze_that_ends_in_time_kills_nothing() {
    let mut stage = Stage::open();
    stage.lease(2, LONG);
    let pid = stage.run(&exclusive_sleeper());
    stage.signal(Signal::SIGSTOP);
    let thaw = clock::now().boot + 2 * SECOND;
    stage.wait_for("a while", || clock::now().boot >= thaw);
    stage.signal(Signal::SIGCONT);
    let other = stage.run(&sleeper("other"));
    assert!(alive(pid) && alive(other));
    let hellos = stage.heard().into_iter().filter(|m| matches!(m, ToAgent::Hello(_))).count();
    assert_eq!(hellos, 1, "the agent could not have answered, and is not replaced");
}

#[test]
fn the_last_resort_goes_off_with_the_last_exclusive_child() {
    let mut stage = Stage::open();
    let until = stage.lease(2, SHORT);
    let mut order = exclusive_sleeper();
    stage.run(&order);
    order.placement.wanted.run = false;
    stage.place(&order);
    stage.change("web", State::Stopped);
    let free = stage.run(&sleeper("free"));
    let after = until + SECOND;
    stage.wait_for("the end of the lease", || clock::now().boot >= after);
    assert!(alive(free) && alive(stage.pid()));
}

#[test]
fn whoever_loses_its_name_kills_exclusive_children_and_stops_the_others() {
    let mut stage = Stage::open();
    stage.lease(2, LONG);
    let stubborn = "trap '' TERM; echo yes > ready; while :; do sleep 1; done";
    stage.run(&script("web", stubborn, |spec| {
        exclusive(spec);
        spec.stopwaitsecs = "1000".parse().unwrap();
    }));
    stage.read(&stage.file("web", "ready"));
    let free = stage.run(&sleeper("free"));
    stage.say(&ToSupervisor::NameTaken { by: "another machine".into() });
    let taken = stage.worker_fact(WorkerChange::NameTaken);
    assert!(taken.reason.unwrap().contains("another machine"));
    assert_eq!(stage.ended().0, Some(1));
    assert!(!alive(free));
    let told = stage.heard().iter().any(|message| {
        let ToAgent::Report(report) = message else { return false };
        let Reported::Worker { fact, .. } = &report.what else { return false };
        matches!(fact.change, WorkerChange::Stopping | WorkerChange::Stopped)
    });
    assert!(!told, "the worker that has the name has not stopped");
    let changes: Vec<_> = stage.heard().iter().filter_map(crate::stage::change).collect();
    let exit = |name: &str| {
        let mut facts = changes.iter().map(|(fact, _)| fact);
        let of = |fact: &&_| is_stopped(fact, name);
        facts.find(of).and_then(|fact| fact.exit)
    };
    assert_eq!((exit("web"), exit("free")), (Some(Exit::signal(9)), Some(Exit::signal(15))));
}

fn is_stopped(fact: &dsbus_schema::event::ProcessFact, name: &str) -> bool {
    fact.name.program.as_str() == name && fact.state == State::Stopped
}

#[test]
fn a_lease_starts_nothing_that_was_taken_away_before() {
    let mut stage = Stage::open();
    let order = exclusive_sleeper();
    stage.place(&order);
    stage.hear("it waits", waits);
    // What an agent says when it is back on the bus: all placements, and then the lease.
    stage.say(&ToSupervisor::Sync { orders: Vec::new(), keep: BTreeSet::new(), let_go: None });
    stage.lease(2, LONG);
    let told = stage.hear("it is gone", |message| match message {
        ToAgent::Child(child) => Some(format!("started: {child:?}")),
        ToAgent::Report(report) => match &report.what {
            Reported::Gone { .. } => Some("gone".to_owned()),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(told, "gone");
    let other = stage.run(&sleeper("other"));
    assert!(alive(other));
    let started =
        |message: &ToAgent| matches!(message, ToAgent::Child(child) if child.name == order.name);
    assert!(!stage.heard().iter().any(started));
}

#[test]
fn what_was_let_go_is_started_by_no_lease_and_goes_on_where_it_is_placed_again() {
    let mut stage = Stage::open();
    stage.lease(2, LONG);
    let order = exclusive_sleeper();
    let first = stage.run(&order);
    let let_go = || {
        let let_go = Some([order.name.clone()].into());
        ToSupervisor::Sync { orders: Vec::new(), keep: BTreeSet::new(), let_go }
    };
    // Said once more while it stops, and when it is gone.
    stage.say(&let_go());
    stage.say(&let_go());
    let (stopped, _) = stage.change("web", State::Stopped);
    stage.say(&let_go());
    stage.lease(2, 2 * LONG);
    stage.run(&sleeper("other"));
    stage.place(&order);
    let (running, _) = stage.change("web", State::Running);
    assert_eq!((running.epoch, running.seq), (Epoch(1), stopped.seq + 2), "it STARTED between");
    let started = stage.heard().into_iter().filter_map(|message| match message {
        ToAgent::Child(child) if child.name == order.name => Some(child.pid),
        _ => None,
    });
    assert_eq!(started.collect::<Vec<_>>(), [first, running.pid.unwrap()]);
}
