//! Answers of the server that were aimed at declarations and goals: what they displace stands there
//! again, and nothing is started or stopped for them, whether a scheduler was there or not.

use std::fs;

use dsbus_harness::wait_until;

use crate::fleet::{DEADLINE, Fleet};
use crate::raw::Raw;

const PROGRAMS: &str = r#"
[program.web]
command = "sleep 10000"

[program.idle]
command = "sleep 10000"
"#;

/// Has the server write its answer under a key.
fn aim(fleet: &Fleet, key: &str) {
    let mut raw = Raw::connect(fleet.nats.port(), "", "");
    raw.ask_for("$JS.API.STREAM.INFO.KV_dsbus_fleet", &format!("$KV.dsbus_{key}"), "");
}

/// Waits until that scheduler, or whoever was faster, has written all of them again.
fn wait_restored(fleet: &Fleet, scheduler: &str, what: &[&str]) {
    wait_until("what was displaced to be written again", DEADLINE, || {
        let log = fs::read_to_string(fleet.log(scheduler)).unwrap();
        let all = what.iter().all(|what| log.contains(&format!("{what}: written again")));
        if all { Ok(()) } else { Err(log) }
    });
}

#[test]
fn what_an_aimed_answer_displaces_stands_again_and_nothing_starts_or_stops() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply(PROGRAMS);
    fleet.ok(&["stop", "idle"]);
    let before = fleet.row("web:0");
    let same = |fleet: &Fleet| {
        let now = fleet.row("web:0");
        assert_eq!((&now["pid"], &now["epoch"]), (&before["pid"], &before["epoch"]), "{now}");
        fleet.wait_state("idle:0", "STOPPED");
        assert_eq!(fleet.status().len(), 2);
    };

    // While a scheduler hears it.
    aim(&fleet, "programs.web");
    aim(&fleet, "goals.idle._all");
    wait_restored(&fleet, "s1", &["Programs web", "Goals idle._all"]);
    same(&fleet);

    // And while none does: the next one finds it there.
    fleet.kill("s1");
    aim(&fleet, "programs.web");
    aim(&fleet, "programs.nobody");
    aim(&fleet, "goals.idle._all");
    fleet.scheduler("s2");
    wait_restored(&fleet, "s2", &["Programs web", "Programs nobody", "Goals idle._all"]);
    fleet.wait_ready(1);
    same(&fleet);

    // All of it can be changed as before.
    fleet.ok(&["start", "idle"]);
    fleet.ok(&["scale", "web=2"]);
    fleet.apply("[program.nobody]\ncommand = \"sleep 10000\"\n");
    assert_eq!(fleet.row("web:0")["pid"], before["pid"]);
    let history = fleet.json(&["history", "web", "-o", "json"]);
    assert_eq!(history.as_array().map(Vec::len), Some(2), "{history}");
    fleet.ok(&["remove", "web"]);
}
