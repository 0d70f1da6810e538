//! Reloads of real children.

use dsbus_schema::event::Notice;
use dsbus_schema::program::Probe;
use dsbus_schema::state::State;
use dsbus_schema::status::RELOAD_FAILED;
use dsbus_supervisor::protocol::Order;

use crate::stage::{Stage, alive, order, script};

fn ready_when(words: &[&str]) -> Probe {
    serde_json::from_value(serde_json::json!({"exec": words, "interval": "50ms"})).unwrap()
}

fn reload(order: &Order) -> Order {
    let mut order = order.clone();
    order.placement.wanted.reloads += 1;
    order
}

#[test]
fn the_new_child_runs_before_the_old_one_is_stopped() {
    let mut stage = Stage::open();
    let order = order("web", &["sleep", "1000"], |spec| {
        spec.startsecs = "200ms".parse().unwrap();
        spec.readiness = Some(ready_when(&["cat", "ready"]));
    });
    stage.place(&order);
    stage.change("web", State::Starting);
    let ready = stage.file("web", "ready");
    std::fs::write(&ready, "").unwrap();
    let old = stage.change("web", State::Running).0.pid.unwrap();
    // The new one is not ready before it is said so.
    std::fs::remove_file(&ready).unwrap();
    stage.place(&reload(&order));
    assert_eq!(stage.notice("web", Notice::ReloadStarted).pid, Some(old));
    assert!(alive(old));
    std::fs::write(&ready, "").unwrap();
    let new = stage.notice("web", Notice::ReloadSwitched).pid.unwrap();
    let status = stage.status("web", |status| status.wanted.reloads == 1);
    assert_eq!((status.pid, status.state), (Some(new), State::Running));
    stage.wait_for("the old one to go", || !alive(old));
    assert!(alive(new) && new != old);
}

#[test]
fn when_the_new_child_fails_the_old_one_stays() {
    let mut stage = Stage::open();
    // Only the first child may run.
    let text = "mkdir only || { echo one is enough >&2; exit 3; }; exec sleep 1000";
    let order = script("web", text, |spec| {
        spec.startsecs = "300ms".parse().unwrap();
        spec.readiness = Some(ready_when(&["sh", "-c", "[ ! -e second ]"]));
    });
    let old = stage.run(&order);
    // The second one may take longer than its startsecs to fail: it is not ready before.
    std::fs::write(stage.file("web", "second"), "").unwrap();
    stage.place(&reload(&order));
    let failed = stage.notice("web", Notice::ReloadFailed);
    assert!(failed.reason.contains("exit code 3") && failed.reason.contains("one is enough"));
    let status = stage.status("web", |status| status.wanted.reloads == 1);
    assert_eq!((status.pid, status.state), (Some(old), State::Running));
    assert!(status.reason.unwrap().starts_with(RELOAD_FAILED) && alive(old));
}

#[test]
fn by_a_signal_the_child_stays() {
    let mut stage = Stage::open();
    let text = "trap 'echo again >> seen' HUP; echo > ready; while :; do sleep 0.05; done";
    let order = script("web", text, |spec| spec.reload_signal = Some("HUP".parse().unwrap()));
    let pid = stage.run(&order);
    stage.read(&stage.file("web", "ready"));
    stage.place(&reload(&order));
    assert_eq!(stage.notice("web", Notice::Reloaded).pid, Some(pid));
    assert_eq!(stage.read(&stage.file("web", "seen")), "again\n");
    assert!(alive(pid));
}
