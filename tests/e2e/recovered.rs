//! What `dsbus recover` does in doubt: what has ended, who does not answer, who contradicts whom, and a
//! bus that is behind.

mod cut_off;

use std::path::Path;
use std::process::Command;

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::fleet::{DEADLINE, Fleet, alive, number, said, wait_dead};
use crate::raw::Raw;

/// What `dsbus recover` tells, and its exit code.
fn recover(fleet: &Fleet, args: &[&str]) -> (Value, Option<i32>) {
    let args: Vec<&str> = ["recover", "-o", "json"].iter().chain(args).copied().collect();
    let output = fleet.run(&args);
    let told = serde_json::from_slice(&output.stdout);
    (told.unwrap_or_else(|e| panic!("{e}: {}", said(&output))), output.status.code())
}

/// The same, once every worker has answered: a busy one may be too late.
fn recover_all(fleet: &Fleet, args: &[&str]) -> (Value, Option<i32>) {
    wait_until("an answer of every worker", DEADLINE, || {
        let (told, code) = recover(fleet, args);
        if told["silent"] == json!([]) { Ok((told, code)) } else { Err(told) }
    })
}

/// The row of a program or an instance.
fn row<'a>(told: &'a Value, name: &str) -> &'a Value {
    let rows = ["programs", "instances"].into_iter().flat_map(|key| told[key].as_array().unwrap());
    rows.into_iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {told}"))
}

/// Waits until workers say that they have all of these.
fn wait_told(fleet: &Fleet, names: &[&str]) {
    wait_until("the workers to say what they have", DEADLINE, || {
        let (told, _) = recover(fleet, &["--dry-run"]);
        let rows = told["instances"].as_array().unwrap();
        let there = names.iter().all(|name| rows.iter().any(|row| row["name"] == *name));
        if there { Ok(()) } else { Err(told) }
    });
}

/// Has a scheduler that has never heard what was there.
fn replace(fleet: &mut Fleet, old: &str, new: &str) {
    let workers = fleet.json(&["workers", "-o", "json"]).as_array().unwrap().len();
    fleet.kill(old);
    fleet.scheduler(new);
    fleet.wait_ready(workers);
}

/// Empties the bucket of placements, by one header on one key.
fn empty_placements(fleet: &Fleet) {
    let mut raw = Raw::connect(fleet.nats.port(), "", "");
    let header = "NATS/1.0\r\nNats-Rollup: all\r\n\r\n";
    let (subject, size) = ("$KV.dsbus_fleet.w1._touch.77", header.len());
    raw.send(format!("HPUB {subject} {size} {}\r\n{header}{{}}\r\n", size + 2).as_bytes());
    raw.settled();
}

/// Whether an instance has no place, since a worker has it.
fn is_adrift(row: &Value) -> bool {
    row["state"] == "PENDING" && row["reason"].to_string().contains("dsbus recover")
}

/// Removes a bucket, and waits until a scheduler has made it anew.
fn remove(fleet: &Fleet, bucket: &str) {
    let done = fleet.nats.ask(&format!("$JS.API.STREAM.DELETE.KV_dsbus_{bucket}"));
    assert!(done.contains("\"success\":true"), "{done}");
    wait_until("the bucket", DEADLINE, || {
        let found = fleet.nats.ask(&format!("$JS.API.STREAM.INFO.KV_dsbus_{bucket}"));
        if found.contains("\"error\"") { Err(found) } else { Ok(()) }
    });
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Two that have ended, one of them exclusive, one that was given up, and one that fails and is tried again;
/// each writes a line when it is started.
fn ended(fleet: &Fleet) -> String {
    let says = |name: &str, code: u8| {
        let file = fleet.path().join(name);
        format!("command = [\"sh\", \"-c\", \"echo x >> {}; exit {code}\"]", file.display())
    };
    format!(
        r#"
        [program.once]
        {}
        kind = "oneshot"
        [program.single]
        {}
        kind = "oneshot"
        exclusive = true
        touch_timeout = 5
        machines = "w1"
        [program.broken]
        {}
        startretries = 0
        max_fail_count = 1
        [program.again]
        {}
        startretries = 1000
        "#,
        says("once", 0),
        says("single", 0),
        says("broken", 1),
        says("again", 1),
    )
}

fn start_ended(fleet: &Fleet) -> Vec<Value> {
    let file = fleet.file("ended.toml", &ended(fleet));
    fleet.ok(&["apply", "--no-wait", &file]);
    fleet.wait_state("once:0", "EXITED");
    fleet.wait_state("broken:0", "FATAL");
    fleet.wait_state("again:0", "BACKOFF");
    fleet.wait_state("single:0", "EXITED");
    // Its worker knows that it rests by its placement.
    wait_until("the word that it rests", DEADLINE, || {
        let stored = Raw::connect(fleet.nats.port(), "", "").last("w1.single.0");
        let placement: Value = serde_json::from_slice(&stored.body).unwrap();
        if placement["rest"].is_object() { Ok(()) } else { Err(placement) }
    });
    fleet.status()
}

/// Nothing of it was run again, or elsewhere.
fn assert_as_before(fleet: &Fleet, before: &[Value]) {
    fleet.wait_state("once:0", "EXITED");
    fleet.wait_state("single:0", "EXITED");
    fleet.wait_state("broken:0", "FATAL");
    fleet.wait_row("again:0", "tried", |row| !row["epoch"].is_null() && row["epoch"] != 0);
    for (before, now) in before.iter().zip(fleet.status()) {
        for key in ["name", "worker", "epoch"] {
            assert_eq!(before[key], now[key], "{now}");
        }
    }
    for name in ["once", "single"] {
        assert_eq!(lines(&fleet.path().join(name)), 1, "{name} has ended, and was run again");
    }
    assert_eq!(lines(&fleet.path().join("broken")), 1, "what was given up was run again");
}

#[test]
fn what_has_ended_or_fails_is_not_run_again_when_placements_are_lost() {
    let mut fleet = Fleet::start(1, 2);
    let before = start_ended(&fleet);
    empty_placements(&fleet);
    replace(&mut fleet, "s1", "s2");
    for name in ["once:0", "broken:0", "again:0"] {
        fleet.wait_row(name, "adrift", is_adrift);
    }
    let (told, code) = recover_all(&fleet, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert_as_before(&fleet, &before);
}

#[test]
fn what_has_ended_or_fails_is_not_run_again_when_everything_is_lost() {
    let mut fleet = Fleet::start(1, 2);
    let before = start_ended(&fleet);
    fleet.nats.lose();
    fleet.nats.restart();
    fleet.wait_ready(2);
    wait_told(&fleet, &["once:0", "broken:0", "again:0"]);
    let declared = fleet.file("ended.toml", &ended(&fleet));
    assert!(fleet.fails(1, &["apply", &declared]).contains("dsbus recover"));
    let (told, code) = recover_all(&fleet, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(row(&told, "once:0")["recovery"], "rebuilt");
    assert_as_before(&fleet, &before);
}

const WEB: &str = "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n";

/// Both processes of a worker.
fn signal_worker(fleet: &Fleet, name: &str, agent: i32, signal: Signal) {
    kill(Pid::from_raw(agent), signal).unwrap();
    fleet.signal(name, signal);
}

/// A fleet of two with one instance on each worker, which has lost everything: process ids of the
/// instances, where they are, and the agents of w1 and w2.
fn lost() -> (Fleet, Vec<(i32, String)>, [i32; 2]) {
    let mut fleet = Fleet::start(1, 2);
    fleet.apply(WEB);
    let at = |row: &Value| (number(&row["pid"]), row["worker"].as_str().unwrap().to_owned());
    let children: Vec<_> = fleet.status().iter().map(at).collect();
    assert_ne!(children[0].1, children[1].1);
    let agents = ["w1", "w2"].map(|name| fleet.agent_pid(name));
    fleet.nats.lose();
    fleet.nats.restart();
    fleet.wait_ready(2);
    wait_told(&fleet, &["web:0", "web:1"]);
    (fleet, children, agents)
}

#[test]
fn while_a_worker_is_silent_nothing_is_written_that_could_start_something() {
    let (fleet, children, [_, agent]) = lost();
    // It is frozen for moments only, so that it is never lost. Schedulers that have just begun to hear the
    // bus do not act at all.
    let told = wait_until("an answer", DEADLINE, || {
        signal_worker(&fleet, "w2", agent, Signal::SIGSTOP);
        let told = fleet.nats.ask_with("dsbus.default.cmd.ann.recover", "{}");
        signal_worker(&fleet, "w2", agent, Signal::SIGCONT);
        let told: Value = serde_json::from_str(&told).map_err(|e| format!("{e}: {told}"))?;
        // On a busy machine the other one may have been silent, too.
        if told["silent"] == json!(["w2"]) { Ok(told) } else { Err(told.to_string()) }
    });
    let rows = ["programs", "instances"].map(|key| told[key].as_array().unwrap().clone()).concat();
    for row in &rows {
        assert_eq!(row["recovery"], "left", "{told}");
        assert!(!row["reason"].is_null(), "{told}");
    }
    assert!(rows[0]["reason"].as_str().unwrap().contains("w2"), "{told}");
    assert!(fleet.status().is_empty(), "its program was written");
    let (told, code) = recover_all(&fleet, &[]);
    assert_eq!(code, Some(0), "{told}");
    wait_until("the same children", DEADLINE, || {
        let rows = fleet.status();
        let now: Vec<_> = rows.iter().map(|row| json!([row["pid"], row["worker"]])).collect();
        let same = children.iter().map(|(pid, worker)| json!([pid, worker])).eq(now);
        if same { Ok(()) } else { Err(rows) }
    });
    assert!(children.iter().all(|(pid, _)| alive(*pid)));
}

#[test]
fn of_two_workers_that_have_an_instance_force_ends_one() {
    let (fleet, children, [agent, _]) = lost();
    let index = children.iter().position(|(_, worker)| worker == "w1").unwrap();
    let name = format!("web:{index}");
    fleet.ok(&["cordon", "w1"]);
    // Nobody knows what w1 has, and that is said to be no matter.
    signal_worker(&fleet, "w1", agent, Signal::SIGSTOP);
    let (told, _) = recover(&fleet, &["--force"]);
    let reason = row(&told, "web")["reason"].to_string();
    assert!(reason.contains(&name), "what is started is told: {told}");
    let row_of = |told: &Value, worker: &str| {
        let rows = told["instances"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == *name && row["worker"] == worker).cloned()
    };
    fleet.wait_row(&name, "placed anew", |row| row["state"] == "RUNNING" && row["worker"] == "w2");
    signal_worker(&fleet, "w1", agent, Signal::SIGCONT);
    let told = wait_until("w1 to say that it has it, too", DEADLINE, || {
        let (told, code) = recover(&fleet, &[]);
        let left = row_of(&told, "w1").is_some_and(|row| row["recovery"] == "left");
        if left && code == Some(1) { Ok(told) } else { Err(told) }
    });
    assert_eq!(row_of(&told, "w2").unwrap()["recovery"], "known", "{told}");
    let old = children[index].0;
    assert!(alive(old), "it is left as it is");
    let (told, code) = recover_all(&fleet, &["--force"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(row_of(&told, "w1").unwrap()["recovery"], "ended", "{told}");
    wait_dead(old);
    let row = fleet.row(&name);
    assert!(row["state"] == "RUNNING" && row["worker"] == "w2", "{row}");
}

#[test]
fn what_is_known_of_later_than_the_copy_is_planned_again() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply(WEB);
    fleet.nats.stop();
    let backup = fleet.path().join("backup");
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    copy(&fleet.nats.store(), &backup);
    fleet.nats.restart();
    fleet.worker("w2");
    fleet.wait_ready(2);
    // It is changed, restarted and moved since.
    fleet.apply(&format!("{WEB}environment = {{ A = \"2\" }}\n"));
    fleet.ok(&["restart", "web"]);
    fleet.ok(&["restart", "web:1"]);
    fleet.ok(&["drain", "w1"]);
    fleet.ok(&["undrain", "w1"]);
    for name in ["web:0", "web:1"] {
        fleet.wait_row(name, "on w2", |row| row["state"] == "RUNNING" && row["worker"] == "w2");
    }
    let before = fleet.status();
    fleet.nats.lose();
    copy(&backup, &fleet.nats.store());
    fleet.nats.restart();
    fleet.wait_ready(2);
    wait_told(&fleet, &["web:0", "web:1"]);
    let (told, code) = recover_all(&fleet, &[]);
    assert_eq!(code, Some(0), "{told}");
    for before in &before {
        let name = before["name"].as_str().unwrap();
        fleet.wait_row(name, "as it was", |row| {
            ["worker", "pid", "epoch", "revision"].iter().all(|key| row[*key] == before[*key])
        });
    }
    // It is a fleet like any other.
    let export = fleet.ok(&["export"]);
    assert!(export.contains("A = \"2\""), "{export}");
    fleet.ok(&["stop", "web:0"]);
    fleet.wait_state("web:0", "STOPPED");
    fleet.ok(&["restart", "web:1"]);
    fleet.kill_worker("w2");
    fleet.wait_row("web:1", "elsewhere", |row| row["state"] == "RUNNING" && row["worker"] == "w1");
}

#[test]
fn what_was_stopped_stays_so_when_goals_are_lost() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply(
        "[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n\
         [program.db]\ncommand = \"sleep 1000\"\nstartsecs = 0\n",
    );
    fleet.ok(&["restart", "db"]);
    fleet.ok(&["stop", "web"]);
    let db = fleet.row("db:0")["pid"].clone();
    remove(&fleet, "goals");
    replace(&mut fleet, "s1", "s2");
    // Whoever runs this has planned for all that there is.
    fleet.apply("[program.probe]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    assert_eq!(fleet.row("web:0")["state"], "STOPPED");
    let (told, code) = recover_all(&fleet, &[]);
    assert_eq!((code, &row(&told, "web")["recovery"]), (Some(0), &"rebuilt".into()), "{told}");
    assert_eq!(row(&told, "db")["recovery"], "rebuilt", "{told}");
    let (again, _) = recover_all(&fleet, &[]);
    assert_eq!(row(&again, "db")["recovery"], "known", "{again}");
    assert_eq!((&fleet.row("web:0")["state"], &fleet.row("db:0")["pid"]), (&"STOPPED".into(), &db));
    fleet.ok(&["stop", "db"]);
    fleet.ok(&["start", "web"]);
    assert_eq!(fleet.row("db:0")["state"], "STOPPED");
}

#[test]
fn what_placements_know_more_of_does_not_fail_over_until_it_is_recovered() {
    let mut fleet = Fleet::start(1, 2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    fleet.ok(&["restart", "web"]);
    remove(&fleet, "goals");
    let worker = fleet.row("web:0")["worker"].as_str().unwrap().to_owned();
    fleet.kill_worker(&worker);
    let held = "nothing is planned for it until dsbus recover";
    fleet.wait_row("web:0", "UNKNOWN, and held", |row| {
        let reason = row["reason"].as_str().unwrap_or_default();
        row["state"] == "UNKNOWN" && reason.ends_with(held)
    });
    let why = fleet.ok(&["explain", "web:0"]);
    assert!(why.split_whitespace().collect::<Vec<_>>().join(" ").contains(held), "{why}");
    let found = said(&fleet.run(&["doctor"]));
    assert!(found.contains("ahead") && found.contains("web:0"), "{found}");
    // Of all of its instances only the bus knows.
    let (told, code) = recover_all(&fleet, &[]);
    assert_eq!((code, &told["programs"][0]["recovery"]), (Some(0), &"rebuilt".into()), "{told}");
    let row = fleet.wait_state("web:0", "RUNNING");
    assert_ne!(row["worker"], worker.as_str(), "{row}");
}

#[test]
fn a_file_says_what_workers_do_not() {
    let (fleet, children, _) = lost();
    let file = fleet.file(
        "from.toml",
        &format!("{WEB}[program.extra]\ncommand = \"sleep 1000\"\nstartsecs = 0\n"),
    );
    let (told, code) = recover_all(&fleet, &["--from", &file]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(row(&told, "extra")["recovery"], "rebuilt", "{told}");
    fleet.wait_state("extra:0", "RUNNING");
    assert!(children.iter().all(|(pid, _)| alive(*pid)), "the same declaration stops nothing");
    assert!(row(&told, "web")["reason"].is_null(), "{told}");
}
