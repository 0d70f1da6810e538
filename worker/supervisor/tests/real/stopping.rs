//! Children that are asked to stop, and a worker that is.

use std::fs;

use dsbus_schema::event::WorkerChange;
use dsbus_schema::program::Signal as Named;
use dsbus_schema::state::{Exit, State};
use dsbus_supervisor::process::group_is_empty;
use dsbus_supervisor::protocol::{ToAgent, ToSupervisor};
use nix::sys::signal::Signal;

use crate::stage::{Stage, alive, change, script, signal_one, sleeper, stopped};

/// Ignores SIGTERM, and says when it does.
const STUBBORN: &str = "trap '' TERM; echo yes > ready; while :; do sleep 1; done";

#[test]
fn a_child_that_ignores_the_signal_is_killed() {
    let mut stage = Stage::open();
    let order = script("web", STUBBORN, |spec| spec.stopwaitsecs = "1".parse().unwrap());
    let pid = stage.run(&order);
    stage.read(&stage.file("web", "ready"));
    stage.place(&stopped(&order));
    stage.change("web", State::Stopping);
    let (fact, status) = stage.change("web", State::Stopped);
    assert_eq!((fact.exit, fact.pid), (Some(Exit::signal(9)), Some(pid)));
    assert!(!status.wanted.run && status.pid.is_none());
}

#[test]
fn the_stop_signal_is_the_declared_one_even_if_the_worker_ignores_it() {
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    // As a shell starts what runs in its background.
    let through = ["/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh"];
    let mut stage = Stage::open_in(directory, &through, &[]);
    let mut order = sleeper("web");
    order.placement.spec.stopsignal = "INT".parse::<Named>().unwrap().into();
    stage.run(&order);
    stage.place(&stopped(&order));
    assert_eq!(stage.change("web", State::Stopped).0.exit, Some(Exit::signal(2)));
}

#[test]
fn the_whole_group_is_gone_when_it_is_stopped() {
    let mut stage = Stage::open();
    let text = "(trap '' TERM; sleep 1000 & echo $! > inner; wait) & sleep 1000 & \
                echo $! > outer; wait";
    let order = script("web", text, |_| {});
    let pid = stage.run(&order);
    let pids = ["inner", "outer"].map(|file| stage.read(&stage.file("web", file)));
    let pids = pids.map(|text| text.trim().parse::<i32>().unwrap());
    assert!(pids.into_iter().all(alive));
    stage.place(&stopped(&order));
    stage.change("web", State::Stopped);
    assert!(group_is_empty(pid) && !pids.into_iter().any(alive));
}

#[test]
fn what_a_child_leaves_behind_is_gone_before_the_next_one() {
    let mut stage = Stage::open();
    let text = "trap '' TERM; sleep 1000 & echo $! > left; exec sleep 1000";
    let first = stage.run(&script("web", text, |_| {}));
    let left: i32 = stage.read(&stage.file("web", "left")).trim().parse().unwrap();
    fs::remove_file(stage.file("web", "left")).unwrap();
    signal_one(first, Signal::SIGKILL);
    let (starting, _) = stage.change("web", State::Starting);
    assert!(!alive(left) && group_is_empty(first) && starting.pid != Some(first));
}

#[test]
fn a_worker_stops_all_children_at_once() {
    let mut stage = Stage::open();
    let text = "trap 'sleep 1; exit 0' TERM; echo yes > ready; while :; do sleep 0.1; done";
    let names: Vec<String> = (0..20).map(|n| format!("web{n}")).collect();
    for name in &names {
        stage.place(&script(name, text, |_| {}));
    }
    for name in &names {
        stage.read(&stage.file(name, "ready"));
    }
    stage.signal(Signal::SIGTERM);
    stage.hear("stopping", |message| matches!(message, ToAgent::Stopping { .. }).then_some(()));
    stage.worker_fact(WorkerChange::Stopping);
    stage.worker_fact(WorkerChange::Stopped);
    stage.hear("bye", |message| (*message == ToAgent::Bye).then_some(()));
    assert_eq!(stage.ended().0, Some(0));
    let states: Vec<State> =
        stage.heard().iter().filter_map(change).map(|(fact, _)| fact.state).collect();
    let first_stopped = states.iter().position(|state| *state == State::Stopped).unwrap();
    let asked = states[..first_stopped].iter().filter(|state| **state == State::Stopping);
    assert_eq!(asked.count(), 20, "none waits for another");
    assert_eq!(states.iter().filter(|state| **state == State::Stopped).count(), 20);
}

#[test]
fn a_worker_that_is_told_twice_kills() {
    let mut stage = Stage::open();
    stage.run(&script("web", STUBBORN, |spec| spec.stopwaitsecs = "1000".parse().unwrap()));
    stage.read(&stage.file("web", "ready"));
    stage.signal(Signal::SIGTERM);
    stage.change("web", State::Stopping);
    stage.signal(Signal::SIGTERM);
    assert_eq!(stage.change("web", State::Stopped).0.exit, Some(Exit::signal(9)));
    assert_eq!(stage.ended().0, Some(0));
}

#[test]
fn a_worker_that_stops_starts_nothing() {
    let mut stage = Stage::open();
    stage.run(&script("web", STUBBORN, |spec| spec.stopwaitsecs = "1000".parse().unwrap()));
    stage.read(&stage.file("web", "ready"));
    stage.signal(Signal::SIGTERM);
    stage.change("web", State::Stopping);
    stage.place(&sleeper("new"));
    stage.signal(Signal::SIGINT);
    assert_eq!(stage.ended().0, Some(0));
    let started =
        |(fact, _): (dsbus_schema::event::ProcessFact, _)| fact.name.program.as_str() == "new";
    assert!(!stage.heard().iter().filter_map(change).any(started));
}

#[test]
fn an_agent_that_does_not_finish_is_not_waited_for() {
    let mut stage = Stage::open();
    stage.run(&sleeper("web"));
    stage.mute();
    stage.signal(Signal::SIGTERM);
    stage.worker_fact(WorkerChange::Stopped);
    assert_eq!(stage.ended().0, Some(0));
}

#[test]
fn a_worker_that_cannot_use_the_bus_says_so_by_its_exit_code() {
    let mut stage = Stage::open();
    let pid = stage.run(&sleeper("web"));
    stage.say(&ToSupervisor::Unusable { why: "no JetStream".into() });
    assert_eq!(stage.change("web", State::Stopped).0.exit, Some(Exit::signal(15)));
    assert_eq!(stage.ended().0, Some(1));
    assert!(!alive(pid));
}

/// A worker that gives its instances away before it stops, with one that runs.
fn draining(patience: &str) -> (Stage, i32) {
    let mut stage = Stage::open_with(&[&format!("drain={patience}")]);
    let pid = stage.run(&sleeper("web"));
    stage.signal(Signal::SIGTERM);
    stage.hear("the word to drain", |m| matches!(m, ToAgent::Drain).then_some(()));
    (stage, pid)
}

#[test]
fn a_worker_that_drains_goes_on_until_nothing_is_left() {
    let (mut stage, pid) = draining("600000");
    stage.run(&sleeper("other"));
    assert!(alive(pid), "and what is placed meanwhile is started");
    stage.say(&ToSupervisor::Unplace { name: "web:0".parse().unwrap() });
    stage.change("web", State::Stopped);
    stage.say(&ToSupervisor::Drained);
    let fact = stage.worker_fact(WorkerChange::Stopping);
    assert_eq!(fact.reason.as_deref(), Some("SIGTERM; its instances were given away"));
    stage.change("other", State::Stopped);
    assert_eq!(stage.process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_worker_that_drains_too_long_stops() {
    let (mut stage, pid) = draining("1");
    let fact = stage.worker_fact(WorkerChange::Stopping);
    assert!(fact.reason.as_deref().unwrap().contains("took too long"), "{fact:?}");
    stage.change("web", State::Stopped);
    assert_eq!(stage.process.wait().unwrap().code(), Some(0));
    assert!(!alive(pid));
}

#[test]
fn a_second_signal_stops_a_worker_that_drains() {
    let (mut stage, _) = draining("600000");
    stage.signal(Signal::SIGTERM);
    let fact = stage.worker_fact(WorkerChange::Stopping);
    assert_eq!(fact.reason.as_deref(), Some("SIGTERM"));
    assert_eq!(stage.process.wait().unwrap().code(), Some(0));
}

#[test]
fn an_agent_that_is_replaced_goes_on_to_drain() {
    let (mut stage, pid) = draining("600000");
    signal_one(stage.agent_pid(), Signal::SIGKILL);
    let hello = stage.hello(2);
    assert!(hello.draining && !hello.stopping && alive(pid), "{hello:?}");
    stage.say(&ToSupervisor::Drained);
    stage.worker_fact(WorkerChange::Stopping);
    assert_eq!(stage.process.wait().unwrap().code(), Some(0));
}
