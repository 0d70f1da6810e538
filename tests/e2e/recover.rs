//! What NATS has stored is lost, or goes back in time, while workers and their children live.

mod earlier;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::exclusive::witness;
use crate::fleet::{DEADLINE, Fleet, alive, number};
use crate::raw::Raw;
use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const SHOP: &str = r#"
[program.web]
command = "sleep 1000"
numprocs = 3
startsecs = 0
[program.db]
command = "sleep 1000"
startsecs = 0
stopsignal = "INT"
[program.one]
command = "sleep 1000"
startsecs = 0
exclusive = true
touch_timeout = 3
"#;

/// Those that go on: exclusive ones do not.
const GO_ON: [&str; 4] = ["web:0", "web:1", "web:2", "db:0"];

/// Process id and epoch of each instance.
pub(crate) fn children(fleet: &Fleet) -> BTreeMap<String, (i32, u64)> {
    let rows = fleet.status().into_iter().filter(|row| !row["pid"].is_null());
    rows.map(|row| {
        let name = row["name"].as_str().unwrap().to_owned();
        (name, (number(&row["pid"]), row["epoch"].as_u64().unwrap()))
    })
    .collect()
}

/// Waits until the fleet has these children again, under these epochs.
pub(crate) fn wait_children(fleet: &Fleet, expected: &BTreeMap<String, (i32, u64)>) {
    wait_until("the same children under the same epochs", DEADLINE, || {
        let now = children(fleet);
        let same = expected.iter().all(|(name, child)| now.get(name) == Some(child));
        if same { Ok(()) } else { Err(format!("{now:?}, not {expected:?}")) }
    });
}

/// What `dsbus recover` tells, once every worker has answered: a busy one may be too late.
fn recovered(fleet: &Fleet, args: &[&str]) -> BTreeMap<String, String> {
    let args: Vec<&str> = ["recover", "-o", "json"].iter().chain(args).copied().collect();
    let told = wait_until("an answer of every worker", DEADLINE, || {
        let output = fleet.run(&args);
        let told: Value = serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("{e}: {}", crate::fleet::said(&output)))?;
        let all = told["silent"].as_array().is_some_and(Vec::is_empty);
        if all { Ok(told) } else { Err(told.to_string()) }
    });
    let rows = ["programs", "instances"].map(|key| told[key].as_array().unwrap().clone()).concat();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    rows.iter().map(|row| (word(&row["name"]), word(&row["recovery"]))).collect()
}

/// Waits until every worker says that nothing is wrong, and has been heard of by the schedulers.
fn wait_adrift(fleet: &Fleet, names: &[&str]) {
    wait_until("the workers to say what they have", DEADLINE, || {
        let found = recovered(fleet, &["--dry-run"]);
        let there = names.iter().all(|name| found.contains_key(*name));
        if there { Ok(()) } else { Err(found) }
    });
}

/// Waits until every scheduler has heard that workers have what a file declares: so often in a row it is
/// refused that each will have answered.
fn wait_guarded(fleet: &Fleet, file: &str) {
    wait_until("it to be refused again and again", DEADLINE, || {
        for _ in 0..6 {
            let output = fleet.run(&["apply", "--dry-run", file]);
            let said = crate::fleet::said(&output);
            if output.status.success() || !said.contains("dsbus recover") {
                return Err(said);
            }
        }
        Ok(())
    });
}

/// Kills the agent of a worker, and waits until the schedulers know another one.
fn renew_agent(fleet: &Fleet, worker: &str) {
    let agent = fleet.agent_pid(worker);
    kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
    wait_until("a new agent", DEADLINE, || {
        let row = fleet.worker_row(worker);
        if number(&row["agent_pid"]) == agent { Err(row) } else { Ok(()) }
    });
}

#[test]
fn a_fleet_whose_bus_has_lost_everything_is_rebuilt_from_what_runs() {
    let mut fleet = Fleet::start(2, 2);
    fleet.apply(SHOP);
    fleet.ok(&["restart", "web:1"]);
    fleet.ok(&[
        "apply",
        &fleet.file("more.toml", "[program.idle]\ncommand = \"sleep 1000\"\nstartsecs = 0\n"),
    ]);
    fleet.ok(&["stop", "idle"]);
    let before = children(&fleet);
    let go_on: BTreeMap<_, _> =
        before.clone().into_iter().filter(|(name, _)| GO_ON.contains(&name.as_str())).collect();
    let live = || assert!(go_on.values().all(|(pid, _)| alive(*pid)), "a child was stopped");

    fleet.nats.lose();
    fleet.nats.restart();
    // The schedulers make the buckets anew, and the workers find nothing in them.
    fleet.wait_ready(2);
    wait_adrift(&fleet, &GO_ON);
    live();
    let doctor = || crate::fleet::said(&fleet.run(&["doctor"]));
    wait_until("the doctor to say what is adrift", DEADLINE, || {
        let text = doctor();
        let there = GO_ON.iter().all(|name| text.contains(&format!("{name} on w")));
        let told = text.contains("the bus has lost their placements") && there;
        if told && text.contains("dsbus recover") { Ok(()) } else { Err(text) }
    });
    // An agent that dies now, and a scheduler that begins now, change nothing.
    renew_agent(&fleet, "w1");
    fleet.scheduler("s3");
    fleet.wait_ready(2);
    wait_adrift(&fleet, &GO_ON);
    // Who declares it anew now would run it twice.
    let web = fleet.file("web.toml", "[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 3\n");
    wait_guarded(&fleet, &web);
    let said = fleet.fails(1, &["apply", &web]);
    assert!(said.contains("dsbus recover"), "{said}");
    assert!(fleet.status().is_empty());
    live();

    let shown = fleet.ok(&["recover", "--dry-run"]);
    assert!(shown.contains("would be rebuilt"), "{shown}");
    assert!(fleet.status().is_empty(), "it was a dry run");
    let done = recovered(&fleet, &[]);
    assert!(GO_ON.iter().all(|name| done[*name] == "rebuilt"), "{done:?}");
    live();
    wait_children(&fleet, &go_on);
    wait_until("nothing to be adrift", DEADLINE, || {
        let text = crate::fleet::said(&fleet.run(&["doctor"]));
        if text.contains("adrift") || !text.contains("workers") { Err(text) } else { Ok(()) }
    });
    // What was stopped stays so.
    fleet.wait_state("idle:0", "STOPPED");
    // The audit log has it.
    fleet.wait_event("of the command", |e| e["data"]["verb"] == "recover");
    // Said again, it finds all done.
    let again = recovered(&fleet, &[]);
    assert!(again.values().all(|what| what == "known"), "{again:?}");
    wait_children(&fleet, &go_on);
    // It is a fleet like any other: epochs grow from where they were.
    fleet.ok(&["restart", "web"]);
    let epochs = children(&fleet);
    assert!(GO_ON.iter().all(|name| epochs[*name].1 == go_on[*name].1), "{epochs:?}");
    fleet.ok(&["drain", "w1"]);
    let moved = wait_until("all to run on w2", DEADLINE, || {
        let now = children(&fleet);
        if GO_ON.iter().all(|name| now.contains_key(*name)) { Ok(now) } else { Err(now) }
    });
    for name in GO_ON {
        let grown = moved[name].1 > go_on[name].1 || moved[name].0 == epochs[name].0;
        assert!(grown, "{name}: {moved:?} after {go_on:?}");
    }
    fleet.ok(&["remove", "web", "db", "idle"]);
    for (pid, _) in go_on.values() {
        crate::fleet::wait_dead(*pid);
    }
}

#[test]
fn a_bucket_that_somebody_has_emptied_stops_nothing() {
    let mut fleet = Fleet::start(1, 2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 4\nstartsecs = 0\n");
    let before = children(&fleet);
    // One header on one key that a worker may write.
    let mut raw = Raw::connect(fleet.nats.port(), "", "");
    let header = "NATS/1.0\r\nNats-Rollup: all\r\n\r\n";
    let subject = "$KV.dsbus_fleet.w1._touch.77";
    let size = header.len();
    raw.send(format!("HPUB {subject} {size} {}\r\n{header}{{}}\r\n", size + 2).as_bytes());
    raw.settled();
    fleet.wait_row("web:0", "without a place", |row| row["state"] == "PENDING");
    renew_agent(&fleet, "w2");
    fleet.scheduler("s2");
    fleet.wait_ready(2);
    fleet.wait_row("web:0", "known to run", |row| {
        row["reason"].as_str().is_some_and(|reason| reason.contains("dsbus recover"))
    });
    recovered(&fleet, &[]);
    wait_children(&fleet, &before);
    assert!(before.values().all(|(pid, _)| alive(*pid)));
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

/// A copy of what the server has stored, taken while it was stopped.
fn back_up(fleet: &mut Fleet) -> PathBuf {
    fleet.nats.stop();
    let backup = fleet.path().join("backup");
    copy(&fleet.nats.store(), &backup);
    fleet.nats.restart();
    backup
}

/// The server loses what it has, and begins with a copy.
fn put_back(fleet: &mut Fleet, backup: &Path) {
    fleet.nats.lose();
    copy(backup, &fleet.nats.store());
    fleet.nats.restart();
}

#[test]
fn a_backup_that_is_old_is_put_right_by_what_runs() {
    let mut fleet = Fleet::start(2, 2);
    let lives = tempfile::tempdir().unwrap();
    let others = r#"
        [program.web]
        command = "sleep 1000"
        numprocs = 2
        startsecs = 0
        [program.gone]
        command = "sleep 1000"
        startsecs = 0
        "#;
    fleet.apply(&format!("{others}{}", witness(lives.path(), 3)));
    let backup = back_up(&mut fleet);
    fleet.wait_ready(2);
    // The fleet goes on: one program is new, one is removed, and what one worker had is moved.
    fleet.apply("[program.new]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    fleet.ok(&["remove", "gone"]);
    let at = fleet.wait_state("one:0", "RUNNING")["worker"].as_str().unwrap().to_owned();
    fleet.ok(&["drain", &at]);
    fleet.ok(&["undrain", &at]);
    fleet.wait_state("one:0", "RUNNING");
    let mut before = children(&fleet);
    let (one, one_epoch) = before.remove("one:0").unwrap();
    // The backup is put back.
    put_back(&mut fleet, &backup);
    fleet.wait_ready(2);
    wait_adrift(&fleet, &["new:0", "web:0", "web:1", "one:0"]);
    // What is exclusive stops, since it may be somewhere else; nobody starts it from the backup.
    crate::fleet::wait_dead(one);
    recovered(&fleet, &[]);
    wait_children(&fleet, &before);
    assert!(before.values().all(|(pid, _)| alive(*pid)), "a child was stopped");
    fleet.wait_row("one:0", "running anew", |row| {
        row["state"] == "RUNNING" && row["epoch"].as_u64().unwrap() > one_epoch
    });
    crate::exclusive::assert_never_two(lives.path(), 2);
    // What was removed since is back: nobody who lives knows better.
    fleet.wait_state("gone:0", "RUNNING");
}

#[test]
fn an_empty_fleet_is_made_of_an_export() {
    let fleet = Fleet::start(1, 1);
    // Whoever exports every night is not to keep the export of a fleet that was lost.
    let kept = fleet.file("kept.toml", "# the last good one");
    let said = fleet.fails(1, &["export", "--file", &kept]);
    assert!(said.contains("no program is declared") && said.contains("dsbus recover"), "{said}");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "# the last good one");
    fleet.set_secret("db-password", "correct horse");
    fleet.apply(
        r#"
        [program.web]
        command = "sleep 1000"
        startsecs = 0
        group = "shop"
        [program.db]
        command = "sleep 1000"
        startsecs = 0
        group = "shop"
        environment = { PASSWORD = { secret = "db-password" } }
        [program.off]
        command = "sleep 1000"
        startsecs = 0
        [program.nightly]
        command = "true"
        schedule = { cron = "0 3 * * *" }
        [program.later]
        command = "sleep 1000"
        autostart = false
        "#,
    );
    fleet.ok(&["scale", "web=3"]);
    fleet.ok(&["stop", "web:1"]);
    fleet.ok(&["disable", "off"]);
    for name in ["web:1", "off:0"] {
        fleet.wait_state(name, "STOPPED");
    }
    let stands = || {
        let rows = fleet.status();
        let word = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let stands = |row: &Value| (word(row, "name"), (word(row, "state"), word(row, "reason")));
        rows.iter().map(stands).collect::<BTreeMap<_, _>>()
    };
    let (before, text) = (stands(), fleet.ok(&["export"]));
    let again: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# dsbus ")).collect();
    assert_eq!(again, ["disable off", "stop web:1"], "{text}");
    assert_eq!(fleet.ok(&["export", "--file", &kept]), "");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), text);
    let said = fleet.fails(1, &["export", "--file", "/dev/null"]);
    assert!(said.contains("cannot write /dev/null"), "{said}");

    fleet.ok(&["remove", "all"]);
    wait_until("nothing to be left", DEADLINE, || {
        let rows = fleet.status();
        if rows.is_empty() { Ok(()) } else { Err(rows) }
    });
    fleet.ok(&["apply", &kept]);
    for command in again {
        fleet.ok(&command.split(' ').collect::<Vec<_>>());
    }
    wait_until("all to stand as it did", DEADLINE, || {
        let now = stands();
        if now == before { Ok(()) } else { Err(format!("{now:?}, not {before:?}")) }
    });
    assert_eq!(fleet.ok(&["export"]), text);
}
