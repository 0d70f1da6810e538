//! What people want of workers, and of where instances run: `cordon`, `drain`, `forget`,
//! `rebalance`, `explain`, `events --worker`.

use crate::bus::answered;
use crate::fleet::{DEADLINE, Fleet};
use dsbus_client::{Bus, ConnectOptions};
use dsbus_harness::wait_until;
use dsbus_schema::command::{Envelope, PlannedMove, Rebalance, Verb, WorkerAct, WorkerActed};
use dsbus_schema::ids::{FleetName, UserName, WorkerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const WEB: &str = "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 4\nstartsecs = 0\n";

fn on(fleet: &Fleet, worker: &str) -> usize {
    fleet.status().iter().filter(|row| row["worker"] == worker).count()
}

fn worker_event(fleet: &Fleet, worker: &str, change: &str) {
    fleet.wait_event(change, |e| e["data"]["worker"] == worker && e["data"]["change"] == change);
}

#[test]
fn a_drained_worker_is_empty_and_comes_back() {
    let fleet = Fleet::start(2, 2);
    fleet.apply(WEB);
    assert_eq!(on(&fleet, "w1"), 2);
    let said = fleet.ok(&["drain", "w1"]);
    assert!(said.contains("w1: draining; it has 2 instances"), "{said}");
    assert!(
        said.contains("moved (w2") && said.contains("w1: drained (2 instances gone)"),
        "{said}"
    );
    assert_eq!((on(&fleet, "w1"), on(&fleet, "w2")), (0, 4));
    assert_eq!(fleet.worker_row("w1")["state"], "draining");
    worker_event(&fleet, "w1", "DRAINING");
    let said = fleet.fails(1, &["uncordon", "w1"]);
    assert!(said.contains("dsbus undrain w1"), "{said}");
    fleet.ok(&["undrain", "w1"]);
    assert_eq!(fleet.worker_row("w1")["state"], "ready");
    worker_event(&fleet, "w1", "UNCORDONED");
    assert_eq!(on(&fleet, "w1"), 0, "nothing moves by itself");

    let said = fleet.ok(&["rebalance", "--dry-run"]);
    assert!(said.contains("w2 -> w1"), "{said}");
    assert_eq!(on(&fleet, "w1"), 0, "nothing was done");
    let said = fleet.ok(&["rebalance"]);
    assert!(said.contains("moved from w2 (w1"), "{said}");
    assert_eq!((on(&fleet, "w1"), on(&fleet, "w2")), (2, 2));
    assert!(fleet.ok(&["rebalance"]).contains("Nothing to move"));
    let of = |e: &Value| {
        e["source"].as_str().unwrap().ends_with("/w1")
            || [&e["data"]["from"], &e["data"]["to"], &e["data"]["worker"]]
                .iter()
                .any(|value| **value == "w1")
    };
    // Who moves them tells it for itself.
    let from_w1 = |e: &&Value| e["data"]["kind"] == "placement" && e["data"]["from"] == "w1";
    wait_until("two moves to be told", DEADLINE, || {
        let events = fleet.json(&["events", "--worker", "w1", "-n", "100", "-o", "json"]);
        let events = events.as_array().unwrap();
        assert!(events.iter().all(of), "{events:?}");
        let moves = events.iter().filter(from_w1).count();
        if moves == 2 { Ok(()) } else { Err(format!("{events:?}")) }
    });
    let said = fleet.fails(1, &["events", "--worker", "w11"]);
    assert!(said.contains("did you mean"), "{said}");
}

/// The answer to a command that is not refused.
async fn answer<A: DeserializeOwned>(bus: &Bus, verb: Verb, ask: &impl Serialize) -> A {
    answered(bus, verb, ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_and_a_drain_sent_again_act_once_and_answer_the_same() {
    let fleet = Fleet::start(2, 2);
    fleet.ok(&["cordon", "w2"]);
    fleet.apply(WEB);
    fleet.ok(&["uncordon", "w2"]);
    let options = ConnectOptions {
        urls: vec![fleet.nats.url()],
        fleet: FleetName::default(),
        user: UserName::default(),
        access: dsbus_client::Access::default(),
        label: "test".to_owned(),
        wait: true,
    };
    let bus = Bus::connect(options).await.unwrap();
    let envelope = || Envelope { id: Some(uuid::Uuid::now_v7()), version: None };
    let ask = Rebalance { envelope: envelope(), dry_run: false };
    let first: Vec<PlannedMove> = answer(&bus, Verb::Rebalance, &ask).await;
    assert_eq!(first.len(), 2, "{first:?}");
    let again: Vec<PlannedMove> = answer(&bus, Verb::Rebalance, &ask).await;
    assert_eq!(again, first, "while they move");
    for planned in &first {
        let moved = |row: &Value| row["worker"] == "w2" && row["state"] == "RUNNING";
        fleet.wait_row(&planned.name.to_string(), "moved", moved);
    }
    for _ in 0..4 {
        let again: Vec<PlannedMove> = answer(&bus, Verb::Rebalance, &ask).await;
        assert_eq!(again, first, "and when they have");
    }
    assert_eq!((on(&fleet, "w1"), on(&fleet, "w2")), (2, 2));

    let w1 = || vec![WorkerName::parse("w1").unwrap()];
    let drain = WorkerAct { envelope: envelope(), names: w1() };
    let drained: Vec<WorkerActed> = answer(&bus, Verb::Drain, &drain).await;
    assert!(drained[0].draining);
    fleet.ok(&["undrain", "w1"]);
    for _ in 0..4 {
        let _: Vec<WorkerActed> = answer(&bus, Verb::Drain, &drain).await;
    }
    assert_eq!(fleet.worker_row("w1")["state"], "ready", "it was taken back since");
}

#[test]
fn a_drain_says_what_cannot_move_and_why() {
    let fleet = Fleet::start(1, 2);
    fleet.apply(&format!("{WEB}machines = [\"w1\"]\n"));
    let said = fleet.fails(5, &["drain", "w1", "--timeout", "12s"]);
    assert!(said.contains("4 instances are still there") && said.contains("w2"), "{said}");
    assert!(said.contains("dsbus undrain w1"), "{said}");
    let left = fleet.run(&["drain", "w1", "--timeout", "10s", "-o", "json"]);
    let left: Value = serde_json::from_slice(&left.stdout).unwrap();
    assert_eq!(left["left"].as_array().unwrap().len(), 4, "{left}");
    assert!(left["left"][0]["because"].is_string(), "{left}");
    assert_eq!(on(&fleet, "w1"), 4, "what cannot move runs on");
}

#[test]
fn a_cordoned_worker_keeps_what_it_has_and_gets_nothing_new() {
    let fleet = Fleet::start(2, 2);
    fleet.apply(WEB);
    let said = fleet.ok(&["cordon", "w1"]);
    assert!(said.contains("keeps those that it has (2)"), "{said}");
    worker_event(&fleet, "w1", "CORDONED");
    assert_eq!(fleet.worker_row("w1")["state"], "cordoned");
    fleet.ok(&["scale", "web=6"]);
    assert_eq!((on(&fleet, "w1"), on(&fleet, "w2")), (2, 4));
    let explained = fleet.json(&["explain", "web:5", "-o", "json"]);
    let w1 =
        explained[0]["workers"].as_array().unwrap().iter().find(|w| w["name"] == "w1").unwrap();
    assert!(w1["refusal"].as_str().unwrap().contains("cordoned"), "{w1}");
    let said = fleet.ok(&["explain", "web:5"]);
    assert!(said.contains("web:5 is RUNNING on w2") && said.contains("cordoned"), "{said}");
    fleet.ok(&["uncordon", "w1"]);
    fleet.ok(&["scale", "web=8"]);
    assert_eq!((on(&fleet, "w1"), on(&fleet, "w2")), (4, 4));
    let said = fleet.fails(1, &["cordon", "w11"]);
    assert!(said.contains("no worker is named \"w11\"; did you mean w1"), "{said}");
}

#[test]
fn only_a_worker_that_is_gone_is_forgotten() {
    let mut fleet = Fleet::start(2, 2);
    fleet.apply(&format!("{WEB}machines = [\"w1\"]\non_worker_loss = \"stay\"\n"));
    let said = fleet.fails(1, &["forget", "w1"]);
    assert!(said.contains("w1 is ready"), "{said}");
    fleet.kill_worker("w1");
    wait_until("w1 to be lost", DEADLINE, || {
        let state = fleet.worker_row("w1")["state"].clone();
        if state == "lost" { Ok(()) } else { Err(state.to_string()) }
    });
    // What waited for it does so no longer.
    let forgotten = fleet.json(&["forget", "w1", "-o", "json"]);
    assert_eq!(forgotten[0]["name"], "w1");
    let names = |rows: Value| -> Vec<String> {
        let rows = rows.as_array().unwrap().clone();
        rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(fleet.json(&["workers", "-o", "json"])), ["w2"]);
    fleet.wait_state("web:0", "PENDING");
    fleet.ok(&["forget", "w1"]);
    let said = fleet.fails(1, &["forget", "w9"]);
    assert!(said.contains("no worker is named"), "{said}");
}
