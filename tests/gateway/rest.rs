//! JSON over HTTP: every route, and whatever may go wrong with one.

use dsbus_harness::wait_until;
use serde_json::{Value, json};

use crate::fleet::{DEADLINE, Fleet};
use crate::served::{Answer, Gateway};

const JSON: (&str, &str) = ("content-type", "application/json");

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

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.body))
}

fn post(gateway: &Gateway, path: &str, said: &Value) -> Answer {
    gateway.post(&format!("/api/v1{path}"), &[JSON], &said.to_string())
}

fn done(gateway: &Gateway, path: &str, said: &Value) -> Value {
    let answer = post(gateway, path, said);
    assert_eq!(answer.code, 200, "{path}: {}", answer.body);
    body(&answer)
}

#[test]
fn what_is_known_is_shown() {
    let (_fleet, gateway) = served();
    let get = |path: &str| gateway.json(&format!("/api/v1{path}"));
    let me = get("/me");
    assert_eq!((&me["user"], &me["role"]), (&json!("anonymous"), &json!("operator")));
    assert_eq!((&me["fleet"], &me["silent"]), (&json!("default"), &Value::Null));
    let names = |path: &str| -> Vec<String> {
        let all = get(path);
        all.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("/instances"), ["cat:0", "web:0", "web:1"]);
    assert_eq!(names("/instances?program=web"), ["web:0", "web:1"]);
    assert_eq!(names("/instances?group=tools"), ["cat:0"]);
    assert_eq!(names("/instances?group=web&worker=w1"), ["web:0", "web:1"]);
    assert_eq!(names("/instances?worker=w2"), [""; 0]);
    assert_eq!(names("/instances?state=FATAL"), [""; 0]);
    assert_eq!(get("/instances/web:1")["state"], "RUNNING");
    assert_eq!(get("/instances/web:1/explain")["worker"], "w1");
    assert_eq!(names("/programs"), ["cat", "web"]);
    assert_eq!(get("/programs")[0]["group"], "tools");
    assert_eq!(names("/workers"), ["w1"]);
    assert_eq!(get("/workers/w1")["state"], "ready");
    assert_eq!(names("/groups"), ["tools"]);
    let all = get("/rollouts");
    assert!(all.as_array().unwrap().iter().all(|row| row["stable"].is_null()), "{all}");
    assert_eq!(get("/programs/web/history")[0]["revision"], 1);
}

#[test]
fn secrets_stay_in_the_gateway() {
    let (_fleet, gateway) = served();
    let cat = gateway.json("/api/v1/programs/cat");
    assert_eq!(cat["spec"]["environment"], json!({ "PASSWORD": null }));
    assert_eq!(cat["spec"]["command"], "cat");
    // Nor does the declaration that a rollout goes back to.
    let changed = json!({ "programs": { "cat": {
        "command": "cat -u", "stdin": true, "environment": { "PASSWORD": "hunter2" },
    } } });
    let put = gateway.send("PUT", "/api/v1/programs", &[JSON], &changed.to_string());
    assert_eq!(put.code, 200, "{}", put.body);
    for path in ["/programs/cat", "/programs", "/programs/cat/history", "/rollouts", "/instances"] {
        let answer = gateway.get(&format!("/api/v1{path}"), &[]);
        assert!(!answer.body.contains("hunter2"), "{path}: {}", answer.body);
    }
}

#[test]
fn acting_is_answered_at_once_or_when_it_is_so() {
    let (fleet, gateway) = served();
    let at_once = done(&gateway, "/instances/web:0/stop", &json!({}));
    assert_eq!(
        (&at_once[0]["name"], &at_once[0]["wanted"]["run"]),
        (&json!("web:0"), &json!(false))
    );
    assert_eq!(at_once[0].get("result"), None);
    let waited = done(&gateway, "/programs/web/stop?wait=60s", &json!({}));
    let results: Vec<&Value> =
        waited.as_array().unwrap().iter().map(|row| &row["result"]).collect();
    assert_eq!(results, ["done", "done"]);
    assert_eq!(fleet.row("web:1")["state"], "STOPPED");
    let started = done(&gateway, "/act?wait=60", &json!({ "verb": "start", "names": ["web:*"] }));
    assert_eq!((started.as_array().unwrap().len(), &started[1]["result"]), (2, &json!("done")));
    let pid = fleet.row("web:0")["pid"].clone();
    done(&gateway, "/instances/web:0/restart?wait=60s", &json!({}));
    assert_ne!(fleet.row("web:0")["pid"], pid);
    let disabled = done(&gateway, "/instances/web:0/disable?wait=60s", &json!({}));
    assert_eq!(disabled[0]["result"], "done");
    let refused = post(&gateway, "/instances/web:0/start", &json!({}));
    assert_eq!(refused.code, 409, "{}", refused.body);
    done(&gateway, "/instances/web:0/enable", &json!({}));
    done(&gateway, "/instances/web:0/start?wait=60s", &json!({}));
    // What cannot come true is told before the time is up, and what may yet be when it is.
    fleet.run(&["create", "bad", "--", "/no/such"]);
    let failed = done(&gateway, "/act?wait=500", &json!({ "verb": "start", "names": ["bad"] }));
    assert_eq!(failed[0]["result"], "failed");
    assert!(failed[0]["detail"].as_str().unwrap().contains("/no/such"), "{failed}");
    fleet.apply("[program.none]\ncommand = \"true\"\nmachines = \"w9\"\nautostart = false");
    let late = done(&gateway, "/programs/none/start?wait=1ms", &json!({}));
    assert_eq!(late[0]["result"], "waiting");
}
