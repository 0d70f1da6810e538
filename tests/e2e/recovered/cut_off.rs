//! What only a worker has, or had, that is lost.

use std::path::Path;
use std::process::Command;

use dsbus_harness::wait_until;
use nix::sys::signal::Signal;

use super::{empty_placements, is_adrift, recover_all, replace, row, signal_worker};
use crate::fleet::{DEADLINE, Fleet, alive, number, wait_dead};

fn web(seconds: u32) -> String {
    format!("[program.web]\ncommand = \"sleep {seconds}\"\nstartsecs = 0\n")
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn a_declaration_that_only_a_placement_on_a_lost_worker_has_is_recovered() {
    let mut fleet = Fleet::start(1, 2);
    fleet.apply(&web(1000));
    fleet.nats.stop();
    let programs = fleet.nats.store().join("jetstream/$G/streams/KV_dsbus_programs");
    let backup = fleet.path().join("backup");
    copy(&programs, &backup);
    fleet.nats.restart();
    fleet.wait_ready(2);
    fleet.apply(&web(1001));
    let worker = fleet.wait_state("web:0", "RUNNING")["worker"].as_str().unwrap().to_owned();
    fleet.kill("s1");
    fleet.nats.stop();
    std::fs::remove_dir_all(&programs).unwrap();
    copy(&backup, &programs);
    fleet.nats.restart();
    fleet.scheduler("s2");
    fleet.wait_ready(2);
    fleet.kill_worker(&worker);
    fleet.wait_state("web:0", "UNKNOWN");
    let (told, code) = recover_all(&fleet, &[]);
    assert_eq!((code, &row(&told, "web")["recovery"]), (Some(0), &"rebuilt".into()), "{told}");
    assert_eq!(row(&told, "web")["revision"], 2, "{told}");
    let row = fleet.wait_row("web:0", "elsewhere", |row| row["state"] == "RUNNING");
    assert!(row["revision"] == 2 && row["worker"] != worker.as_str(), "{row}");
    assert!(fleet.ok(&["export"]).contains("sleep 1001"));
}

#[test]
fn what_is_removed_and_forgotten_while_its_worker_is_cut_off_is_stopped_by_that() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply(&web(1000));
    let (child, agent) = (number(&fleet.row("web:0")["pid"]), fleet.agent_pid("w1"));
    empty_placements(&fleet);
    replace(&mut fleet, "s1", "s2");
    fleet.wait_row("web:0", "adrift", is_adrift);
    fleet.ok(&["remove", "--no-wait", "web"]);
    signal_worker(&fleet, "w1", agent, Signal::SIGSTOP);
    wait_until("web to be forgotten", DEADLINE, || {
        let rows = fleet.status();
        if rows.is_empty() { Ok(()) } else { Err(rows) }
    });
    assert!(alive(child));
    signal_worker(&fleet, "w1", agent, Signal::SIGCONT);
    wait_dead(child);
}
