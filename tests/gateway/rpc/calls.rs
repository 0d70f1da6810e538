//! Calls, good and bad ones: what comes back is what a supervisord with the same programs answers.

use dsbus_harness::wait_until;
use serde_json::{Value, json};

use super::{call, try_call};
use crate::fleet::{DEADLINE, Fleet};
use crate::served::Gateway;
use crate::supervisord::{PROGRAMS, Supervisord};

/// Programs beside [`PROGRAMS`]: commands that cannot be run.
const BROKEN: &str = "
[program:data]
command=/etc/passwd
autostart=false

[program:folder]
command=/etc
autostart=false

[program:nowhere]
command=no-such-command-anywhere
autostart=false
";

/// What differs from run to run, as what it is.
fn lasting(value: &Value) -> Value {
    match value {
        Value::Array(values) => {
            let mut values: Vec<Value> = values.iter().map(lasting).collect();
            // In the order in which they happen to end.
            if values.iter().all(|one| one["status"].is_number()) {
                values.sort_by_key(|one| one["name"].to_string());
            }
            Value::Array(values)
        }
        Value::Object(members) => {
            let lasting = |(key, value): (&String, &Value)| {
                let shown = match key.as_str() {
                    "pid" | "start" | "now" => json!(value != 0),
                    // When one that runs had stopped before is not known.
                    "stop" => json!("a time, or 0"),
                    // Which file it is, a worker says; that of one that was never started is not known.
                    "logfile" | "stdout_logfile" | "stderr_logfile" => {
                        json!("a file, or none")
                    }
                    "description" => shape(value),
                    _ => lasting(value),
                };
                (key.clone(), shown)
            };
            Value::Object(members.iter().map(lasting).collect())
        }
        other => other.clone(),
    }
}

/// `pid 4711, uptime 0:00:01` and `Nov 27 12:28 AM` without their numbers.
fn shape(text: &Value) -> Value {
    let text = text.as_str().unwrap();
    if text.starts_with("pid ") {
        return json!("pid");
    }
    if text.ends_with(" AM") || text.ends_with(" PM") {
        return json!("date");
    }
    json!(text)
}

/// Both, with the same programs, as soon as these are as they stay.
fn both(fleet: &mut Fleet) -> (Supervisord, Gateway) {
    let programs = format!("{PROGRAMS}{BROKEN}");
    let peer = Supervisord::start_with(fleet, &programs);
    let gateway = Gateway::start(fleet, "g1", &[]);
    let file = fleet.file("programs.conf", &programs);
    // `once` has ended with 3, and so this fails.
    fleet.run(&["apply", &file]);
    let all = json!([["supervisor.getAllProcessInfo", []]]);
    wait_until("both to run the same", DEADLINE, || {
        // A socket is there a moment before anybody listens on it.
        let theirs = try_call(&[&peer.socket()], &all)?;
        let ours = call(&[&gateway.url], &all);
        let all = all_of(&ours);
        let count = |state: &str| all.iter().filter(|one| one["statename"] == state).count();
        let found = differing(&all, &all_of(&theirs));
        let settled = (count("RUNNING"), count("EXITED")) == (5, 1);
        if settled && found.is_empty() { Ok(()) } else { Err(format!("{settled} {found:?}")) }
    });
    (peer, gateway)
}

fn all_of(answers: &[Value]) -> Vec<Value> {
    answers[0].as_array().cloned().unwrap_or_default()
}

/// Pairs that differ by more than what differs from run to run.
fn differing(ours: &[Value], theirs: &[Value]) -> Vec<(Value, Value)> {
    let pairs = ours.iter().map(lasting).zip(theirs.iter().map(lasting));
    pairs.filter(|(ours, theirs)| ours != theirs).collect()
}

/// Makes the calls to both; where they differ.
fn compare(ours: &[&str], theirs: &[&str], calls: &Value) -> String {
    let (ours, theirs) = (call(ours, calls), call(theirs, calls));
    let mut wrong = String::new();
    for ((call, ours), theirs) in calls.as_array().unwrap().iter().zip(ours).zip(theirs) {
        for (ours, theirs) in differing(&parts(ours), &parts(theirs)) {
            let (call, ours, theirs) = (call.to_string(), ours.to_string(), theirs.to_string());
            wrong.extend(["--- ", &call, "\nours ", &ours, "\nis   ", &theirs, "\n"]);
        }
    }
    wrong
}

/// Parts of a long answer, so that the differing ones are seen.
fn parts(answer: Value) -> Vec<Value> {
    match answer {
        Value::Array(all) if all.len() > 5 => all,
        other => vec![other],
    }
}

#[test]
fn answers_and_faults_are_those_of_a_supervisord() {
    let mut fleet = Fleet::start(1, 1);
    let (peer, gateway) = both(&mut fleet);
    let (ours, theirs) = ([gateway.url.as_str()], [peer.socket()]);
    let theirs = [theirs[0].as_str()];
    let mut wrong = String::new();
    // Each of these sees what those before it have done.
    for calls in [looks(), faults(), logs(), many(), deeds(), bodies()] {
        wrong += &compare(&ours, &theirs, &calls);
    }
    let names = call(&theirs, &json!([["system.listMethods", []]])).remove(0);
    let signatures: Vec<Value> = names
        .as_array()
        .unwrap()
        .iter()
        .map(|name| json!(["system.methodSignature", [name]]))
        .collect();
    wrong += &compare(&ours, &theirs, &json!(signatures));
    assert!(wrong.is_empty(), "{wrong}");
    let help: Vec<Value> =
        names.as_array().unwrap().iter().map(|name| json!(["system.methodHelp", [name]])).collect();
    for (help, name) in call(&ours, &json!(help)).iter().zip(names.as_array().unwrap()) {
        let help = help.as_str().unwrap();
        assert!(help.contains("@return ") && help.lines().next().unwrap().ends_with('.'), "{name}");
    }
}

fn looks() -> Value {
    json!([
        ["supervisor.getAPIVersion", []],
        ["supervisor.getVersion", []],
        ["supervisor.getSupervisorVersion", []],
        ["supervisor.getState", []],
        ["system.listMethods", []],
        ["supervisor.getAllProcessInfo", []],
        ["supervisor.getAllConfigInfo", []],
        ["supervisor.getProcessInfo", ["mute"]],
        ["supervisor.getProcessInfo", ["shop:api"]],
        ["supervisor.getProcessInfo", ["once"]],
        ["supervisor.getProcessInfo", ["web:web_01"]],
        ["supervisor.reloadConfig", []],
    ])
}

fn faults() -> Value {
    let calls = r#"[
["supervisor.nope", []],
["nope.getState", []],
["getState", []],
["supervisor.getState.more", []],
["supervisor._update", ["x"]],
["system._listMethods", []],
["supervisor.getState", [1]],
["supervisor.startProcess", []],
["supervisor.startProcess", ["web", true, 1]],
["supervisor.readLog", [0]],
["system.methodHelp", ["nope"]],
["system.methodSignature", ["supervisor.nope"]],
["system.methodSignature", []],
["supervisor.getProcessInfo", ["nope"]],
["supervisor.getProcessInfo", ["api"]],
["supervisor.getProcessInfo", ["shop:*"]],
["supervisor.getProcessInfo", ["shop:nope"]],
["supervisor.startProcess", ["nope"]],
["supervisor.startProcess", ["nope:*"]],
["supervisor.startProcess", ["shop:nope"]],
["supervisor.startProcess", ["mute"]],
["supervisor.startProcess", ["shop:api", false]],
["supervisor.startProcess", ["bad"]],
["supervisor.startProcess", ["bad", false]],
["supervisor.startProcess", ["data"]],
["supervisor.startProcess", ["folder"]],
["supervisor.startProcess", ["nowhere"]],
["supervisor.startProcess", ["quick"]],
["supervisor.startProcessGroup", ["nope"]],
["supervisor.startProcessGroup", ["bad"]],
["supervisor.startProcessGroup", ["shop"]],
["supervisor.stopProcess", ["nope"]],
["supervisor.stopProcess", ["nope:*"]],
["supervisor.stopProcess", ["bad"]],
["supervisor.stopProcess", ["once"]],
["supervisor.stopProcessGroup", ["nope"]],
["supervisor.stopProcessGroup", ["bad"]],
["supervisor.signalProcess", ["nope", "HUP"]],
["supervisor.signalProcess", ["mute", "NOPE"]],
["supervisor.signalProcess", ["mute", "65000"]],
["supervisor.signalProcess", ["bad", "HUP"]],
["supervisor.signalProcess", ["mute", "sigcont"]],
["supervisor.signalProcess", ["mute", 18]],
["supervisor.signalProcess", ["web:*", "CONT"]],
["supervisor.signalProcessGroup", ["web", "NOPE"]],
["supervisor.signalProcessGroup", ["nope", "HUP"]],
["supervisor.signalProcessGroup", ["bad", "HUP"]],
["supervisor.signalAllProcesses", ["NOPE"]],
["supervisor.signalAllProcesses", ["CONT"]],
["supervisor.clearProcessLogs", ["nope"]],
["supervisor.clearProcessLog", ["shop:*"]],
["supervisor.sendProcessStdin", ["nope", "x"]],
["supervisor.sendProcessStdin", ["shop:*", "x"]],
["supervisor.sendProcessStdin", ["bad", "x"]],
["supervisor.sendProcessStdin", ["mute", 5]],
["supervisor.addProcessGroup", ["web"]],
["supervisor.addProcessGroup", ["nope"]],
["supervisor.removeProcessGroup", ["nope"]],
["supervisor.removeProcessGroup", ["web"]]
]"#;
    serde_json::from_str(calls).unwrap()
}

fn logs() -> Value {
    let mut calls = Vec::new();
    // `once` has said "hello\nworld\n", and "oops\n".
    for (offset, length) in [
        (0, 0),
        (3, 0),
        (100, 0),
        (-4, 0),
        (-100, 0),
        (0, 5),
        (2, 3),
        (7, 100),
        (100, 5),
        (-1, 1),
        (0, -1),
        (5, -5),
        (-5, -5),
    ] {
        for name in ["readProcessStdoutLog", "readProcessStderrLog", "readProcessLog"] {
            calls.push(json!([format!("supervisor.{name}"), ["once", offset, length]]));
        }
    }
    for (offset, length) in [
        (0, 5),
        (0, 12),
        (0, 100),
        (3, 4),
        (3, 100),
        (11, 1),
        (12, 5),
        (13, 5),
        (100, 10),
        (-3, 5),
        (5, -1),
        (0, 0),
        (12, 0),
        (100, 0),
    ] {
        for name in ["tailProcessStdoutLog", "tailProcessStderrLog", "tailProcessLog"] {
            calls.push(json!([format!("supervisor.{name}"), ["once", offset, length]]));
        }
    }
    for name in ["nope", "shop:*", "shop:nope"] {
        calls.push(json!(["supervisor.readProcessStdoutLog", [name, 0, 0]]));
        calls.push(json!(["supervisor.tailProcessStderrLog", [name, 0, 9]]));
    }
    calls.push(json!(["supervisor.readProcessStdoutLog", ["mute", 0, 0]]));
    calls.push(json!(["supervisor.readProcessStderrLog", ["mute", 0, 0]]));
    calls.push(json!(["supervisor.tailProcessStderrLog", ["mute", 0, 9]]));
    calls.push(json!(["supervisor.readProcessStdoutLog", ["once", "0", "5"]]));
    json!(calls)
}

fn many() -> Value {
    let one = |method: &str, params: Value| json!({ "methodName": method, "params": params });
    json!([
        ["system.multicall", [[]]],
        ["system.multicall", []],
        [
            "system.multicall",
            [[
                one("supervisor.getVersion", json!([])),
                { "methodName": "supervisor.getState" },
                { "params": [] },
                one("system.multicall", json!([[]])),
                one("supervisor.nope", json!([])),
                one("supervisor.getProcessInfo", json!(["nope"])),
                one("supervisor.getState", json!([1])),
                one("supervisor.stopProcess", json!(["mute"])),
                one("supervisor.getProcessInfo", json!(["mute"])),
                one("supervisor.startProcess", json!(["mute"])),
                one("supervisor.getProcessInfo", json!(["mute"])),
                one("supervisor.stopProcessGroup", json!(["bad"])),
                one("system.listMethods", json!([])),
            ]],
        ],
    ])
}

fn deeds() -> Value {
    json!([
        ["supervisor.stopProcess", ["shop:api"]],
        ["supervisor.getProcessInfo", ["shop:api"]],
        ["supervisor.stopProcess", ["shop:api"]],
        ["supervisor.startProcess", ["shop:api"]],
        ["supervisor.getProcessInfo", ["shop:api"]],
        ["supervisor.startProcess", ["shop:*"]],
        ["supervisor.stopProcessGroup", ["mute", true]],
        ["supervisor.startProcessGroup", ["mute", false]],
        ["supervisor.stopProcess", ["mute", false]],
        ["supervisor.clearProcessLogs", ["shop:api"]],
        ["supervisor.readProcessStdoutLog", ["shop:api", 0, 0]],
        ["supervisor.removeProcessGroup", ["once"]],
        ["supervisor.getProcessInfo", ["once"]],
        ["supervisor.stopProcess", ["web:*", "yes"]],
    ])
}

/// Bodies as they are, some of which are no calls.
fn bodies() -> Value {
    let call = |inside: &str| format!("<?xml version='1.0'?><methodCall>{inside}</methodCall>");
    let named = |rest: &str| call(&format!("<methodName>supervisor.getState</methodName>{rest}"));
    json!([
        "hello",
        "<methodCall>",
        call(""),
        call("<methodName></methodName>"),
        call("<params></params>"),
        named(""),
        named("<params/>"),
        named("<params></params>"),
        named("<params><param><value><int>x</int></value></param></params>"),
        named("<params><param></param></params>"),
        named("<params><param><value><array></array></value></param></params>"),
        named("<params>"),
        call("<methodName>&nope;</methodName>"),
    ])
}
