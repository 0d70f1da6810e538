//! A worker that is told to stop, and gives away what it runs before it does.

use std::collections::BTreeSet;

use dsbus_harness::wait_until;
use nix::sys::signal::Signal;

use crate::fleet::{DEADLINE, Fleet, alive, number};

#[test]
fn a_worker_that_is_told_to_stop_gives_its_instances_away_first() {
    let mut fleet = Fleet::start(2, 1);
    fleet.worker_with("w2", &["--drain"]);
    fleet.wait_ready(2);
    fleet.apply("[program.web]\ncommand = \"sleep 1000000\"\nnumprocs = 4\nstartsecs = 0\n");
    let each = "[program.each]\ncommand = \"sleep 1000000\"\nsystem = true\nstartsecs = 0\n";
    let each = fleet.file("each.toml", each);
    fleet.ok(&["apply", "--no-wait", &each]);
    let on = |fleet: &Fleet, program: &str, worker: &str| -> BTreeSet<String> {
        let rows = fleet.status();
        let here = rows.iter().filter(|row| row["worker"] == worker && row["program"] == program);
        here.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    wait_until("one copy on each worker", DEADLINE, || {
        let on = |worker| {
            fleet
                .status()
                .iter()
                .any(|r| r["worker"] == worker && r["program"] == "each" && r["state"] == "RUNNING")
        };
        if on("w1") && on("w2") { Ok(()) } else { Err(format!("{:#?}", fleet.status())) }
    });
    let moved = on(&fleet, "web", "w2");
    assert!(!moved.is_empty(), "{:#?}", fleet.status());
    let stayed: Vec<i32> = on(&fleet, "web", "w1").iter().map(|n| pid(&fleet, n)).collect();
    fleet.signal("w2", Signal::SIGTERM);
    assert_eq!(fleet.wait_exit("w2"), Some(0));
    for index in 0..4 {
        let row = fleet.wait_state(&format!("web:{index}"), "RUNNING");
        assert_eq!(row["worker"], "w1", "{row}");
    }
    assert!(stayed.into_iter().all(alive), "what was elsewhere is left alone");
    for name in &moved {
        fleet.wait_event("of the move", |event| {
            let of = &event["data"];
            of["name"] == name.as_str() && of["kind"] == "placement" && of["to"] == "w1"
        });
    }
    // Started again it takes instances again: it was nobody else who wanted it drained.
    fleet.worker_with("w2", &["--drain"]);
    fleet.wait_ready(2);
    // What it had no time to tell before its end, it tells now. A scheduler may tell the moves later than
    // that; what w2 tells is in order.
    fleet.wait_event("of the end of w2", |event| {
        event["data"]["worker"] == "w2" && event["data"]["change"] == "STOPPING"
    });
    let events = fleet.events();
    let of_w2: Vec<_> = events.iter().filter(|event| event["data"]["worker"] == "w2").collect();
    let stopping = of_w2.iter().position(|event| event["data"]["change"] == "STOPPING").unwrap();
    let reason = &of_w2[stopping]["data"]["reason"];
    assert_eq!(reason, "SIGTERM; its instances were given away");
    for name in &moved {
        let mut before = of_w2[..stopping].iter().filter(|event| {
            event["data"]["name"] == name.as_str() && event["data"]["kind"] == "process"
        });
        let left = before.next_back().is_some_and(|event| event["data"]["state"] == "STOPPED");
        assert!(left, "{name} had left before the worker stopped: {events:#?}");
    }
    assert!(!events.iter().any(|event| event["data"]["change"] == "LOST"), "{events:#?}");
    // A person did, and that stays.
    fleet.ok(&["drain", "w2"]);
    fleet.signal("w2", Signal::SIGTERM);
    assert_eq!(fleet.wait_exit("w2"), Some(0));
    fleet.worker_with("w2", &["--drain"]);
    let pid = fleet.pid("w2");
    wait_until("the third run of w2 to be drained", DEADLINE, || {
        let rows = fleet.try_json(&["workers", "-o", "json"])?;
        let drained = rows.as_array().unwrap().iter().any(|row| {
            row["name"] == "w2" && row["supervisor_pid"] == pid && row["state"] == "draining"
        });
        if drained { Ok(()) } else { Err(rows.to_string()) }
    });
}

fn pid(fleet: &Fleet, name: &str) -> i32 {
    number(&fleet.row(name)["pid"])
}

#[test]
fn what_has_ended_is_said_to_have() {
    let fleet = Fleet::start(1, 2);
    fleet.apply("[program.job]\ncommand = \"true\"\nkind = \"oneshot\"\nstartsecs = 0\n");
    let row = fleet.wait_state("job:0", "EXITED");
    let worker = row["worker"].as_str().unwrap();
    let other = if worker == "w1" { "w2" } else { "w1" };
    let shown = fleet.ok(&["drain", worker]);
    let line = format!("job:0: moved ({other}); it has ended: exit code 0\n");
    assert!(shown.contains(&line), "{shown}");
}

#[test]
fn a_worker_that_was_stopped_is_not_told_to_be_lost() {
    let mut fleet = Fleet::start(1, 2);
    fleet.apply("[program.each]\ncommand = \"sleep 1000000\"\nsystem = true\nstartsecs = 0\n");
    fleet.signal("w2", Signal::SIGTERM);
    assert_eq!(fleet.wait_exit("w2"), Some(0));
    let log = fleet.log("s1");
    wait_until("nobody to miss w2", DEADLINE, || {
        let log = std::fs::read_to_string(&log).unwrap();
        if log.contains("worker w2 stopped, and is not missed") { Ok(()) } else { Err(log) }
    });
    fleet.worker("w2");
    fleet.wait_ready(2);
    // One that is killed is lost, and told so after all that was to be told of the other one.
    fleet.kill_worker("w1");
    let change = |event: &serde_json::Value, worker: &str, change: &str| {
        event["data"]["worker"] == worker && event["data"]["change"] == change
    };
    fleet.wait_event("of the loss of w1", |event| change(event, "w1", "LOST"));
    let events = fleet.events();
    for what in ["LOST", "BACK"] {
        assert!(!events.iter().any(|event| change(event, "w2", what)), "{events:#?}");
    }
    assert_eq!(events.iter().filter(|event| change(event, "w2", "STOPPED")).count(), 1);
}
