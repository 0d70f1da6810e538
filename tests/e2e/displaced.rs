//! Answers of the server that were aimed at declarations and goals: what they displace stands there
//! again, and nothing is started or stopped for them, whether a scheduler was there or not.

use std::fs;

use dsbus_harness::wait_until;
use uuid::Uuid;

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

#[test]
fn what_is_aimed_at_a_command_is_no_command() {
    let fleet = Fleet::start(1, 1);
    let mut raw = Raw::connect(fleet.nats.port(), "", "");
    raw.ask_for("$JS.API.STREAM.INFO.KV_dsbus_fleet", "dsbus.default.cmd.admin.rebalance", "");
    raw.ask_for("$JS.API.STREAM.INFO.KV_dsbus_fleet", "dsbus.default.cmdall.admin.rebalance", "");
    wait_until("both to be ignored", DEADLINE, || {
        let log = fs::read_to_string(fleet.log("s1")).unwrap();
        if log.matches("what wants no answer is no request").count() == 2 {
            Ok(())
        } else {
            Err(log)
        }
    });
    fleet.ok(&["rebalance"]);
    let by = wait_until("the command to be told", DEADLINE, || {
        let by: Vec<String> = audit(&fleet).iter().map(|event| event["by"].to_string()).collect();
        if by.is_empty() { Err("nothing") } else { Ok(by) }
    });
    assert!(!by.iter().any(|by| by.contains("admin")), "{by:?}");
}

fn audit(fleet: &Fleet) -> Vec<serde_json::Value> {
    let events = fleet.json(&["events", "--type", "command", "-n", "1000", "-o", "json"]);
    events.as_array().unwrap().iter().map(|event| event["data"].clone()).collect()
}

#[test]
fn an_event_is_told_though_somebody_has_taken_its_id_and_none_counts_that_lies() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(PROGRAMS);
    let mut raw = Raw::connect(fleet.nats.port(), "", "");
    // A worker says that it was somebody's command.
    let command = Uuid::now_v7();
    let told = format!("default/command/{command}/Accepted");
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, told.as_bytes());
    fleet.ok(&["stop", "idle"]);
    let mut lie = fleet.wait_event("the stop", |event| event["data"]["verb"] == "stop");
    (lie["id"], lie["data"]["by"]) = (id.to_string().into(), "admin".into());
    (lie["data"]["verb"], lie["data"]["names"]) = ("remove".into(), ["web"].into());
    let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
    let subject = "dsbus.default.event.w1.command.web.admin.ACCEPTED";
    raw.publish(subject, &headers, lie.to_string().as_bytes());
    // And the command comes whose event would have had that id.
    let body = serde_json::json!({ "id": command, "names": ["web"] }).to_string();
    fleet.nats.ask_with("dsbus.default.cmd.ann.stop", &body);
    wait_until("the command to be told", DEADLINE, || {
        let all = audit(&fleet);
        assert!(all.iter().all(|fact| fact["by"] != "admin"), "{all:?}");
        let told = all.iter().any(|fact| {
            (&fact["by"], &fact["verb"], &fact["command"])
                == (&"ann".into(), &"stop".into(), &command.to_string().into())
        });
        if told { Ok(()) } else { Err(all) }
    });
}
