//! JSON over HTTP: every route, and whatever may go wrong with one.

use dsbus_harness::wait_until;
use serde_json::{Value, json};

use crate::admit::USERS;
use crate::fleet::{DEADLINE, Fleet};
use crate::openapi::Api;
use crate::served::Gateway;

/// Two programs, one of them in a group and with a secret.
const PROGRAMS: &str = r#"
    [program.web]
    command = "sleep 1000"
    numprocs = 2
    startsecs = 0
    [program.cat]
    command = "cat"
    stdin = true
    group = "tools"
    startsecs = 0
    environment = { PASSWORD = "hunter2" }
"#;

/// A fleet whose programs run, and a gateway that knows it.
fn served() -> (Fleet, Gateway) {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply(PROGRAMS);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    wait_until("the gateway to know all that runs", DEADLINE, || {
        let rows = gateway.json("/api/v1/instances?state=RUNNING");
        let programs = gateway.json("/api/v1/programs");
        let all = (rows.as_array().unwrap().len(), programs.as_array().unwrap().len());
        if all == (3, 2) { Ok(()) } else { Err(format!("{rows:#} {programs:#}")) }
    });
    (fleet, gateway)
}

#[test]
fn what_is_known_is_shown() {
    let (_fleet, gateway) = served();
    let api = Api::new(&gateway);
    // A scheduler that was slow to answer once is told of until it answers.
    let me = wait_until("a scheduler to answer", DEADLINE, || {
        let me = api.get("/me");
        if me["silent"].is_null() { Ok(me) } else { Err(me) }
    });
    assert_eq!((&me["user"], &me["role"]), (&json!("anonymous"), &json!("operator")));
    assert_eq!((&me["fleet"], &me["silent"]), (&json!("default"), &Value::Null));
    let names = |path: &str| -> Vec<String> {
        let all = api.get(path);
        all.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("/instances"), ["cat:0", "web:0", "web:1"]);
    assert_eq!(names("/instances?program=web"), ["web:0", "web:1"]);
    assert_eq!(names("/instances?group=tools"), ["cat:0"]);
    assert_eq!(names("/instances?group=web&worker=w1"), ["web:0", "web:1"]);
    assert_eq!(names("/instances?worker=w2"), [""; 0]);
    assert_eq!(names("/instances?state=FATAL"), [""; 0]);
    assert_eq!(api.get("/instances/web:1")["state"], "RUNNING");
    assert_eq!(api.get("/instances/web:1/explain")["worker"], "w1");
    assert_eq!(names("/programs"), ["cat", "web"]);
    assert_eq!(api.get("/programs")[0]["group"], "tools");
    assert_eq!(names("/workers"), ["w1"]);
    assert_eq!(api.get("/workers/w1")["state"], "ready");
    assert_eq!(names("/groups"), ["tools"]);
    assert_eq!(api.get("/rollouts"), json!([]));
    assert_eq!(api.get("/programs/web/history")[0]["revision"], 1);
}

#[test]
fn what_happened_is_told_newest_first() {
    let (fleet, gateway) = served();
    let api = Api::new(&gateway);
    let states = |events: &[&Value]| -> Vec<String> {
        events
            .iter()
            .map(|event| event["data"]["state"].as_str().unwrap_or("").to_owned())
            .collect()
    };
    // Who places and who starts tell it each for itself: which comes first is chance.
    wait_until("all to be told", DEADLINE, || {
        let all = api.get("/events?kind=placement&type=PLACED");
        let running = api.get("/events?kind=process&type=RUNNING");
        let told = [all, running].map(|all| all["events"].as_array().unwrap().len());
        if told == [3, 3] { Ok(()) } else { Err(format!("{told:?}")) }
    });
    let all = api.get("/instances/web:0/events");
    let all: Vec<&Value> = all.as_array().unwrap().iter().collect();
    assert!(all.iter().all(|event| event["subject"] == "web:0"), "{all:#?}");
    let told = states(&all);
    let told: Vec<&str> = told.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
    assert_eq!(told, ["RUNNING", "STARTING"]);
    assert_eq!(api.get("/instances/web:0/events?limit=1"), json!([all[0]]));
    let seqs = |path: &str| -> Vec<u64> {
        let all = api.get(path);
        all["events"].as_array().unwrap().iter().map(|one| one["seq"].as_u64().unwrap()).collect()
    };
    let of_fleet = seqs("/events");
    assert!(of_fleet.len() > 5 && of_fleet.is_sorted_by(|a, b| a > b), "{of_fleet:?}");
    let first = seqs(&format!("/events?limit=3&before={}", of_fleet[0] + 1));
    let rest = format!("/events?limit=1000&before={}", of_fleet[2]);
    assert_eq!(first[..], of_fleet[..3]);
    assert_eq!(seqs(&rest)[..of_fleet.len() - 3], of_fleet[3..]);
    let runs = api.get("/events?about=web&kind=process&type=RUNNING");
    let runs: Vec<&Value> =
        runs["events"].as_array().unwrap().iter().map(|one| &one["event"]).collect();
    assert_eq!(states(&runs), ["RUNNING", "RUNNING"]);
    fleet.ok(&["emit", "deployed", "it"]);
    assert_eq!(api.get("/events?limit=1&kind=user")["events"][0]["event"]["subject"], "anonymous");
    for (query, key) in [
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("kind=nothing", "kind"),
        ("about=a%2Fb", "about"),
        ("before=-1", "before"),
        ("wiat=3", "wiat"),
    ] {
        assert_eq!(api.refused(400, "GET", &format!("/events?{query}"), "")[1], key, "{query}");
    }
}

#[test]
fn secrets_stay_in_the_gateway() {
    let (_fleet, gateway) = served();
    let api = Api::new(&gateway);
    let cat = api.get("/programs/cat");
    assert_eq!(cat["spec"]["environment"], json!({ "PASSWORD": null }));
    assert_eq!(cat["spec"]["command"], "cat");
    // Nor does the declaration that a rollout goes back to.
    let changed = json!({ "programs": { "cat": {
        "command": "cat -u", "stdin": true, "environment": { "PASSWORD": "hunter2" },
    } } });
    assert_eq!(api.ask("PUT", "/programs", &changed.to_string()).code, 200);
    for (method, path) in api.operations() {
        let path = path.strip_prefix("/api/v1").unwrap();
        let name = if path.starts_with("/instances") { "cat:0" } else { "cat" };
        if method != "GET" || path == "/stream" {
            continue;
        }
        let answer = gateway.get(&format!("/api/v1{}", path.replace("{name}", name)), &[]);
        assert!(!answer.body.contains("hunter2"), "{path}: {}", answer.body);
    }
}

#[test]
fn acting_is_answered_at_once_or_when_it_is_so() {
    let (fleet, gateway) = served();
    let api = Api::new(&gateway);
    let at_once = api.post("/instances/web:0/stop", &json!({}));
    assert_eq!(
        (&at_once[0]["name"], &at_once[0]["wanted"]["run"]),
        (&json!("web:0"), &json!(false))
    );
    assert_eq!(at_once[0].get("result"), None);
    let waited = api.post("/programs/web/stop?wait=60s", &json!({}));
    let results: Vec<&Value> =
        waited.as_array().unwrap().iter().map(|row| &row["result"]).collect();
    assert_eq!(results, ["done", "done"]);
    assert_eq!(fleet.row("web:1")["state"], "STOPPED");
    let started = api.post("/act?wait=60", &json!({ "verb": "start", "names": ["web:*"] }));
    assert_eq!((started.as_array().unwrap().len(), &started[1]["result"]), (2, &json!("done")));
    let pid = fleet.row("web:0")["pid"].clone();
    api.post("/instances/web:0/restart?wait=60s", &json!({}));
    assert_ne!(fleet.row("web:0")["pid"], pid);
    let reloaded = api.post("/instances/web:0/reload?wait=60s", &json!({}));
    assert_eq!(reloaded[0]["result"], "done");
    let disabled = api.post("/instances/web:0/disable?wait=60s", &json!({}));
    assert_eq!(disabled[0]["result"], "done");
    api.refused(409, "POST", "/instances/web:0/start", "");
    api.post("/instances/web:0/enable", &json!({}));
    api.post("/instances/web:0/start?wait=60s", &json!({}));
    // What cannot come true is told before the time is up, and what may yet be when it is.
    fleet.apply(
        "[program.bad]\ncommand = \"/no/such\"\nautostart = false\nstartretries = 0\n\
         [program.none]\ncommand = \"true\"\nmachines = \"w9\"\nautostart = false",
    );
    let failed = api.post("/act?wait=500", &json!({ "verb": "start", "names": ["bad"] }));
    assert_eq!(failed[0]["result"], "failed");
    assert!(failed[0]["detail"].as_str().unwrap().contains("/no/such"), "{failed}");
    let late = api.post("/programs/none/start?wait=1ms", &json!({}));
    assert_eq!(late[0]["result"], "waiting");
}

#[test]
fn a_child_is_given_signals_and_input_and_its_logs_are_emptied() {
    let (fleet, gateway) = served();
    let api = Api::new(&gateway);
    let pid = fleet.row("cat:0")["pid"].clone();
    assert_eq!(api.post("/instances/cat:0/stdin", &json!({ "text": "hello\nyou\n" }))["bytes"], 10);
    let log = || gateway.get_answered("/api/v1/instances/cat:0/log?lines=1", &[]).body;
    wait_until("cat to say it", DEADLINE, || if log() == "you\n" { Ok(()) } else { Err(log()) });
    api.post("/instances/cat:0/clear", &json!({}));
    assert_eq!(log(), "");
    let sent = api.post("/instances/cat:0/signal", &json!({ "signal": "SIGKILL" }));
    assert_eq!((&sent["pid"], &sent["signal"]), (&pid, &json!("KILL")));
    fleet.wait_row("cat:0", "another process", |row| row["pid"].is_i64() && row["pid"] != pid);
    for (path, body, key) in [
        ("signal", json!({ "signal": "NONE" }), "signal"),
        ("signal", json!({}), "signal"),
        ("stdin", json!({ "text": 5 }), "text"),
        ("stdin", json!({ "text": "a", "more": true }), "more"),
    ] {
        let path = format!("/instances/cat:0/{path}");
        assert_eq!(api.refused(400, "POST", &path, &body.to_string())[1], key, "{path} {body}");
    }
    api.post("/instances/web:0/stop?wait=60s", &json!({}));
    let [why, _] = api.refused(409, "POST", "/instances/web:0/signal", r#"{"signal": "HUP"}"#);
    assert!(why.contains("web:0 has no process: it is STOPPED"), "{why}");
    // One that has no input says so, and its worker too.
    let [why, _] = api.refused(409, "POST", "/instances/web:1/stdin", r#"{"text": "a"}"#);
    assert!(why.contains("web:1") && why.contains("w1"), "{why}");
}

#[test]
fn programs_are_declared_changed_scaled_and_removed() {
    let (fleet, gateway) = served();
    let api = Api::new(&gateway);
    let put = |body: Value| {
        let answer = api.ask("PUT", "/programs", &body.to_string());
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    let keys = json!({ "command": "sleep 2000", "numprocs": 2 });
    let dry = put(json!({ "programs": { "web": keys }, "dry_run": true }));
    assert_eq!(dry["programs"][0]["changed"], json!(["command", "startsecs"]));
    assert_eq!(fleet.json(&["history", "web", "-o", "json"]).as_array().unwrap().len(), 1);
    let applied = put(json!({ "programs": { "web": keys } }));
    assert_eq!(applied["programs"][0]["revision"], 2);
    let created =
        api.post("/programs/new", &json!({ "command": "sleep 3000", "autostart": false }));
    assert_eq!(created["programs"][0]["change"], "created");
    assert_eq!(
        api.post("/programs/new/scale", &json!({ "numprocs": 3 }))["programs"][0]["numprocs"],
        3
    );
    api.post("/programs/web/rollout", &json!({ "step": "undo", "to": 1 }));
    wait_until("the program to be as it was", DEADLINE, || {
        let now = api.get("/programs/web");
        if now["spec"]["command"] == "sleep 1000" { Ok(()) } else { Err(now.to_string()) }
    });
    let gone = api.ask("DELETE", "/programs/new?wait=60s", "");
    let gone: Value = serde_json::from_str(&gone.body).unwrap();
    assert_eq!((&gone[2]["name"], &gone[2]["result"]), (&json!("new:2"), &json!("done")));
    for (method, path, body, key) in [
        ("PUT", "/programs", r#"{"programs": {"web": {"command": 5}}}"#, "command"),
        ("PUT", "/programs", r#"{"programs": {"a b": {"command": "x"}}}"#, "programs.a b"),
        ("PUT", "/programs", r#"{"programs": 5}"#, "programs"),
        ("POST", "/programs/bad", r#"{"command": "x", "numprocs": "many"}"#, "numprocs"),
        ("POST", "/programs/a.b", r#"{"command": "x"}"#, "name"),
        ("POST", "/programs/web/scale", r#"{"numprocs": -1}"#, "numprocs"),
        ("POST", "/programs/web/rollout", r#"{"step": "jump"}"#, "step"),
        ("POST", "/act", r#"{"verb": "eat", "names": ["web"]}"#, "verb"),
        ("POST", "/act", r#"{"verb": "stop", "names": ["web", "a/b"]}"#, "names[1]"),
        ("POST", "/act", r#"{"verb": "stop", "names": []}"#, "names"),
        ("POST", "/act?wait=soon", r#"{"verb": "stop", "names": ["web"]}"#, "wait"),
        ("POST", "/programs/web/stop?wait=1h", "", "wait"),
    ] {
        let [why, named] = api.refused(400, method, path, body);
        assert!(named.ends_with(key), "{method} {path} {body}: {named:?}: {why}");
    }
    // It runs.
    api.refused(409, "POST", "/programs/web", r#"{"command": "x"}"#);
    let broken = api.ask("PUT", "/programs", "{");
    assert_eq!(broken.code, 400, "{}", broken.body);
    let form = gateway.post("/api/v1/act", &[("content-type", "text/plain")], "{}");
    assert_eq!(form.code, 415, "{}", form.body);
}

#[test]
fn workers_are_drained_and_come_back() {
    let (fleet, gateway) = served();
    let api = Api::new(&gateway);
    assert_eq!(api.post("/workers/w1/cordon", &json!({}))["cordoned"], true);
    assert_eq!(api.post("/workers/w1/uncordon", &json!({}))["cordoned"], false);
    assert_eq!(api.post("/workers/w1/drain", &json!({}))["draining"], true);
    assert_eq!(api.post("/workers/w1/undrain", &json!({}))["draining"], false);
    // It lives.
    api.refused(409, "POST", "/workers/w1/forget", "");
    drop(fleet);
}

#[test]
fn what_is_not_there_is_not_found_and_a_viewer_changes_nothing() {
    let (mut fleet, gateway) = served();
    let api = Api::new(&gateway);
    let operations = api.operations();
    let body = |path: &str| match path.rsplit('/').next().unwrap() {
        "signal" => r#"{"signal": "HUP"}"#,
        "stdin" => r#"{"text": "a"}"#,
        "scale" => r#"{"numprocs": 1}"#,
        "rollout" => r#"{"step": "pause"}"#,
        "act" => r#"{"verb": "stop", "names": ["none"]}"#,
        _ => "{}",
    };
    for (method, path) in &operations {
        let path = path.strip_prefix("/api/v1").unwrap();
        let creates = method == "POST" && path == "/programs/{name}";
        if creates || !path.contains("{name}") && path != "/act" {
            continue;
        }
        let of_instance = path.starts_with("/instances");
        // One that could be there, and one that could not.
        for name in [if of_instance { "none:0" } else { "none" }, "a.b"] {
            let path = path.replace("{name}", name);
            let [why, _] = api.refused(404, method, &path, body(&path));
            assert!(why.contains("none") || why.contains(name), "{method} {path}: {why}");
        }
    }
    // A group is no program.
    api.refused(404, "POST", "/programs/tools/stop", "");
    let nothing = gateway.get("/api/v1/nothing", &[]);
    assert_eq!((nothing.code, nothing.body.contains("no path is named")), (404, true));
    assert_eq!(gateway.send("PATCH", "/api/v1/programs", &[], "").code, 405);

    let file = fleet.file("gateway.toml", USERS);
    let guarded = Gateway::start(&mut fleet, "g2", &[&file]);
    let bob = ("authorization", "Basic Ym9iOmd1ZXN0");
    let viewer = Api::with(&guarded, &[bob]);
    assert_eq!(viewer.get("/me")["role"], "viewer");
    for (method, path) in &operations {
        let path = path.strip_prefix("/api/v1").unwrap();
        if method == "GET" {
            continue;
        }
        let name = if path.starts_with("/instances") { "web:0" } else { "web" };
        let path = path.replace("{name}", name);
        assert_eq!(viewer.ask(method, &path, body(&path)).code, 403, "{method} {path}");
    }
    // An array is no object, though its values could be taken for those of one.
    let [why, _] = api.refused(400, "POST", "/act", r#"["stop", ["web"]]"#);
    assert!(why.contains("expected an object"), "{why}");
    let nothing = gateway.get("/nothing/here", &[]);
    assert_eq!(
        (nothing.code, nothing.body.as_str()),
        (404, "404: there is nothing at /nothing/here\n")
    );
    // A program may be called as the path at which everybody may ask.
    let declares = r#"{"command": "true"}"#;
    for method in ["POST", "DELETE"] {
        assert_eq!(viewer.ask(method, "/programs/RPC2", declares).code, 403, "{method}");
    }
    assert_eq!(fleet.row("web:0")["state"], "RUNNING");
    // What is asked is asked in the name of whoever asks.
    let ann = Api::with(&guarded, &[("authorization", "Basic YW5uOnRoZXBhc3N3b3Jk")]);
    ann.post("/instances/web:0/stop", &json!({}));
    fleet.wait_event("the command", |event| {
        event["data"]["kind"] == "command" && event["data"]["by"] == "ann"
    });
}

#[test]
fn long_answers_are_packed_for_whoever_takes_that() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 20\nstartsecs = 0");
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    fleet.wait_row("web:19", "running", |row| row["state"] == "RUNNING");
    // The document does not change meanwhile, as a row may.
    let path = "/api/v1/openapi.json";
    let plain = gateway.get(path, &[]);
    assert_eq!(plain.header("content-encoding"), None);
    let (packed, size) = gateway.get_packed(path);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.header("vary"), Some("accept-encoding"));
    assert!(packed.body == plain.body && size < plain.body.len() / 4, "{size} bytes");
    let (rows, _) = gateway.get_packed("/api/v1/instances");
    assert_eq!(rows.header("content-encoding"), Some("gzip"));
    let rows: Value = serde_json::from_str(&rows.body).unwrap();
    assert_eq!(rows.as_array().map(Vec::len), Some(20));
    // What is short is not, nor what is text.
    let me = gateway.get("/api/v1/me", &[("accept-encoding", "gzip")]);
    assert_eq!((me.code, me.header("content-encoding")), (200, None));
    let log = "/api/v1/instances/web:0/log";
    let log = gateway.get_answered(log, &[("accept-encoding", "gzip")]);
    assert_eq!((log.code, log.header("content-encoding")), (200, None));
}
