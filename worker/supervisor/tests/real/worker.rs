//! The worker itself: when it ends, and what it says.

use dsbus_schema::event::WorkerChange;
use dsbus_schema::program::{AutoRestart, OnFatal, Retries};
use nix::sys::signal::Signal;

use crate::stage::{Stage, alive, script, sleeper};

#[test]
fn it_ends_with_the_code_of_the_program_that_it_is_for() {
    let mut stage = Stage::open();
    let other = stage.run(&sleeper("other"));
    stage.place(&script("web", "sleep 0.2; exit 42", |spec| {
        spec.on_fatal = OnFatal::Exit;
        spec.autorestart = AutoRestart::Never;
    }));
    let told = stage.worker_fact(WorkerChange::Stopping).reason.unwrap();
    assert!(told.contains("web:0") && told.contains("exit code 42"), "{told}");
    assert_eq!(stage.ended().0, Some(42));
    assert!(!alive(other));
}

#[test]
fn and_when_that_cannot_be_started() {
    let mut stage = Stage::open();
    stage.place(&script("web", "kill -9 $$", |spec| {
        spec.on_fatal = OnFatal::Exit;
        spec.startsecs = "10".parse().unwrap();
        spec.startretries = Retries::Count(0);
    }));
    assert_eq!(stage.ended().0, Some(128 + 9));
}

#[test]
fn what_an_agent_logs_is_in_the_workers_log() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("worker.log");
    let mut stage = Stage::open_with(&[&format!("log={}", log.display())]);
    stage.hello(1);
    let agent = stage.agent_pid();
    let stderr = std::fs::read_link(format!("/proc/{agent}/fd/2")).unwrap();
    assert!(stderr.to_string_lossy().starts_with("pipe:"), "{stderr:?}");
    std::fs::write(format!("/proc/{agent}/fd/2"), "said by an agent\n").unwrap();
    stage.wait_for("the words", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("said by an agent\n"))
    });
}

#[test]
fn a_reload_leaves_children_alone() {
    let mut stage = Stage::open();
    let pid = stage.run(&sleeper("web"));
    stage.signal(Signal::SIGHUP);
    let other = stage.run(&sleeper("other"));
    assert!(alive(pid) && alive(other));
}

#[test]
fn it_reaps_orphans_that_are_nobodys() {
    let mut stage = Stage::open();
    // A child of the worker that it never started: the wrapper's, before it became the worker.
    let through = ["sh", "-c", "sleep 0.2 & exec \"$@\"", "sh"];
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let other = Stage::open_in(directory, &through, &[]);
    let children = format!("/proc/{0}/task/{0}/children", other.pid());
    stage.run(&sleeper("web"));
    stage.wait_for("only the agent to be left", || {
        let text = std::fs::read_to_string(&children).unwrap();
        text.split_whitespace().count() == 1
    });
}
