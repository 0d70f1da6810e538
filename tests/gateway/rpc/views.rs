//! Whose processes they are, who may ask, and what is told as it happens.

use std::path::Path;

use dsbus_harness::{Terminal, wait_until};
use serde_json::{Value, json};

use super::{call, ctl};
use crate::admit::USERS;
use crate::fleet::{DEADLINE, Fleet, alive, number};
use crate::served::Gateway;
use crate::supervisord::python;

/// Echoes what it reads.
const ECHO: &str = "[program.echo]\n\
    command = \"echo ready; while read line; do echo heard $line; done\"\n\
    shell = true\nstdin = true\nstartsecs = 0\n";

#[test]
fn a_worker_shows_only_what_runs_there() {
    let mut fleet = Fleet::start(1, 2);
    let gateway = Gateway::start(&mut fleet, "g1", &["--worker", "w2"]);
    fleet.apply(
        "[program.here]\ncommand = \"sleep 1000\"\nmachines = [\"w1\"]\nstartsecs = 0\ngroup = \"shop\"\n\
         [program.there]\ncommand = \"sleep 1000\"\nmachines = [\"w2\"]\nstartsecs = 0\ngroup = \"shop\"\n",
    );
    let calls = json!([
        ["supervisor.getAllProcessInfo", []],
        ["supervisor.getIdentification", []],
        ["supervisor.getPID", []],
        ["supervisor.getProcessInfo", ["shop:here"]],
        ["supervisor.removeProcessGroup", ["shop"]],
        ["supervisor.stopAllProcesses", []],
        ["supervisor.startProcess", ["shop:there"]],
    ]);
    let there = wait_until("it to be known", DEADLINE, || {
        let told = call(&[&gateway.url], &json!([["supervisor.getAllProcessInfo", []]])).remove(0);
        if told[0]["statename"] == "RUNNING" { Ok(told) } else { Err(told.to_string()) }
    });
    assert_eq!(there.as_array().map(Vec::len), Some(1), "{there}");
    assert_eq!((&there[0]["group"], &there[0]["name"]), (&json!("shop"), &json!("there")));
    assert!(alive(number(&there[0]["pid"])));
    let told = call(&[&gateway.url], &calls);
    assert_eq!(told[1], "w2");
    assert_eq!(told[2], fleet.worker_row("w2")["supervisor_pid"]);
    assert_eq!(told[3], json!({ "fault": [10, "BAD_NAME: shop:here"] }));
    assert_eq!(told[4]["fault"][0], 30, "{}", told[4]);
    let stopped = json!([{ "name": "there", "group": "shop", "status": 80, "description": "OK" }]);
    assert_eq!((&told[5], &told[6]), (&stopped, &json!(true)));
    assert_eq!(fleet.row("here:0")["state"], "RUNNING");
    // The same gateway, by the path.
    let raw = "<methodCall><methodName>supervisor.getIdentification</methodName></methodCall>";
    let of = |worker: &str| gateway.post(&format!("/workers/{worker}/RPC2"), &[], raw);
    assert!(of("w1").body.contains("<string>w1</string>"), "{:?}", of("w1"));
    assert_eq!(of("w9").code, 404);
    assert_eq!(gateway.get("/workers/w1/ok.html", &[]).body, "OK");
    // Its own log is the main log.
    let log = call(&[&gateway.url], &json!([["supervisor.readLog", [-2000, 0]]])).remove(0);
    assert!(log.is_string() || log["fault"][0] == 20, "{log}");
}

#[test]
fn a_workers_own_log_is_followed() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &["--worker", "w1"]);
    let mut command = ctl(&fleet, &gateway);
    command.args(["maintail", "-f"]);
    let mut tail = Terminal::start(command, 80, 24);
    tail.wait_for("==> Press Ctrl-C to exit <==");
    tail.wait_for("ready worker=w1");
    // What it says from now on comes as well.
    let agent = nix::unistd::Pid::from_raw(fleet.agent_pid("w1"));
    nix::sys::signal::kill(agent, nix::sys::signal::Signal::SIGKILL).unwrap();
    tail.wait_until("the next agent", |text| text.matches("ready worker=w1").count() == 2);
    tail.press("\x03");
}

#[test]
fn users_are_known_by_basic_on_a_socket_and_viewers_only_look() {
    let mut fleet = Fleet::start(1, 1);
    let file = fleet.file("gateway.toml", USERS);
    let socket = format!("unix:{}/g.sock", fleet.path().display());
    let gateway = Gateway::start(&mut fleet, "g1", &[&file, "--listen", &socket]);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let basic = ("authorization", "Basic YW5uOnRoZXBhc3N3b3Jk");
    gateway.wait_state("web:0", "RUNNING", &[basic]);
    let url = format!("unix://{}/g.sock", fleet.path().display());
    wait_until("the socket", DEADLINE, || {
        if Path::new(&url[7..]).exists() { Ok(()) } else { Err("none yet") }
    });
    let calls = json!([
        ["supervisor.getIdentification", []],
        ["supervisor.stopProcess", ["nope"]],
        ["system.multicall", [[{ "methodName": "supervisor.stopProcess", "params": ["nope"] }]]],
    ]);
    let refused = json!([{ "http": 401 }, { "http": 401 }, { "http": 401 }]);
    for server in [&gateway.url, &url] {
        assert_eq!(json!(call(&[server], &calls)), refused);
        assert_eq!(json!(call(&[server, "ann", "wrong"], &calls)), refused);
        let ann = call(&[server, "ann", "thepassword"], &calls);
        assert_eq!(ann[0], "default");
        assert_eq!(ann[1], json!({ "fault": [10, "BAD_NAME: nope"] }));
        let bob = call(&[server, "bob", "guest"], &calls);
        assert_eq!(bob[0], "default");
        let said = "FAILED: bob is a viewer, who may look and not act";
        assert_eq!(bob[1], json!({ "fault": [30, said] }));
        assert_eq!(bob[2], json!([{ "faultCode": 30, "faultString": said }]));
        let conf = fleet.file(
            "ctl.conf",
            &format!("[supervisorctl]\nserverurl={server}\nusername=ann\npassword=thepassword\n"),
        );
        let output = python("supervisor.supervisorctl", &conf).args(["restart", "web"]).output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(said, "web: stopped\nweb: started\n");
    }
    // What was done was done in her name.
    fleet.wait_event("her stop", |e| e["data"]["kind"] == "command" && e["data"]["by"] == "ann");
    assert_eq!(gateway.get("/logtail/web", &[]).code, 401);
    assert_eq!(gateway.get("/ok.html", &[]).code, 401);
}

#[test]
fn output_is_followed_and_input_given_by_the_stock_client() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    fleet.apply(ECHO);
    gateway.wait_state("echo:0", "RUNNING", &[]);
    let mut command = ctl(&fleet, &gateway);
    command.args(["tail", "-f", "echo"]);
    let mut tail = Terminal::start(command, 80, 24);
    tail.wait_for("==> Press Ctrl-C to exit <==");
    tail.wait_for("ready");
    let mut command = ctl(&fleet, &gateway);
    command.args(["fg", "echo"]);
    let mut foreground = Terminal::start(command, 80, 24);
    foreground.wait_for("==> Press Ctrl-C to exit <==");
    foreground.press("a word\r");
    foreground.wait_for("heard a word");
    tail.wait_for("heard a word");
    let told = call(
        &[&gateway.url],
        &json!([
            ["supervisor.sendProcessStdin", ["echo", "grüße\n"]],
            ["supervisor.sendRemoteCommEvent", ["deploy", "v 1.2: grüße"]],
            ["supervisor.sendRemoteCommEvent", ["no type", "x"]],
        ]),
    );
    assert_eq!((&told[0], &told[1]), (&json!(true), &json!(true)));
    assert_eq!(told[2]["fault"][0], 3, "{told:?}");
    foreground.wait_for("heard grüße");
    fleet.wait_event("what was told", |e| {
        let data = &e["data"];
        data["kind"] == "user" && data["type"] == "deploy" && data["text"] == "v 1.2: grüße"
    });
    // It is seen to begin anew.
    fleet.ok(&["restart", "echo"]);
    tail.wait_until("it to be ready again", |text| text.matches("ready").count() == 2);
    tail.press("\x03");
    drop(foreground);
    for missing in
        ["/logtail/nope", "/logtail/echo/nope", "/mainlogtail", "/workers/w9/mainlogtail"]
    {
        assert_eq!(gateway.get(missing, &[]).code, 404, "{missing}");
    }
}

#[test]
fn what_was_given_up_stays_so_when_it_cannot_be_started() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    let spec =
        "[program.none]\ncommand = \"/no/such/file\"\nstartretries = 0\nmax_fail_count = 1\n";
    let file = fleet.file("none.toml", spec);
    fleet.fails(1, &["apply", &file]);
    fleet.wait_state("none:0", "FATAL");
    gateway.wait_state("none:0", "FATAL", &[]);
    let told = call(&[&gateway.url], &json!([["supervisor.startProcess", ["none"]]])).remove(0);
    assert_eq!(told["fault"][0], 20, "{told}");
    fleet.wait_state("none:0", "FATAL");
    assert_eq!(fleet.row("none:0")["wanted"]["run"], true);
}

#[test]
fn many_calls_at_once_are_not_answered_beyond_what_a_gateway_can_hold() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    fleet.apply(
        "[program.much]\ncommand = \"head -c 8000000 /dev/zero | tr '\\\\0' x; sleep 1000\"\n\
         shell = true\nstdout_logfile_maxbytes = \"20MB\"\n",
    );
    let read = json!({ "methodName": "supervisor.readProcessStdoutLog", "params": ["much", 0, 8_000_000] });
    let calls = json!([["system.multicall", [[read, read, read, read, read, read]]]]);
    let whole = |answer: &Value| answer.as_str().is_some_and(|text| text.len() == 8_000_000);
    wait_until("all of it to be printed", DEADLINE, || {
        let one = json!([["supervisor.readProcessStdoutLog", ["much", 0, 8_000_000]]]);
        let got = call(&[&gateway.url], &one).remove(0);
        if whole(&got) {
            Ok(())
        } else {
            Err(got.to_string().chars().take(100).collect::<String>())
        }
    });
    // A worker that is slow to answer once is a fault of that call alone.
    let said = wait_until("five answers, and no more", DEADLINE, || {
        let got = call(&[&gateway.url], &calls).remove(0);
        let got = got.as_array().unwrap();
        let answered = got.iter().take_while(|answer| whole(answer)).count();
        let last = got[got.len() - 1]["faultString"].as_str().unwrap_or_default();
        if (answered, got.len()) == (5, 6) {
            Ok(last.to_owned())
        } else {
            Err(format!("{answered} of {}: {last}", got.len()))
        }
    });
    assert!(said.contains("33554432 bytes of answers"), "{said}");
}

#[test]
fn what_cannot_be_read_as_text_is_read_all_the_same() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    fleet.apply(
        "[program.say]\ncommand = \"printf '\\\\033[1m\\\\303\\\\274 a<b>&c\\\\r\\\\n'; sleep 1000\"\nshell = true\nstartsecs = 0\n",
    );
    let read = |offset: i64, length: i64| {
        json!(["supervisor.readProcessStdoutLog", ["say", offset, length]])
    };
    let told: Vec<Value> = wait_until("it to have said all", DEADLINE, || {
        let told = call(&[&gateway.url], &json!([read(0, 0), read(5, 0), read(-3, 0)]));
        let all = told.iter().all(|part| part.as_str().is_some_and(|part| part.ends_with('\n')));
        if all { Ok(told) } else { Err(format!("{told:?}")) }
    });
    assert_eq!(told[0], "\u{FFFD}[1mü a<b>&c\r\n");
    assert_eq!(told[1], "\u{FFFD} a<b>&c\r\n", "a character that is cut");
    assert_eq!(told[2], "c\r\n");
}

#[test]
fn what_a_fleet_has_not_is_told() {
    let mut fleet = Fleet::start(1, 1);
    let gateway = Gateway::start(&mut fleet, "g1", &[]);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    fleet.ok(&["disable", "web"]);
    let configs = json!([["supervisor.getAllConfigInfo", []]]);
    wait_until("it to be known as disabled", DEADLINE, || {
        let told = call(&[&gateway.url], &configs).remove(0);
        if told[0]["inuse"] == false { Ok(()) } else { Err(told.to_string()) }
    });
    let told = call(
        &[&gateway.url],
        &json!([
            ["supervisor.shutdown", []],
            ["supervisor.restart", []],
            ["supervisor.readLog", [0, 0]],
            ["supervisor.clearLog", []],
            ["supervisor.addProcessGroup", ["web"]],
            ["supervisor.addProcessGroup", ["web"]],
        ]),
    );
    for one in &told[..2] {
        assert!(one["fault"][1].as_str().unwrap().contains("a fleet has no supervisord"), "{one}");
    }
    assert_eq!(told[2], json!({ "fault": [20, "NO_FILE"] }));
    assert_eq!(told[3], json!({ "fault": [20, "NO_FILE"] }));
    assert_eq!(told[4], json!(true), "what was disabled is enabled");
    assert_eq!(told[5], json!({ "fault": [90, "ALREADY_ADDED: web"] }));
    let output = ctl(&fleet, &gateway).arg("maintail").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "supervisord: ERROR (no log file)\n");
    // Nobody can be sure of what is told while no scheduler answers.
    let state = || call(&[&gateway.url], &json!([["supervisor.getState", []]])).remove(0);
    wait_until("a scheduler to answer", DEADLINE, || {
        let state = state();
        if state == json!({ "statecode": 1, "statename": "RUNNING" }) { Ok(()) } else { Err(state) }
    });
    fleet.kill("s1");
    wait_until("silence to be noticed", DEADLINE, || {
        fleet.ok(&["emit", "hello", "there"]);
        let state = state();
        if state["statename"] == "FATAL" { Ok(()) } else { Err(state.to_string()) }
    });
}
