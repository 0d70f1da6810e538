//! What may die without stopping anything.

use crate::fleet::{DEADLINE, Fleet, alive, assert_gapless, number};
use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// No test waits for the end of a lease of theirs, and a busy machine needs some time for what is killed
/// to be there again.
const TWO: &str = "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\ntouch_timeout = 40\n[program.one]\ncommand = \"sleep 1000\"\nexclusive = true\ntouch_timeout = 40\nstartsecs = 0\n";

fn pids(rows: &[Value]) -> Vec<i32> {
    rows.iter().map(|r| number(&r["pid"])).collect()
}

/// Nothing was stopped, started or moved since `before`.
fn assert_undisturbed(fleet: &Fleet, before: &[Value]) {
    let after = wait_until("all to be known as running", DEADLINE, || {
        let rows = fleet.try_json(&["status", "-o", "json"])?.as_array().unwrap().clone();
        if rows.iter().all(|r| r["state"] == "RUNNING") {
            Ok(rows)
        } else {
            Err(format!("{rows:?}"))
        }
    });
    assert_eq!(pids(&after), pids(before));
    assert!(pids(before).iter().all(|pid| alive(*pid)));
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(old["epoch"], new["epoch"]);
    }
}

#[test]
fn schedulers_and_agents_may_be_killed() {
    let mut fleet = Fleet::start(2, 2);
    fleet.apply(TWO);
    let before = fleet.status();
    fleet.kill("s1");
    assert_undisturbed(&fleet, &before);
    let agent = fleet.agent_pid("w1");
    kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
    wait_until("a new agent", DEADLINE, || {
        let row = fleet.worker_row("w1");
        if number(&row["agent_pid"]) == agent { Err(row) } else { Ok(()) }
    });
    assert_undisturbed(&fleet, &before);
    fleet.kill("s2");
    assert!(pids(&before).iter().all(|pid| alive(*pid)));
    fleet.scheduler("s3");
    fleet.wait_ready(2);
    assert_undisturbed(&fleet, &before);
    assert_gapless(&fleet.events());
}

#[test]
fn the_nats_server_may_be_restarted() {
    let mut fleet = Fleet::start(2, 2);
    fleet.apply(TWO);
    let before = fleet.status();
    fleet.nats.restart();
    fleet.wait_ready(2);
    assert_undisturbed(&fleet, &before);
    fleet.nats.kill();
    fleet.nats.restart();
    fleet.wait_ready(2);
    assert_undisturbed(&fleet, &before);
    fleet.ok(&["restart", "web"]);
    assert_gapless(&fleet.events());
}

#[test]
fn a_child_that_dies_while_the_bus_is_away_is_told_of_later() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let before = fleet.row("web:0");
    fleet.nats.kill();
    let pid = number(&before["pid"]);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    crate::fleet::wait_dead(pid);
    fleet.nats.restart();
    let after = fleet.wait_row("web:0", "running anew", |r| {
        r["state"] == "RUNNING" && r["pid"] != before["pid"]
    });
    assert_eq!(after["restarts"], 1);
    assert_gapless(&fleet.events());
}

#[test]
fn commands_are_answered_while_one_scheduler_lives() {
    let fleet = Fleet::start(2, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    fleet.signal("s1", Signal::SIGSTOP);
    for _ in 0..6 {
        fleet.ok(&["restart", "web"]);
    }
    fleet.signal("s1", Signal::SIGCONT);
    let row = fleet.row("web:0");
    assert_eq!(row["wanted"]["restarts"], 6, "each acted once, though some were asked twice");
}

#[test]
fn without_a_scheduler_it_says_so() {
    let mut fleet = Fleet::start(1, 1);
    fleet.kill("s1");
    let said = fleet.fails(4, &["status"]);
    assert!(said.contains("scheduler"), "{said}");
    let said = fleet.fails(4, &["start", "web"]);
    assert!(said.contains("dsbus scheduler"), "{said}");
}

#[test]
fn a_bus_without_buckets_and_no_bus_at_all() {
    let mut fleet = Fleet::bare();
    let said = fleet.fails(4, &["status"]);
    assert!(said.contains("dsbus dev") || said.contains("dsbus scheduler"), "{said}");
    fleet.nats.stop();
    let said = fleet.fails(4, &["status"]);
    assert!(said.contains("--nats"), "where the address came from: {said}");
}

#[test]
fn a_second_worker_of_one_name_starts_nothing() {
    let fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let before = fleet.status();
    let url = fleet.nats.url();
    let other = fleet.path().join("other");
    let output = std::process::Command::new(crate::fleet::DSBUS)
        .args(["--nats", &url, "worker", "--name", "w1", "--dir", other.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", crate::fleet::said(&output));
    let said = String::from_utf8(output.stderr).unwrap();
    let holder = fleet.worker_directory("w1");
    assert!(said.contains(holder.to_str().unwrap()), "says who holds it: {said}");
    // The same directory: its lock is held.
    let same = fleet.worker_directory("w1");
    let output = std::process::Command::new(crate::fleet::DSBUS)
        .args(["--nats", &url, "worker", "--name", "w1", "--dir", same.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", crate::fleet::said(&output));
    assert_undisturbed(&fleet, &before);
}
