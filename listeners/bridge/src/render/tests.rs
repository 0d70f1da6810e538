//! Byte for byte what Supervisor 4.3.0 says of the same.

use dsbus_schema::event::Source;
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

fn event(data: Value) -> Event {
    let data: Fact = serde_json::from_value(data).unwrap();
    let time = Timestamp::from_unix_nanos(0);
    Event::new(&FleetName::default(), &Source::Fleet, Uuid::nil(), time, data)
}

/// A change of state of `web:0` on w1, with these parts replaced.
fn process(from: &str, state: &str, edit: Value) -> Event {
    let mut fact = json!({
        "kind": "process", "name": "web:0", "id": Uuid::nil(), "worker": "w1", "epoch": 7, "seq": 1,
        "revision": 1, "from": from, "state": state, "pid": null, "exit": null, "reason": null,
    });
    let Value::Object(edit) = edit else { panic!("not a table") };
    fact.as_object_mut().unwrap().extend(edit);
    event(fact)
}

fn output(output: &str, channel: &str, text: &str) -> Event {
    event(json!({
        "kind": "output", "name": "web:0", "id": Uuid::nil(), "worker": "w1", "epoch": 7, "pid": 5,
        "channel": channel, "output": output, "text": text, "group": "shop", "process": "web_00",
    }))
}

fn said(event: &Event) -> Option<(&'static str, String)> {
    Renderer::new(false).render(event).map(|r| (r.name.as_str(), r.payload))
}

#[test]
fn every_change_of_state() {
    let code = |code: i32| json!({ "code": code, "signal": null });
    let exited = |expected: bool| {
        process("RUNNING", "EXITED", json!({ "pid": 5, "expected": expected, "exit": code(2) }))
    };
    for (event, name, payload) in [
        (
            process("STOPPED", "STARTING", json!({ "attempt": 1, "pid": 5 })),
            "PROCESS_STATE_STARTING",
            "processname:web groupname:web from_state:STOPPED tries:0",
        ),
        (
            process("BACKOFF", "STARTING", json!({ "attempt": 3, "pid": 5 })),
            "PROCESS_STATE_STARTING",
            "processname:web groupname:web from_state:BACKOFF tries:2",
        ),
        (
            process("STARTING", "BACKOFF", json!({ "attempt": 2, "pid": 5, "exit": code(1) })),
            "PROCESS_STATE_BACKOFF",
            "processname:web groupname:web from_state:STARTING tries:2",
        ),
        (
            process("STARTING", "RUNNING", json!({ "pid": 5 })),
            "PROCESS_STATE_RUNNING",
            "processname:web groupname:web from_state:STARTING pid:5",
        ),
        (
            process("RUNNING", "STOPPING", json!({ "pid": 5 })),
            "PROCESS_STATE_STOPPING",
            "processname:web groupname:web from_state:RUNNING pid:5",
        ),
        (
            process("STOPPING", "STOPPED", json!({ "pid": 5, "exit": code(0) })),
            "PROCESS_STATE_STOPPED",
            "processname:web groupname:web from_state:STOPPING pid:5",
        ),
        (
            process("BACKOFF", "STOPPED", json!({})),
            "PROCESS_STATE_STOPPED",
            "processname:web groupname:web from_state:BACKOFF pid:0",
        ),
        (
            exited(true),
            "PROCESS_STATE_EXITED",
            "processname:web groupname:web from_state:RUNNING expected:1 pid:5",
        ),
        (
            exited(false),
            "PROCESS_STATE_EXITED",
            "processname:web groupname:web from_state:RUNNING expected:0 pid:5",
        ),
        (
            process("BACKOFF", "FATAL", json!({})),
            "PROCESS_STATE_FATAL",
            "processname:web groupname:web from_state:BACKOFF",
        ),
        (
            process("RUNNING", "UNKNOWN", json!({ "worker": null })),
            "PROCESS_STATE_UNKNOWN",
            "processname:web groupname:web from_state:RUNNING",
        ),
    ] {
        assert_eq!(said(&event), Some((name, payload.to_owned())));
    }
    assert_eq!(said(&process("STOPPED", "PENDING", json!({}))), None);
    assert_eq!(said(&process("STOPPED", "FATAL", json!({ "worker": null, "seq": 0 }))), None);
}

#[test]
fn copies_and_groups_have_their_names() {
    for (event, name, payload) in [
        (
            process("PENDING", "STARTING", json!({ "name": "web:2", "group": "shop" })),
            "PROCESS_STATE_STARTING",
            "processname:web_02 groupname:shop from_state:STOPPED tries:0",
        ),
        (
            process("STARTING", "RUNNING", json!({ "process": "w-a", "group": "shop", "pid": 9 })),
            "PROCESS_STATE_RUNNING",
            "processname:w-a groupname:shop from_state:STARTING pid:9",
        ),
    ] {
        assert_eq!(said(&event), Some((name, payload.to_owned())));
    }
}

#[test]
fn what_is_not_about_a_state() {
    let worker = |change: &str| {
        event(
            json!({ "kind": "worker", "worker": "w1", "change": change, "reason": null, "incarnation": null }),
        )
    };
    let program = |change: &str, group: Value| {
        event(json!({
            "kind": "program", "program": "web", "id": Uuid::nil(), "change": change, "revision": 1, "group": group,
        }))
    };
    let group = |change: &str| event(json!({ "kind": "group", "group": "shop", "change": change }));
    let tick = |tick: &str| event(json!({ "kind": "tick", "tick": tick, "when": 1_201_063_880 }));
    for (event, name, payload) in [
        (
            output("log", "stdout", "grüße\nno end"),
            "PROCESS_LOG_STDOUT",
            "processname:web_00 groupname:shop pid:5 channel:stdout\ngrüße\nno end",
        ),
        (
            output("log", "stderr", "x\n"),
            "PROCESS_LOG_STDERR",
            "processname:web_00 groupname:shop pid:5 channel:stderr\nx\n",
        ),
        (
            output("communication", "stdout", "x"),
            "PROCESS_COMMUNICATION_STDOUT",
            "processname:web_00 groupname:shop pid:5\nx",
        ),
        (
            output("communication", "stderr", ""),
            "PROCESS_COMMUNICATION_STDERR",
            "processname:web_00 groupname:shop pid:5\n",
        ),
        (
            event(json!({ "kind": "user", "by": "ann", "type": "deploy", "text": "v 1.2\n" })),
            "REMOTE_COMMUNICATION",
            "type:deploy\nv 1.2\n",
        ),
        (worker("STARTED"), "SUPERVISOR_STATE_CHANGE_RUNNING", ""),
        (worker("STOPPING"), "SUPERVISOR_STATE_CHANGE_STOPPING", ""),
        (tick("TICK_5"), "TICK_5", "when:1201063880"),
        (tick("TICK_60"), "TICK_60", "when:1201063880"),
        (tick("TICK_3600"), "TICK_3600", "when:1201063880"),
        (program("ADDED", Value::Null), "PROCESS_GROUP_ADDED", "groupname:web\n"),
        (program("REMOVED", Value::Null), "PROCESS_GROUP_REMOVED", "groupname:web\n"),
        (group("ADDED"), "PROCESS_GROUP_ADDED", "groupname:shop\n"),
        (group("REMOVED"), "PROCESS_GROUP_REMOVED", "groupname:shop\n"),
    ] {
        assert_eq!(said(&event), Some((name, payload.to_owned())));
    }
    for silent in [
        worker("LOST"),
        program("CHANGED", Value::Null),
        program("ADDED", "shop".into()),
        group("FAILED"),
    ] {
        assert_eq!(said(&silent), None, "{silent:?}");
    }
}

#[test]
fn more_than_supervisor_knows_comes_last_and_only_when_asked_for() {
    let exit = |code: Value, signal: Value| {
        let exit = json!({ "code": code, "signal": signal });
        process("RUNNING", "EXITED", json!({ "pid": 5, "expected": false, "exit": exit }))
    };
    let own = "processname:web groupname:web from_state:RUNNING expected:0 pid:5";
    let renderer = Renderer::new(true);
    let payload = |event: &Event| renderer.render(event).unwrap().payload;
    let signalled = format!("{own} worker:w1 epoch:7 signal:9");
    assert_eq!(payload(&exit(Value::Null, json!(9))), signalled);
    let exited = format!("{own} worker:w1 epoch:7 exitcode:2");
    assert_eq!(payload(&exit(json!(2), Value::Null)), exited);
    let said = "processname:web_00 groupname:shop pid:5 channel:stdout worker:w1 epoch:7\nx";
    assert_eq!(payload(&output("log", "stdout", "x")), said);
}
