//! How often it is tried, and when it is given up.

use std::time::Duration;

use dsbus_schema::program::OnFatal;

use super::*;
use crate::instance::outcome::pause;

#[test]
fn pauses() {
    let spec = |restart_pause, backoff_factor, max| ProgramSpec {
        restart_pause: Option::map(restart_pause, Span::from_secs),
        backoff_factor,
        backoff_max: Span::from_secs(max),
        ..ProgramSpec::default()
    };
    for (spec, pauses) in [
        (spec(None, None, 60), [1, 2, 3, 4]),
        (spec(None, None, 2), [1, 2, 2, 2]),
        (spec(Some(7), None, 60), [7, 7, 7, 7]),
        (spec(Some(0), None, 60), [0, 0, 0, 0]),
        (spec(None, Some(2.0), 60), [1, 2, 4, 8]),
        (spec(Some(5), Some(3.0), 60), [5, 15, 45, 60]),
    ] {
        let found = [1, 2, 3, 4].map(|fails| pause(&spec, fails).as_secs());
        assert_eq!(found, pauses);
    }
    let wild = spec(Some(1), Some(1000.0), 60);
    assert_eq!(pause(&wild, u32::MAX), Duration::from_secs(60));
}

#[test]
fn retries_without_end() {
    let p = placement(1, |p| {
        p.spec.startretries = Retries::Infinite;
        p.spec.backoff_max = Span::from_secs(5);
    });
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    let mut millis = 0;
    for _ in 0..150 {
        assert_eq!(s.end(Exit::code(1), millis + 10), ["STARTING -> BACKOFF"]);
        millis += 10 + 5000;
        assert_eq!(s.feed(Input::Tick, millis).len(), 2);
    }
}

#[test]
fn a_slow_crash_loop_ends_at_its_limit() {
    let edit = |p: &mut Placement| {
        p.spec.restart_limit = 3;
        p.spec.restart_window = Span::from_secs(60);
    };
    let mut s = running(&placement(1, edit), 2000);
    let mut millis = 2000;
    for _ in 0..3 {
        millis += 2000;
        assert_eq!(s.end(Exit::code(1), millis).len(), 3);
        millis += 1500;
        assert_eq!(s.feed(Input::Tick, millis), ["STARTING -> RUNNING"]);
    }
    let told = s.end(Exit::code(1), millis + 2000);
    assert_eq!(told, ["RUNNING -> EXITED", "EXITED -> FATAL"]);
    let reason = s.status().reason.clone().unwrap();
    assert_eq!(reason, "gave up after 3 restarts within 1m: exit code 1");
    // Asked for, it is tried again, and counted anew.
    let again = placement(1, |p| {
        edit(p);
        p.wanted.starts = 1;
    });
    assert_eq!(s.put(&again, millis + 3000), ["spawn e1", "FATAL -> STARTING"]);
}

#[test]
fn crashes_that_are_far_apart_have_no_limit() {
    let mut s = running(
        &placement(1, |p| {
            p.spec.restart_limit = 1;
            p.spec.restart_window = Span::from_secs(10);
        }),
        2000,
    );
    for round in 1..20 {
        assert_eq!(s.end(Exit::code(1), round * 20_000).len(), 3);
        s.feed(Input::Tick, round * 20_000 + 2000);
    }
}

#[test]
fn the_worker_ends_with_the_code_of_its_program() {
    let edit = |p: &mut Placement| p.spec.on_fatal = OnFatal::Exit;
    for (exit, code) in [(Exit::code(0), 0), (Exit::code(42), 42), (Exit::signal(9), 137)] {
        let p = placement(1, |p| {
            edit(p);
            p.spec.autorestart = AutoRestart::Never;
        });
        let told = running(&p, 2000).end(exit, 9000);
        assert_eq!(told, ["RUNNING -> EXITED".to_owned(), format!("end worker {code}")]);
    }
    let p = placement(1, |p| {
        edit(p);
        p.spec.startretries = Retries::Count(0);
    });
    let mut s = Scene::new(&p);
    s.spawn_fails = true;
    assert_eq!(s.put(&p, 0).last().unwrap(), "end worker 1");
}

#[test]
fn out_of_memory_is_told() {
    let p = placement(1, |p| p.spec.limits.memory = Some(dsbus_schema::lenient::Size(64 << 20)));
    let mut s = running(&p, 2000);
    s.alive.clear();
    let (exit, usage) = (Exit::signal(9), None);
    let end = End { pid: 101, exit, usage, stderr_line: None, oom: true };
    assert_eq!(s.feed(Input::Ended(end), 9000)[..2], ["OomKill", "RUNNING -> EXITED"]);
    assert_eq!(s.notice().reason, "out of memory: its limit is 67108864 bytes");
}
