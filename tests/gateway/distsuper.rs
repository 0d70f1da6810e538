//! distsuper's HTTP interface, asked as `distsuper.api.server` 1.0.0 asks: JSON by POST, with every
//! parameter that it has, null where there is none.

use dsbus_harness::wait_until;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fleet::{DEADLINE, Fleet};
use crate::served::Gateway;

const JSON: (&str, &str) = ("content-type", "application/json");

fn ask(gateway: &Gateway, path: &str, said: &Value) -> Value {
    let answer = gateway.post(path, &[JSON], &said.to_string());
    assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    let said: Value = serde_json::from_str(&answer.body).unwrap();
    let keys: Vec<&String> = said.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["code", "data", "dmsg", "msg"]);
    said
}

/// What `create_process` of its Python client sends.
fn created(name: &str, command: &str, more: &Value) -> Value {
    let mut said = json!({
        "program_name": name, "command": command, "directory": null, "environment": null,
        "auto_start": true, "auto_restart": true, "touch_timeout": 5, "machines": "127.0.0.1",
        "max_fail_count": 1, "stdout_logfile": "/dev/null", "stderr_logfile": "/dev/null",
    });
    said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    said
}

fn id(id: &Value) -> Value {
    json!({ "program_id": id, "program_name": null })
}

#[test]
fn copies_that_stand_otherwise_are_not_already_there() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let ask = |path: &str| ask(&gateway, path, &json!({ "program_name": "web" }))["code"].clone();
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n");
    gateway.wait_state("web:0", "RUNNING", &[]);
    gateway.wait_state("web:1", "RUNNING", &[]);
    let halve = || {
        fleet.ok(&["stop", "web:0"]);
        gateway.wait_state("web:0", "STOPPED", &[]);
    };
    halve();
    assert_eq!(ask("/stop"), 200, "one ran");
    assert_eq!(fleet.row("web:1")["state"], "STOPPED");
    assert_eq!(ask("/stop"), 527);
    assert_eq!(ask("/start"), 200);
    halve();
    assert_eq!(ask("/start"), 200, "one was stopped");
    assert_eq!(fleet.row("web:0")["state"], "RUNNING");
    assert_eq!(ask("/start"), 526);
}

#[test]
fn a_client_of_distsuper_finds_what_it_knows() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let ask = |path: &str, said: &Value| ask(&gateway, path, said);
    assert_eq!(gateway.get("/check", &[]).code, 200);
    assert_eq!(ask("/touch", &json!({}))["data"], json!({}));
    let more = json!({ "environment": "A=a;SECRET=b=c", "directory": "/tmp" });
    let web = ask("/create", &created("web", "sleep 1000", &more));
    assert_eq!(web["code"], 200, "{web}");
    let web = web["data"]["program_id"].clone();
    let row = ask("/status", &id(&web))["data"].clone();
    assert_eq!((&row["id"], &row["name"], &row["status"]), (&web, &json!("web"), &json!(20)));
    assert_eq!((&row["machine"], &row["directory"]), (&json!("w1"), &json!("/tmp")));
    // Its values are secrets.
    assert_eq!(row["environment"], "A=;SECRET=");
    let pid = fleet.row("web:0")["pid"].clone();
    assert_eq!(ask("/start", &id(&web))["code"], 526);
    assert_eq!(ask("/restart", &id(&web))["data"], json!({ "program_id": web }));
    assert_ne!(fleet.row("web:0")["pid"], pid);
    assert_eq!(ask("/create", &created("web", "sleep 1", &json!({})))["code"], 514);
    assert_eq!(ask("/stop", &id(&web))["code"], 200);
    assert_eq!(ask("/stop", &json!({ "program_name": "web" }))["code"], 527);
    assert_eq!(ask("/status", &id(&web))["data"]["status"], 0);
    // Its status filters, its list, its parameters in a query and in a form.
    assert_eq!(ask("/status", &json!({ "program_name": "web", "status": 20 }))["code"], 525);
    assert_eq!(ask("/status", &json!({}))["data"].as_array().unwrap().len(), 1);
    assert_eq!(gateway.json("/status?program_name=web")["data"]["status"], 0);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let started = gateway.post("/start", &form, "program_name=web");
    assert!(started.body.contains("\"code\":200"), "{}", started.body);
    // It is created anew only when it is stopped, and stays the same program.
    ask("/stop", &id(&web));
    let again = ask("/create", &created("web", "sleep 2000", &json!({})));
    assert_eq!(again["data"]["program_id"], web, "{again}");
    assert_eq!(ask("/status", &id(&web))["data"]["status"], 20);
    for (path, said, code) in [
        ("/create", json!({ "program_name": "x" }), 413),
        ("/create", created("x", "", &json!({})), 412),
        ("/create", created("x", "true", &json!({ "environment": "A" })), 412),
        ("/start", json!({}), 413),
        ("/stop", json!({ "program_id": web, "program_name": "web" }), 412),
        ("/restart", json!({ "program_name": "none" }), 525),
        ("/status", json!({ "program_name": "none" }), 525),
    ] {
        assert_eq!(ask(path, &said)["code"], code, "{path} {said}");
    }
    // Nothing is changed by GET, which a page of another site can have sent.
    for path in ["/create", "/start", "/stop", "/restart"] {
        let said = gateway.json(&format!("{path}?program_name=web"));
        assert_eq!(said["code"], 400, "{path}");
    }
    assert_eq!(fleet.row("web:0")["state"], "RUNNING");
}

#[test]
fn what_distsuper_gets_wrong_is_right() {
    let mut fleet = Fleet::start(1, 2);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let ask = |path: &str, said: &Value| ask(&gateway, path, said);
    // One that is not to be restarted, and has ended, has; and how is known.
    let once =
        ask("/create", &created("once", "sleep 2; exit 3", &json!({ "auto_restart": false })));
    let once = once["data"]["program_id"].clone();
    let row = wait_until("the gateway to know that it has ended", DEADLINE, || {
        let row = ask("/status", &id(&once))["data"].clone();
        if row["status"] == 100 { Ok(row) } else { Err(row.to_string()) }
    });
    assert_eq!(row["exit"]["code"], 3, "{row}");
    // One that cannot run is given up, and whoever starts it is told why, and its id.
    let bad = ask("/create", &created("bad", "exit 7", &json!({ "auto_start": false })));
    assert_eq!(bad["code"], 200, "{bad}");
    let failed = ask("/start", &id(&bad["data"]["program_id"]));
    assert_eq!(failed["code"], 523, "{failed}");
    assert!(failed["dmsg"].as_str().unwrap().contains("bad:0"), "{failed}");
    // One whose machine dies runs on another, which its machines name.
    let machines = json!({ "machines": "w1;w2", "touch_timeout": 2 });
    let moved = ask("/create", &created("moved", "sleep 1000", &machines));
    // A machine that was slow for two seconds has lost it already: it is on either.
    let row = fleet.wait_state("moved:0", "RUNNING");
    let (from, to) = if row["worker"] == "w1" { ("w1", "w2") } else { ("w2", "w1") };
    assert_eq!(row["worker"], from, "{moved}");
    let agent = fleet.agent_pid(from);
    fleet.signal(from, Signal::SIGSTOP);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(agent), Signal::SIGKILL).unwrap();
    fleet.wait_row("moved:0", "to run elsewhere", |row| {
        row["worker"] == to && row["state"] == "RUNNING"
    });
    wait_until("the gateway to know it", DEADLINE, || {
        let row = ask("/status", &id(&moved["data"]["program_id"]))["data"].clone();
        if row["machine"] == to && row["status"] == 20 { Ok(()) } else { Err(row.to_string()) }
    });
    fleet.signal(from, Signal::SIGCONT);
}
