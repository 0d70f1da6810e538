//! What a host mostly keeps to itself: the controllers of cgroup v2, and the clock on the wall. These
//! tests end at once where they cannot run; `./run vm` runs them in a virtual machine, where they
//! can.

use std::path::Path;
use std::process::Command;

use dsbus_schema::event::Notice;
use dsbus_schema::lenient::Size;
use dsbus_schema::program::{Limits, Retries};
use dsbus_schema::state::{Exit, State};
use dsbus_supervisor::protocol::ToAgent;

use crate::stage::{Stage, alive, order, script, sleeper, stopped};

/// Made by `scripts/vm`: this machine is nobody's, and its clock may be set.
const OURS: &str = "/run/dsbus-vm";

/// A stage on which these limits can be kept.
fn stage(facilities: &[&str]) -> Option<Stage> {
    let mut stage = Stage::open();
    let there = stage.hello(1).facilities;
    let all = facilities.iter().all(|wanted| there.iter().any(|facility| facility == wanted));
    assert!(all || !Path::new(OURS).exists(), "a virtual machine has {facilities:?}: {there:?}");
    all.then_some(stage)
}

#[test]
fn memory_that_runs_out_is_told() {
    let Some(mut stage) = stage(&["limits.memory"]) else { return };
    let text = "x=abcdefgh; while :; do x=$x$x; done";
    stage.place(&script("web", text, |spec| {
        spec.limits = Limits { memory: Some(Size(16 << 20)), ..Limits::default() };
    }));
    let told = stage.notice("web", Notice::OomKill);
    assert_eq!(told.exit, Some(Exit::signal(9)));
    assert!(told.reason.contains("16777216"), "{}", told.reason);
    let (exited, status) = stage.change("web", State::Exited);
    assert!(exited.reason.unwrap().contains("out of memory"));
    assert!(status.usage.unwrap().memory_peak < 32 << 20, "{:?}", status.usage);
    // It did not take anybody along.
    assert!(alive(stage.run(&sleeper("other"))));
}

#[test]
fn processes_beyond_the_limit_are_refused() {
    let Some(mut stage) = stage(&["limits.pids"]) else { return };
    let text = "for n in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo enough; wait";
    stage.place(&script("web", text, |spec| {
        spec.limits = Limits { pids: Some(4), ..Limits::default() };
        spec.startsecs = "10".parse().unwrap();
        spec.startretries = Retries::Count(0);
    }));
    let (fatal, _) = stage.change("web", State::Fatal);
    assert!(fatal.stderr_line.is_some_and(|line| line.contains("fork")), "it said why");
}

#[test]
fn processors_are_shared_out() {
    let Some(mut stage) = stage(&["limits.cpu"]) else { return };
    stage.place(&order("web", &["sleep", "1000"], |spec| {
        spec.limits = Limits { cpu: Some(0.25), ..Limits::default() };
    }));
    let cgroup = stage.hear("a child", |message| match message {
        ToAgent::Child(child) => child.cgroup.clone(),
        _ => None,
    });
    let quota = std::fs::read_to_string(Path::new(&cgroup).join("cpu.max")).unwrap();
    assert_eq!(quota.trim(), "25000 100000");
}

/// Sets the clock on the wall to so many seconds from now.
fn step(seconds: i64) {
    let now = dsbus_supervisor::clock::now().wall.unix_nanos() / 1_000_000_000;
    let then = format!("@{}", now + i128::from(seconds));
    assert!(Command::new("date").args(["-s", &then]).output().unwrap().status.success());
}

#[test]
fn an_hour_more_or_less_on_the_wall_changes_nothing() {
    if !Path::new(OURS).exists() {
        return;
    }
    let mut stage = Stage::open();
    let steady = stage.run(&sleeper("steady"));
    for hour in [3600, -3600] {
        let order = script("web", "trap '' TERM; while :; do sleep 1; done", |spec| {
            spec.startsecs = "1".parse().unwrap();
            spec.stopwaitsecs = "1".parse().unwrap();
        });
        let mut order = order;
        order.placement.wanted.starts = 1;
        stage.place(&order);
        stage.change("web", State::Starting);
        step(hour);
        // Neither at once, nor in an hour.
        stage.change("web", State::Running);
        let begin = dsbus_supervisor::clock::now().boot;
        stage.place(&stopped(&order));
        stage.change("web", State::Stopping);
        step(-hour);
        assert_eq!(stage.change("web", State::Stopped).0.exit, Some(Exit::signal(9)));
        let took = dsbus_supervisor::clock::now().boot.since(begin);
        assert!(took.as_millis() >= 900, "killed before its time: {took:?}");
        step(hour);
    }
    assert!(alive(steady));
}
