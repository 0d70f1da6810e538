//! Children that misbehave: each ends in a state that is defined, with an event that says why, and
//! the worker goes on.

use std::collections::BTreeMap;

use dsbus_schema::program::{Retries, Rlimit};
use dsbus_schema::state::{Exit, State};

use crate::stage::{Stage, alive, order, script, sleeper, stopped};

/// The worker is well: another program runs.
fn goes_on(stage: &mut Stage) {
    let pid = stage.run(&sleeper("other"));
    assert!(alive(pid));
}

#[test]
fn one_that_closes_its_pipes_runs_on() {
    let mut stage = Stage::open();
    let text = "echo before; exec >&- 2>&-; echo > closed; exec sleep 1000";
    let order = script("web", text, |_| {});
    let pid = stage.run(&order);
    stage.read(&stage.file("web", "closed"));
    goes_on(&mut stage);
    assert!(alive(pid));
    stage.place(&stopped(&order));
    assert_eq!(stage.change("web", State::Stopped).0.exit, Some(Exit::signal(15)));
    assert_eq!(std::fs::read(stage.file("web", "stdout.log")).unwrap(), b"before\n");
}

#[test]
fn binary_output_is_kept_to_the_byte() {
    let mut stage = Stage::open();
    let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let source = stage.directory().path().join("bytes");
    std::fs::write(&source, &bytes).unwrap();
    let text = format!("cat {}; exec sleep 1000", source.display());
    stage.run(&script("web", &text, |_| {}));
    let log = stage.file("web", "stdout.log");
    stage.wait_for("all bytes", || std::fs::read(&log).is_ok_and(|found| found == bytes));
    goes_on(&mut stage);
}

#[test]
fn one_that_forks_and_exits_has_ended() {
    let mut stage = Stage::open();
    let text = "sleep 1000 & echo $! > left; exit 0";
    stage.place(&script("web", text, |_| {}));
    let (exited, _) = stage.change("web", State::Exited);
    assert_eq!((exited.exit, exited.expected), (Some(Exit::code(0)), Some(true)));
    let left: i32 = stage.read(&stage.file("web", "left")).trim().parse().unwrap();
    assert!(!alive(left), "it is no daemon: what it left is gone with it");
    goes_on(&mut stage);
}

#[test]
fn a_fork_that_fails_is_told() {
    // A limit of the worker's own user, far below what this machine runs, makes fork fail: only
    // somebody other than root obeys it.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut stage = Stage::open();
    let one = Rlimit { soft: Some(1), hard: Some(1) };
    let text = "sleep 1000 & echo $?; wait";
    stage.place(&script("web", text, |spec| {
        spec.user = Some("daemon".to_owned());
        spec.directory = Some("/".to_owned());
        spec.rlimits = BTreeMap::from([("nproc".to_owned(), one)]);
        spec.startsecs = "10".parse().unwrap();
        spec.startretries = Retries::Count(0);
    }));
    let (fatal, _) = stage.change("web", State::Fatal);
    assert!(fatal.stderr_line.is_some_and(|line| line.contains("ork")), "it said why");
    goes_on(&mut stage);
}

#[test]
fn one_that_dumps_core_says_so() {
    let mut stage = Stage::open();
    let all = Rlimit { soft: Some(1 << 30), hard: Some(1 << 30) };
    stage.place(&order("web", &["sh", "-c", "kill -SEGV $$"], |spec| {
        spec.rlimits = BTreeMap::from([("core".to_owned(), all)]);
        spec.startretries = Retries::Count(0);
    }));
    let (exited, _) = stage.change("web", State::Exited);
    let exit = exited.exit.unwrap();
    // Where cores go is the machine's business; that the signal is told is ours.
    assert_eq!((exit.code, exit.signal), (None, Some(11)));
}

#[test]
fn what_it_used_is_told() {
    let mut stage = Stage::open();
    let text = "x = bytearray(40_000_000)
i = 0
while i < 3_000_000: i += 1";
    stage.place(&order("web", &["python3", "-c", text], |_| {}));
    let (exited, status) = stage.change("web", State::Exited);
    let usage = exited.usage.unwrap();
    assert!(usage.cpu_ms > 20 && usage.memory_peak > 40_000_000, "{usage:?}");
    assert_eq!(status.usage, Some(usage));
}

#[test]
fn a_slow_crash_loop_is_given_up() {
    let mut stage = Stage::open();
    stage.place(&script("web", "sleep 0.05; exit 1", |spec| {
        spec.restart_limit = 3;
        spec.restart_window = "60".parse().unwrap();
    }));
    let (fatal, status) = stage.change("web", State::Fatal);
    assert_eq!(fatal.from, State::Exited);
    assert!(fatal.reason.unwrap().contains("3 restarts within 1m"));
    assert_eq!(status.restarts, 3);
}

#[test]
fn a_crash_does_not_wait_for_its_group() {
    let mut stage = Stage::open();
    let text = "sleep 1000 & echo $! > left; [ -e once ] || { echo > once; exit 1; }; wait";
    stage.place(&script("web", text, |spec| spec.stopasgroup = true));
    stage.change("web", State::Exited);
    stage.change("web", State::Running);
    goes_on(&mut stage);
}

#[test]
fn a_pidfile_that_is_no_file_holds_nobody_up() {
    let mut stage = Stage::open();
    let fifo = stage.file("web", "pid").display().to_string();
    let text = "mkfifo pid; sleep 1000 & exit 0";
    stage.place(&script("web", text, |spec| {
        spec.daemon = true;
        spec.pidfile = Some(fifo);
        spec.start_timeout = "1".parse().unwrap();
        spec.startretries = Retries::Count(0);
    }));
    let (fatal, _) = stage.change("web", State::Fatal);
    let reason = fatal.reason.unwrap();
    assert!(reason.contains("not ready within 1s: no process is named in"), "{reason}");
    goes_on(&mut stage);
}
