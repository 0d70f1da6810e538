//! start, stop, restart, status, logs, events.

use crate::fleet::{DEADLINE, Fleet, alive, assert_gapless, number};
use dsbus_harness::wait_until;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn start_stop_restart_by_every_kind_of_name() {
    let fleet = Fleet::start(2, 2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n[program.api]\ncommand = \"sleep 1000\"\nstartsecs = 0\nautostart = false\n");
    assert_eq!(fleet.row("api:0")["state"], "STOPPED");
    fleet.ok(&["start", "api"]);
    assert_eq!(fleet.row("api:0")["state"], "RUNNING");
    let (web0, web1) = (fleet.row("web:0"), fleet.row("web:1"));
    fleet.ok(&["restart", "web:0"]);
    assert_ne!(fleet.row("web:0")["pid"], web0["pid"]);
    assert_eq!(fleet.row("web:1")["pid"], web1["pid"]);
    fleet.ok(&["stop", "web:1"]);
    assert_eq!(fleet.row("web:1")["state"], "STOPPED");
    assert!(!alive(number(&web1["pid"])));
    fleet.ok(&["stop", "web:1"]);
    fleet.ok(&["start", web0["id"].as_str().unwrap()]);
    assert_eq!(fleet.row("web:1")["state"], "RUNNING");
    let pid = fleet.row("web:0")["pid"].clone();
    fleet.ok(&["start", "all"]);
    assert_eq!(fleet.row("web:0")["pid"], pid, "a start leaves alone what runs");
    fleet.ok(&["stop", "all"]);
    assert!(fleet.status().iter().all(|r| r["state"] == "STOPPED"));
    assert_eq!(
        fleet.run(&["status"]).status.code(),
        Some(0),
        "stopped by request is as it should be"
    );
    let said = fleet.fails(1, &["start", "wev"]);
    assert!(said.contains("did you mean web"), "{said}");
    let said = fleet.fails(1, &["start", "web:7"]);
    assert!(said.contains("web:7"), "{said}");
    assert_gapless(&fleet.events());
}

#[test]
fn a_failure_explains_itself_in_status_and_in_start() {
    let fleet = Fleet::start(1, 1);
    let file = fleet.file(
        "bad.toml",
        r#"
        [program.bad]
        command = "echo starting; echo cannot open the database >&2; exit 7"
        shell = true
        startretries = 1
        max_fail_count = 1
        "#,
    );
    let said = fleet.fails(1, &["apply", &file]);
    assert!(said.contains("cannot open the database") && said.contains("exit code 7"), "{said}");
    let row = fleet.row("bad:0");
    assert_eq!((&row["state"], &row["exit"]["code"]), (&Value::from("FATAL"), &Value::from(7)));
    let table = fleet.run(&["status"]);
    assert_eq!(table.status.code(), Some(3));
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("FATAL") && table.contains("cannot open the database"), "{table}");
    let said = fleet.fails(1, &["start", "bad"]);
    assert!(said.contains("cannot open the database") && said.contains("exit code 7"), "{said}");
}

#[test]
fn a_status_longer_than_one_message_is_told_whole() {
    let fleet = Fleet::start(1, 0);
    let many = dsbus_schema::command::STATUS_ROWS_MIN * 4;
    let file = fleet.file(
        "many.toml",
        &format!("[program.a]\ncommand = \"x\"\nnumprocs = {many}\n[program.b]\ncommand = \"x\"\n"),
    );
    fleet.ok(&["apply", &file, "--no-wait"]);
    let rows = fleet.status();
    assert_eq!(rows.len(), many + 1);
    assert_eq!(rows[many]["name"], "b:0");
    let indexes: Vec<_> = rows[..many].iter().map(|r| r["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..many as u64).collect::<Vec<_>>());
}

#[test]
fn start_says_what_it_waits_for_when_it_times_out() {
    let fleet = Fleet::start(1, 1);
    let file = fleet.file("p.toml", "[program.far]\ncommand = \"sleep 1000\"\nmachines = \"w9\"\n");
    let said = fleet.fails(5, &["apply", &file, "--timeout", "8s"]);
    assert!(said.contains("w9 has never joined"), "{said}");
    let row = fleet.wait_state("far:0", "PENDING");
    assert_eq!(row["statecode"], 5);
    fleet.ok(&["start", "far", "--no-wait"]);
}

#[test]
fn logs_of_both_channels_and_followed() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        r#"
        [program.talk]
        command = "i=0; echo oops >&2; while true; do i=$((i+1)); echo line $i; sleep 0.05; done"
        shell = true
        "#,
    );
    wait_until("output", DEADLINE, || {
        let out = fleet.ok(&["logs", "talk:0", "-n", "5"]);
        let lines: Vec<_> = out.lines().collect();
        if lines.len() == 5 && lines.iter().all(|l| l.starts_with("line ")) {
            Ok(())
        } else {
            Err(out)
        }
    });
    wait_until("the other channel", DEADLINE, || {
        let out = fleet.ok(&["logs", "talk:0", "--stderr"]);
        if out.trim() == "oops" { Ok(()) } else { Err(out) }
    });
    let mut follow = fleet
        .command()
        .args(["logs", "-f", "-n", "1", "talk:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let numbers: Vec<u64> =
        lines.take(40).map(|l| l.unwrap().trim_start_matches("line ").parse().unwrap()).collect();
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "no gap, no repeat: {numbers:?}");
}

#[test]
fn events_tell_every_change_with_its_cause() {
    let fleet = Fleet::start(1, 1);
    let file = fleet.file(
        "brief.toml",
        r#"
        [program.brief]
        command = "sleep 0.3; exit 5"
        shell = true
        startsecs = 0
        autorestart = false
        "#,
    );
    // Who waits for it on a busy machine may find that it has failed.
    fleet.ok(&["apply", "--no-wait", &file]);
    fleet.wait_state("brief:0", "EXITED");
    let all = fleet.events();
    let of = |state: &str| {
        all.iter()
            .find(|e| e["data"]["state"] == state)
            .unwrap_or_else(|| panic!("no {state}"))
            .clone()
    };
    let exited = of("EXITED");
    assert_eq!(exited["data"]["exit"]["code"], 5);
    assert_eq!(exited["data"]["expected"], false);
    assert_eq!(exited["specversion"], "1.0");
    assert_eq!(exited["type"], "io.dsbus.process.exited.v1");
    assert_eq!(exited["subject"], "brief:0");
    assert_gapless(&all);
    let table = fleet.ok(&["events", "brief"]);
    assert!(table.contains("EXITED") && table.contains("exit code 5"), "{table}");
    assert_eq!(fleet.run(&["status"]).status.code(), Some(3), "an exit that is not expected");

    let shown = fleet.path().join("shown");
    let mut follow = fleet
        .command()
        .args(["events", "-f", "-n", "0", "-o", "json"])
        .stdout(File::create(&shown).unwrap())
        .spawn()
        .unwrap();
    let seen = |what: &str| {
        let shown = std::fs::read_to_string(&shown).unwrap();
        let mut whole = shown.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.find(|line| line.contains(what)).map(str::to_owned).ok_or(shown)
    };
    // Until it follows, what is told is not for it.
    wait_until("it to follow", DEADLINE, || {
        fleet.ok(&["emit", "followed"]);
        seen("followed")
    });
    fleet.ok(&["start", "brief", "--no-wait"]);
    let seen = wait_until("its end to be followed", DEADLINE, || seen("\"EXITED\""));
    let event: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(event["data"]["name"], "brief:0");
    follow.kill().unwrap();
    follow.wait().unwrap();
}

/// Names as people of Supervisor know them, patterns, and several at once.
#[test]
fn copies_are_named_by_patterns_groups_and_what_programs_call_them() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        r#"
        [program.web]
        command = "sleep 1000"
        numprocs = 3
        startsecs = 0
        group = "shop"
        [program.mail]
        command = "sleep 1000"
        startsecs = 0
        group = "shop"
        [program.ports]
        command = "sleep 1000"
        process_name = "%(process_num)d"
        numprocs = 2
        numprocs_start = 8000
        startsecs = 0
        "#,
    );
    let named = |names: &[&str]| {
        let rows = fleet.json(&[&["status", "-o", "json"], names].concat());
        let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
        rows.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(named(&["w*"]), ["web:0", "web:1", "web:2"]);
    assert_eq!(named(&["shop:*"]), ["mail:0", "web:0", "web:1", "web:2"]);
    assert_eq!(named(&["web:web_01"]), ["web:1"]);
    assert_eq!(named(&["shop:web_02", "shop:mail", "w*:0"]), ["mail:0", "web:0", "web:2"]);
    assert_eq!(named(&["ports:8001", "ports:0"]), ["ports:0", "ports:1"]);
    assert_eq!(named(&["*:1"]), ["ports:1", "web:1"]);
    let out = fleet.ok(&["stop", "web:web_0?", "ports:8000"]);
    assert_eq!(out.lines().count(), 4, "one line for each: {out}");
    assert_eq!(fleet.row("ports:1")["state"], "RUNNING");
    assert_eq!(fleet.row("mail:0")["state"], "RUNNING");
    let told = fleet.fails(1, &["stop", "x*"]);
    assert!(told.contains("nothing is named \"x*\""), "{told}");
    let told = fleet.fails(1, &["stop", "web:web_09"]);
    assert!(told.contains("nothing is named \"web:web_09\""), "{told}");
    assert!(fleet.fails(2, &["stop", "we.b*"]).contains("wildcards"));
}

#[test]
fn one_waits_for_what_others_do_and_asks_for_pids() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n\
         [program.bad]\ncommand = \"false\"\nautostart = false\nstartretries = 0\nmax_fail_count = 1\n",
    );
    let pids = fleet.ok(&["pid", "web"]);
    let rows = [number(&fleet.row("web:0")["pid"]), number(&fleet.row("web:1")["pid"])];
    assert_eq!(pids, format!("{}\n{}\n", rows[0], rows[1]));
    assert_eq!(fleet.ok(&["wait", "web"]).lines().count(), 2);
    let mut waiting = fleet.command();
    waiting.args(["wait", "web:1", "--for", "stopped"]).stdout(Stdio::piped());
    let waiting = waiting.spawn().unwrap();
    fleet.ok(&["stop", "web:1"]);
    let out = waiting.wait_with_output().unwrap();
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success() && told.starts_with("web:1: STOPPED"), "{told}");
    let out = fleet.run(&["pid", "web"]);
    assert_eq!(String::from_utf8(out.stdout).unwrap(), format!("{}\n", rows[0]));
    assert!(String::from_utf8(out.stderr).unwrap().contains("web:1 has no process: it is STOPPED"));
    assert_eq!(out.status.code(), Some(3));
    fleet.ok(&["start", "bad", "--no-wait"]);
    let told = fleet.fails(1, &["wait", "bad"]);
    assert!(told.contains("bad:0: FATAL"), "{told}");
    assert!(fleet.fails(5, &["wait", "web:1", "--timeout", "1s"]).contains("timed out"));
    fleet.ok(&["remove", "web", "--no-wait"]);
    fleet.ok(&["wait", "web", "--for", "gone"]);
    assert_eq!(fleet.ok(&["wait", "web", "--for", "gone"]), "", "it is gone already");
    assert!(fleet.fails(1, &["wait", "web"]).contains("no program is named \"web\""));
}
