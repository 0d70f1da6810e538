//! Who follows harms nobody, and nobody pays for followers that are not there.

use std::io::{Read, Write};
use std::net::TcpStream;

use dsbus_harness::{Port, wait_for};
use serde_json::Value;

use super::*;

/// Bytes that the server got since it was started.
fn received(monitor: &Port) -> u64 {
    let mut socket = TcpStream::connect(("127.0.0.1", monitor.number())).unwrap();
    socket.write_all(b"GET /varz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str::<Value>(body).unwrap()["in_bytes"].as_u64().unwrap()
}

/// How much the talker has written.
fn size(fleet: &Fleet) -> u64 {
    let directory = fleet.worker_directory("w1").join("instances/talk.0");
    let files = fs::read_dir(directory).unwrap();
    // One that was rotated since it was listed is seen at the next look.
    files.filter_map(|entry| Some(entry.unwrap().metadata().ok()?.len())).sum()
}

/// Waits until it has written so much more.
fn wait_written(fleet: &Fleet, more: u64) {
    let before = size(fleet);
    wait_until("more output", DEADLINE, || {
        let now = size(fleet);
        if now >= before + more { Ok(()) } else { Err((before, now)) }
    });
}

#[test]
fn nothing_is_sent_when_nobody_follows() {
    const WRITTEN: u64 = 3_000_000;
    // Touches, records and statuses of a small fleet, with much room.
    const AT_REST: u64 = WRITTEN / 6;
    let monitor = Port::reserve();
    let mut fleet = Fleet::bare_with(&format!("http: \"127.0.0.1:{}\"", monitor.number()));
    fleet.scheduler("s1");
    fleet.worker("w1");
    fleet.wait_ready(1);
    fleet.apply(&talker(""));
    let sent = |during: &dyn Fn()| {
        let before = received(&monitor);
        during();
        received(&monitor) - before
    };
    let alone = sent(&|| wait_written(&fleet, WRITTEN));
    assert!(alone < AT_REST, "{alone}");
    let follower = Follower::start(&fleet, &["talk:0", "-n", "0"]);
    let while_read = sent(&|| {
        wait_until("output", DEADLINE, || {
            let len = follower.shown().len() as u64;
            if len >= WRITTEN { Ok(()) } else { Err(len) }
        });
    });
    assert!(while_read > WRITTEN, "{while_read}");
    drop(follower);
    let again = sent(&|| wait_written(&fleet, WRITTEN));
    // What it asked for last may still come.
    assert!(again < AT_REST + 1_000_000, "{again}");
}

#[test]
fn a_follower_that_is_stopped_keeps_nobody_waiting_and_misses_nothing() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(&talker(""));
    let stopped = Follower::start(&fleet, &["talk:0", "-n", "100000"]);
    stopped.wait_for_more(1000);
    stopped.freeze();
    let before = stopped.shown().len();
    wait_written(&fleet, 4_000_000);
    // Whoever else reads is not kept waiting, either.
    let last = fleet.ok(&["logs", "talk:0", "-n", "1"]);
    let restarts = fleet.row("talk:0")["restarts"].clone();
    assert_eq!(stopped.shown().len(), before);
    stopped.signal(Signal::SIGCONT);
    fleet.ok(&["stop", "talk"]);
    let written = written(&fleet, "w1");
    assert!(written.contains(&last) && restarts == 0);
    stopped.wait_for(&written);
    assert_each_once(&written);
    assert!(!stopped.said().contains("rotated away"), "{}", stopped.said());
}

#[test]
fn what_was_rotated_away_before_it_was_read_is_told() {
    let fleet = Fleet::start(1, 1);
    fleet.apply(&talker("").replace("stdout_logfile_backups = 900", "stdout_logfile_backups = 2"));
    let slow = Follower::start(&fleet, &["talk:0", "-n", "0"]);
    slow.wait_for_more(1000);
    slow.freeze();
    let before = slow.shown().lines().count();
    // Far more than is kept.
    let number_in = |line: &str| -> Option<u64> {
        // One that is cut has another number, or none.
        line.strip_suffix('\n')?.split(' ').next()?.rsplit('.').next()?.parse().ok()
    };
    let number = || number_in(&fleet.ok(&["logs", "talk:0", "-n", "1"]));
    let first = wait_for("a whole line", DEADLINE, number);
    wait_until("much output", DEADLINE, || match number() {
        Some(now) if now > first + 20_000 => Ok(()),
        now => Err(now),
    });
    slow.signal(Signal::SIGCONT);
    slow.wait_said("rotated away");
    slow.wait_for_more(1000);
    fleet.ok(&["stop", "talk"]);
    let shown = slow.shown();
    let numbers: Vec<u64> = shown.split_inclusive('\n').filter_map(number_in).collect();
    assert!(numbers.len() > before + 1000 && numbers.is_sorted());
    let repeated = numbers.windows(2).filter(|two| two[0] == two[1]).count();
    assert_eq!(repeated, 0);
}
