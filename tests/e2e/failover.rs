//! A worker is lost; its instances run elsewhere.

use crate::fleet::{Fleet, alive, assert_gapless, number};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Its workers may stand still for some seconds, as those of a busy machine do, and keep it.
const WEB: &str = "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 3\nstartsecs = 0\ntouch_timeout = \"9s\"\n";

/// Waits until every instance runs, none of them on `lost`.
fn wait_moved(fleet: &Fleet, lost: &str) -> Vec<Value> {
    dsbus_harness::wait_until("all to run elsewhere", crate::fleet::DEADLINE, || {
        let rows = fleet.try_json(&["status", "-o", "json"])?.as_array().unwrap().clone();
        let done = rows.iter().all(|r| r["state"] == "RUNNING" && r["worker"] != lost);
        if done { Ok(rows) } else { Err(format!("{rows:?}")) }
    })
}

fn on(rows: &[Value], worker: &str) -> Vec<Value> {
    rows.iter().filter(|r| r["worker"] == worker).cloned().collect()
}

#[test]
fn instances_of_a_killed_worker_run_elsewhere_under_a_greater_epoch() {
    let mut fleet = Fleet::start(2, 3);
    fleet.apply(WEB);
    let before = fleet.status();
    let lost = on(&before, "w1");
    assert_eq!(lost.len(), 1);
    fleet.kill_worker("w1");
    let after = wait_moved(&fleet, "w1");
    for (old, new) in before.iter().zip(&after) {
        if old["worker"] == "w1" {
            assert!(new["epoch"].as_u64() > old["epoch"].as_u64());
            assert!(!alive(number(&old["pid"])), "children die with their supervisor");
        } else {
            assert_eq!(old["pid"], new["pid"], "nothing else moves");
        }
    }
    let moved = fleet.wait_event("MOVED", |e| e["data"]["change"] == "MOVED");
    assert_eq!(moved["data"]["from"], "w1");
    let told = fleet
        .events()
        .iter()
        .filter(|e| e["data"]["change"] == "MOVED" && e["data"]["name"] == moved["data"]["name"])
        .count();
    assert_eq!(told, 1, "two schedulers, one move");
    assert_gapless(&fleet.events());
    // The worker comes back with nothing of what moved.
    fleet.worker("w1");
    fleet.wait_ready(3);
    let again: Vec<_> = fleet.status().iter().map(|r| r["pid"].clone()).collect();
    assert_eq!(again, after.iter().map(|r| r["pid"].clone()).collect::<Vec<_>>());
}

#[test]
fn whichever_scheduler_is_alive() {
    for survivor in ["s1", "s2"] {
        let mut fleet = Fleet::start(2, 2);
        fleet.apply(WEB);
        fleet.kill(if survivor == "s1" { "s2" } else { "s1" });
        fleet.kill_worker("w2");
        wait_moved(&fleet, "w2");
    }
}

#[test]
fn a_worker_lost_while_no_scheduler_lived_is_noticed_later() {
    let mut fleet = Fleet::start(1, 2);
    fleet.apply(WEB);
    let lost = on(&fleet.status(), "w1");
    fleet.kill("s1");
    let agent = lost[0]["worker"].as_str().unwrap().to_owned();
    assert_eq!(agent, "w1");
    // Nobody answers `workers` now: the pids come from the machine.
    let supervisor = fleet.pid("w1");
    fleet.kill("w1");
    assert!(!alive(supervisor));
    fleet.scheduler("s2");
    wait_moved(&fleet, "w1");
}

#[test]
fn a_stopped_worker_s_instances_move_unless_it_is_back() {
    let mut fleet = Fleet::start(1, 2);
    fleet.apply(WEB);
    fleet.signal("w2", Signal::SIGTERM);
    assert_eq!(fleet.wait_exit("w2"), Some(0));
    wait_moved(&fleet, "w2");
    assert_gapless(&fleet.events());
}

#[test]
fn a_worker_that_was_cut_off_stops_its_outdated_copies_when_it_is_back() {
    let mut fleet = Fleet::start(1, 1);
    let proxy = crate::proxy::Proxy::start(fleet.nats.port());
    fleet.worker_at("w2", &proxy.url());
    fleet.wait_ready(2);
    fleet.apply(WEB);
    let cut_off = on(&fleet.status(), "w2");
    assert!(!cut_off.is_empty());
    proxy.cut();
    wait_moved(&fleet, "w2");
    for row in &cut_off {
        assert!(alive(number(&row["pid"])), "not exclusive: a lost bus stops nothing");
    }
    proxy.heal();
    for row in &cut_off {
        crate::fleet::wait_dead(number(&row["pid"]));
    }
    fleet.wait_ready(2);
    let rows = fleet.status();
    assert!(rows.iter().all(|r| r["worker"] == "w1"), "nothing moves back: {rows:?}");
}
