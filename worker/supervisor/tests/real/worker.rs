//! The worker itself: when it ends, and what it says.

use std::path::Path;

use dsbus_schema::event::WorkerChange;
use dsbus_schema::program::{AutoRestart, OnFatal, Retries};
use dsbus_supervisor::protocol::ToAgent;
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
fn it_leaves_no_cgroup() {
    let mut stage = Stage::open();
    stage.place(&sleeper("web"));
    let cgroup = stage.hear("a child", |message| match message {
        ToAgent::Child(child) => Some(child.cgroup.clone()),
        _ => None,
    });
    let Some(cgroup) = cgroup else {
        eprintln!("this machine has no cgroups of version 2: nothing is tested");
        return;
    };
    let root = Path::new(&cgroup).parent().unwrap();
    assert!(root.is_dir());
    stage.signal(Signal::SIGTERM);
    stage.ended();
    assert!(!root.exists(), "{}", root.display());
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

/// As in a container: the worker is PID 1 of a PID namespace of its own.
#[test]
fn as_pid_1_it_reaps_orphans_and_ends_with_its_program() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let through = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let mut stage = Stage::open_in(directory, &through, &[]);
    assert_eq!(stage.hello(1).supervisor_pid, 1);
    // Orphans by the dozen, none of which anybody waits for; in the end none is left as a zombie.
    let text = "i=0; while [ $i -lt 30 ]; do (setsid sh -c \"sleep 0.1; : > done.$i\" &); i=$((i+1)); done; \
                until [ $(ls done.* 2>/dev/null | wc -l) -eq 30 ]; do sleep 0.05; done; \
                until [ $(cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.Z') -eq 0 ]; do sleep 0.05; done; \
                exit 7";
    stage.place(&script("web", text, |spec| {
        spec.on_fatal = OnFatal::Exit;
        spec.autorestart = AutoRestart::Never;
    }));
    stage.change("web", dsbus_schema::state::State::Running);
    let (code, _, _) = stage.ended();
    assert_eq!(code, Some(7));
}
