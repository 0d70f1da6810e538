//! Changes that are rolled out: `apply`, `rollout`, `history`.

use crate::fleet::{Fleet, number};
use dsbus_harness::wait_until;
use serde_json::Value;

use crate::fleet::DEADLINE;

fn declare(command: &str, update: &str) -> String {
    format!(
        "[program.web]\ncommand = \"{command}\"\nnumprocs = 3\nstartsecs = 0\nstartretries = 0\n\
         max_fail_count = 1\nupdate = {{ {update} }}\n"
    )
}

fn pids(fleet: &Fleet) -> Vec<i32> {
    fleet.status().iter().map(|row| number(&row["pid"])).collect()
}

fn rollout(fleet: &Fleet) -> Value {
    fleet.json(&["rollout", "status", "web", "-o", "json"])[0].clone()
}

fn types(fleet: &Fleet) -> Vec<String> {
    let events = fleet.events();
    let rollouts = events.iter().filter(|e| e["data"]["kind"] == "rollout");
    rollouts.map(|e| e["data"]["change"].as_str().unwrap().to_owned()).collect()
}

/// Events are published aside, by whichever scheduler: in the stream they may stand in another
/// order than they happened.
fn wait_types(fleet: &Fleet, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    wait_until(&format!("the events {expected:?}"), DEADLINE, || {
        let mut types = types(fleet);
        types.sort_unstable();
        if types == expected { Ok(()) } else { Err(format!("{types:?}")) }
    });
}

#[test]
fn a_change_is_shown_rolled_out_told_and_undone() {
    let fleet = Fleet::start(2, 2);
    fleet.apply(&declare("sleep 1000", "max_unavailable = 1"));
    let before = pids(&fleet);
    let file = fleet.file("web.toml", &declare("sleep 2000", "max_unavailable = 1"));

    let said = fleet.ok(&["apply", "--dry-run", &file]);
    assert!(said.contains("web: would be changed (3 instances): command"), "{said}");
    assert!(said.contains("First steps:") && said.contains("to revision 2"), "{said}");
    let dry = fleet.json(&["apply", "--dry-run", &file, "-o", "json"]);
    assert_eq!(dry["programs"][0]["rolls"], true);
    assert_eq!(fleet.row("web:0")["revision"], 1, "nothing was applied");
    assert_eq!(pids(&fleet), before);

    let said = fleet.ok(&["--as", "ann", "apply", &file]);
    assert!(said.contains("web: changed (3 instances): command; it is rolled out"), "{said}");
    assert!(said.contains("web: rolled out (revision 2)"), "{said}");
    let after = pids(&fleet);
    assert!(before.iter().zip(&after).all(|(a, b)| a != b), "{before:?} {after:?}");
    let row = rollout(&fleet);
    assert_eq!((&row["state"], &row["revision"]), (&Value::Null, &Value::from(2)));

    let said = fleet.ok(&["rollout", "undo", "web"]);
    assert!(said.contains("rolled out (revision 3)"), "{said}");
    let history = fleet.json(&["history", "web", "-o", "json"]);
    let of = |n: usize, key: &str| history[n][key].clone();
    assert_eq!(history.as_array().unwrap().len(), 3);
    assert_eq!((of(1, "by"), of(1, "changed")), (Value::from("ann"), Value::from(vec!["command"])));
    assert_eq!((of(0, "reason"), of(1, "reason")), (Value::Null, Value::Null));
    assert_eq!(of(2, "reason"), "undo to revision 1");
    assert_eq!((of(1, "current"), of(2, "current")), (Value::from(false), Value::from(true)));
    let table = fleet.ok(&["history", "web"]);
    assert!(table.contains("3 (now)") && table.contains("undo to revision 1 (command)"), "{table}");
    wait_types(&fleet, &["STARTED", "DONE", "REVERTED", "DONE"]);

    let said = fleet.fails(1, &["rollout", "undo", "web", "--to", "9"]);
    assert!(said.contains("no revision 9: there are 1 to 3"), "{said}");
    let said = fleet.fails(1, &["rollout", "undo", "web", "--to", "1"]);
    assert!(said.contains("is as in revision 1 already"), "{said}");
    let said = fleet.fails(1, &["rollout", "pause", "web"]);
    assert!(said.contains("no rollout of web is going on"), "{said}");
    fleet.ok(&["create", "once", "--startsecs", "0", "--", "sleep", "1000"]);
    let said = fleet.fails(1, &["rollout", "undo", "once"]);
    assert!(said.contains("nothing to go back to"), "{said}");
}

#[test]
fn canaries_wait_for_promotion() {
    let fleet = Fleet::start(1, 2);
    fleet.apply(&declare("sleep 1000", "canary = 1"));
    let before = pids(&fleet);
    let file = fleet.file("web.toml", &declare("sleep 2000", "canary = 1"));
    let said = fleet.fails(5, &["apply", &file]);
    assert!(said.contains("waits to be promoted") && said.contains("1 of 3 changed"), "{said}");
    assert!(said.contains("dsbus rollout promote web"), "{said}");
    let now = pids(&fleet);
    assert!(now[0] != before[0] && now[1..] == before[1..], "{before:?} {now:?}");
    let row = rollout(&fleet);
    assert_eq!(row["awaits_promotion"], true, "{row}");
    let table = fleet.ok(&["rollout", "status"]);
    assert!(table.contains("1 -> 2") && table.contains("1/3"), "{table}");

    let said = fleet.ok(&["rollout", "pause", "web"]);
    assert!(said.contains("paused"), "{said}");
    let said = fleet.fails(5, &["rollout", "status", "-w", "web"]);
    assert!(said.contains("paused by anonymous") && said.contains("rollout resume web"), "{said}");
    fleet.ok(&["rollout", "promote", "web", "--no-wait"]);
    assert_eq!(pids(&fleet), now, "it is still paused");
    let ended = fleet.json(&["rollout", "resume", "web", "-o", "json"]);
    assert_eq!(ended[0]["result"], "done", "{ended}");
    let last = pids(&fleet);
    assert!(last[0] == now[0] && last[1] != now[1] && last[2] != now[2], "{now:?} {last:?}");
    assert_eq!(fleet.ok(&["rollout", "status"]).trim(), "No rollout is going on");
    wait_types(&fleet, &["STARTED", "PAUSED", "PROMOTED", "RESUMED", "DONE"]);
}

#[test]
fn a_rollout_that_fails_stops_or_goes_back() {
    let fleet = Fleet::start(2, 1);
    fleet.apply(&declare("sleep 1000", "max_unavailable = 1"));
    let before = pids(&fleet);
    let bad = declare("/no/such/thing", "max_unavailable = 1");
    let file = fleet.file("web.toml", &bad);
    let said = fleet.fails(1, &["apply", &file]);
    assert!(said.contains("the rollout failed") && said.contains("web:0 ended FATAL"), "{said}");
    assert!(said.contains("dsbus rollout undo web"), "{said}");
    assert_eq!(rollout(&fleet)["state"], "failed");
    for n in [1, 2] {
        assert_eq!(number(&fleet.row(&format!("web:{n}"))["pid"]), before[n], "the rest runs on");
    }
    fleet.ok(&["rollout", "undo", "web"]);
    assert_eq!(pids(&fleet)[1..], before[1..], "those that were not changed live on");
    assert_eq!(fleet.row("web:0")["state"], "RUNNING");

    let file = fleet.file("web.toml", &declare("/no/such/thing", "auto_revert = true"));
    let said = fleet.fails(1, &["apply", &file]);
    assert!(said.contains("went back to revision"), "{said}");
    for n in 0..3 {
        fleet.wait_state(&format!("web:{n}"), "RUNNING");
    }
    let history = fleet.json(&["history", "web", "-o", "json"]);
    let last = history.as_array().unwrap().last().unwrap();
    assert_eq!((&last["by"], &last["current"]), (&Value::Null, &Value::from(true)), "{last}");
}

#[test]
fn a_change_that_children_live_through_needs_no_rollout() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(&declare("sleep 1000", "max_unavailable = 1"));
    let before = pids(&fleet);
    let file = fleet.file("web.toml", &declare("sleep 1000", "max_unavailable = 2"));
    let applied = fleet.json(&["apply", &file, "-o", "json"]);
    assert_eq!((&applied[0]["rolls"], &applied[0]["revision"]), (&false.into(), &2.into()));
    assert_eq!(applied[0]["changed"], Value::from(vec!["update"]));
    assert_eq!(pids(&fleet), before);
    assert_eq!(types(&fleet), [""; 0]);
}

#[test]
fn an_undo_of_a_scale_returns_when_it_is_so() {
    let fleet = Fleet::start(2, 1);
    fleet.apply(&declare("sleep 1000", "max_unavailable = 1"));
    let before = pids(&fleet);
    fleet.ok(&["scale", "web=6"]);
    fleet.ok(&["rollout", "undo", "web"]);
    wait_until("three instances", DEADLINE, || {
        // One that is on its way out has no process.
        let now: Vec<_> = fleet.status().iter().map(|row| row["pid"].clone()).collect();
        if now == before { Ok(()) } else { Err(format!("{now:?}")) }
    });
    fleet.ok(&["rollout", "undo", "web"]);
    assert_eq!(fleet.status().len(), 6, "the other way round all run when it returns");
    assert!(fleet.status().iter().all(|row| row["state"] == "RUNNING"));
    assert_eq!(pids(&fleet)[..3], before);
}
