//! The life of a child on its worker.

use crate::fleet::{Fleet, alive, assert_gapless, number, wait_dead};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

#[test]
fn a_killed_child_is_replaced_without_asking_anybody() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let before = fleet.row("web:0");
    // No scheduler, no agent that could be asked: the supervisor does it alone.
    fleet.kill("s1");
    let pid = number(&before["pid"]);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_dead(pid);
    fleet.scheduler("s1");
    let after = fleet.wait_row("web:0", "running anew", |r| {
        r["state"] == "RUNNING" && r["pid"] != before["pid"]
    });
    assert_eq!(after["epoch"], before["epoch"]);
    assert_eq!(after["restarts"], 1);
    let events = fleet.events();
    let exited = events.iter().find(|e| e["data"]["state"] == "EXITED").unwrap();
    assert_eq!(exited["data"]["exit"]["signal"], 9);
    assert_gapless(&events);
}

#[test]
fn the_child_knows_who_it_is() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        r#"
        [program.who]
        command = "env; pwd; sleep 1000"
        shell = true
        directory = "/usr"
        environment = { GREETING = "a=b, \"c\"; %d" }
        "#,
    );
    let row = fleet.row("who:0");
    let wanted = [
        format!("DSBUS_EPOCH={}", row["epoch"]),
        "DSBUS_INSTANCE=who:0".into(),
        "DSBUS_WORKER=w1".into(),
        "DSBUS_FLEET=default".into(),
        "GREETING=a=b, \"c\"; %d".into(),
        "/usr".into(),
    ];
    dsbus_harness::wait_until("all that it says", crate::fleet::DEADLINE, || {
        let out = fleet.ok(&["logs", "who:0", "-n", "200"]);
        let missing = wanted.iter().find(|line| !out.lines().any(|l| l == *line));
        missing.map_or(Ok(()), |line| Err(format!("no {line:?} in:\n{out}")))
    });
}

#[test]
fn a_stop_takes_the_whole_group_and_kills_what_does_not_listen() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(
        r#"
        [program.deaf]
        command = "trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000"
        shell = true
        stopwaitsecs = "300ms"
        startsecs = 0
        "#,
    );
    let pid = number(&fleet.row("deaf:0")["pid"]);
    let out = dsbus_harness::wait_until("the grandchild", crate::fleet::DEADLINE, || {
        fleet.ok(&["logs", "deaf:0"]).trim().parse::<i32>()
    });
    fleet.ok(&["stop", "deaf"]);
    assert!(!alive(pid) && !alive(out));
    let row = fleet.row("deaf:0");
    assert_eq!((&row["state"], &row["exit"]["signal"]), (&Value::from("STOPPED"), &Value::from(9)));
}

#[test]
fn fatal_is_tried_on_other_workers_until_max_fail_count() {
    let fleet = Fleet::start(2, 3);
    let file = fleet.file(
        "p.toml",
        "[program.bad]\ncommand = \"false\"\nstartretries = 0\nmax_fail_count = 2\n",
    );
    let said = fleet.fails(1, &["apply", &file]);
    assert!(said.contains("bad:0"), "{said}");
    let row = fleet.wait_row("bad:0", "given up", |r| {
        r["reason"].as_str().is_some_and(|reason| reason.contains("given up"))
    });
    assert_eq!(row["state"], "FATAL");
    let events = fleet.events();
    let fatal: Vec<_> = events
        .iter()
        .filter(|e| e["data"]["state"] == "FATAL" && e["data"]["seq"] != 0)
        .map(|e| e["data"]["worker"].as_str().unwrap().to_owned())
        .collect();
    let shown = || events.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(fatal.len(), 2, "{fatal:?}\n{}", shown());
    assert_ne!(fatal[0], fatal[1]);
    // A start that a person asks for tries anew, and is given up anew, and both is told.
    fleet.fails(1, &["start", "bad"]);
    dsbus_harness::wait_until("it to be given up again", crate::fleet::DEADLINE, || {
        let events = fleet.events();
        let told = events.iter().filter(|e| e["data"]["state"] == "FATAL" && e["data"]["seq"] == 0);
        let told = told.count();
        if told == 2 { Ok(()) } else { Err(told) }
    });
    let events = fleet.events();
    assert_gapless(&events);
}

#[test]
fn a_worker_that_is_told_to_stop_stops_all_children_and_says_so() {
    let mut fleet = Fleet::start(1, 1);
    fleet.apply("[program.many]\ncommand = \"sleep 1000\"\nnumprocs = 20\nstartsecs = 0\n");
    let pids: Vec<i32> = fleet.status().iter().map(|r| number(&r["pid"])).collect();
    let epochs: Vec<Value> = fleet.status().iter().map(|r| r["epoch"].clone()).collect();
    fleet.signal("w1", Signal::SIGTERM);
    assert_eq!(fleet.wait_exit("w1"), Some(0));
    assert!(pids.iter().all(|pid| !alive(*pid)));
    let told = |change: &str| {
        fleet.wait_event(change, |e| e["data"]["worker"] == "w1" && e["data"]["change"] == change)
    };
    told("STOPPING");
    told("STOPPED");
    // It is back: the same instances run again, and the events go on without a gap.
    fleet.worker("w1");
    for n in 0..20 {
        fleet.wait_state(&format!("many:{n}"), "RUNNING");
    }
    let after: Vec<Value> = fleet.status().iter().map(|r| r["epoch"].clone()).collect();
    assert_eq!(after, epochs, "nothing was placed anew");
    assert_gapless(&fleet.events());
}
