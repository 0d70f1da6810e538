//! Children that run, fail, and are started again.

use dsbus_schema::event::WorkerChange;
use dsbus_schema::ids::Epoch;
use dsbus_schema::program::{AutoRestart, Retries};
use dsbus_schema::state::{Exit, State};
use dsbus_supervisor::protocol::{Reported, ToAgent, ToSupervisor};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;

use crate::stage::{Stage, alive, change, last, order, script, signal_one, sleeper};

#[test]
fn a_killed_child_is_replaced() {
    let mut stage = Stage::open();
    let first = stage.run(&sleeper("web"));
    signal_one(first, Signal::SIGKILL);
    let (exited, _) = stage.change("web", State::Exited);
    assert_eq!((exited.exit, exited.expected), (Some(Exit::signal(9)), Some(false)));
    let (running, status) = stage.change("web", State::Running);
    assert!(running.pid != Some(first) && alive(running.pid.unwrap()) && !alive(first));
    assert_eq!(status.restarts, 1);
    let changes: Vec<_> = stage.heard().iter().filter_map(change).collect();
    let numbers: Vec<_> = changes.iter().map(|(fact, _)| fact.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert!(changes.windows(2).all(|two| two[0].0.state == two[1].0.from), "{changes:#?}");
    assert!(changes.iter().all(|(fact, status)| status.state == fact.state));
}

#[test]
fn a_signal_without_a_name_is_seen_too() {
    let mut stage = Stage::open();
    let pid = stage.run(&sleeper("web"));
    let sent = std::process::Command::new("kill").args(["-40", &pid.to_string()]).status();
    assert!(sent.unwrap().success());
    assert_eq!(stage.change("web", State::Exited).0.exit, Some(Exit::signal(40)));
    stage.change("web", State::Running);
}

#[test]
fn exit_codes_decide_what_is_expected() {
    let mut stage = Stage::open();
    stage.place(&script("job", "exit 0", |_| {}));
    let (exited, _) = stage.change("job", State::Exited);
    assert_eq!((exited.exit, exited.expected), (Some(Exit::code(0)), Some(true)));
    stage.place(&script("odd", "exit 4", |spec| spec.autorestart = AutoRestart::Never));
    let (exited, _) = stage.change("odd", State::Exited);
    assert_eq!((exited.exit, exited.expected), (Some(Exit::code(4)), Some(false)));
}

#[test]
fn a_child_that_cannot_work_is_given_up_with_its_last_words() {
    let mut stage = Stage::open();
    let text = "echo 'reading' >&2; printf 'no config\\n\\n' >&2; exit 3";
    let edit = |spec: &mut dsbus_schema::program::ProgramSpec| {
        spec.startsecs = "10".parse().unwrap();
        spec.startretries = Retries::Count(1);
    };
    stage.place(&script("web", text, edit));
    let (backoff, status) = stage.change("web", State::Backoff);
    assert_eq!((backoff.exit, backoff.attempt), (Some(Exit::code(3)), Some(1)));
    assert_eq!(status.reason.as_deref(), Some("exited too quickly: exit code 3"));
    let (fatal, status) = stage.change("web", State::Fatal);
    assert_eq!(fatal.exit, Some(Exit::code(3)));
    assert_eq!(fatal.stderr_line.as_deref(), Some("no config"));
    assert_eq!((status.stderr_line, status.pid), (fatal.stderr_line, None));
}

#[test]
fn a_child_that_cannot_be_started_says_why() {
    let mut stage = Stage::open();
    let directory = stage.directory();
    let plain = directory.path().join("plain").display().to_string();
    std::fs::write(&plain, "").unwrap();
    let denied = format!("{plain} is not executable: it has mode ");
    for (name, words, directory, why) in [
        ("none", vec!["/no/such"], None, "/no/such does not exist"),
        (
            "path",
            vec!["no-such-command"],
            None,
            "no file no-such-command is in any directory of PATH (",
        ),
        ("plain", vec![&*plain], None, &*denied),
        ("dir", vec!["true"], Some("/y"), "directory /y does not exist"),
    ] {
        stage.place(&order(name, &words, |spec| {
            spec.startretries = Retries::Count(0);
            spec.directory = directory.map(ToOwned::to_owned);
        }));
        assert_eq!(stage.change(name, State::Starting).0.pid, None, "{name}");
        let (fatal, status) = stage.change(name, State::Fatal);
        let told = fatal.spawnerr.as_deref().unwrap();
        assert!(told.starts_with(why), "{told}");
        assert_eq!(status.spawnerr, fatal.spawnerr);
    }
}

#[test]
fn a_child_knows_who_it_is_and_nothing_of_the_worker() {
    let mut stage = Stage::open();
    let text = "env > env; ls /proc/self/fd | wc -l > fds; pwd > pwd; exec sleep 1000";
    let pid = stage.run(&script("web", text, |spec| {
        spec.environment.insert("COLOR".into(), "red".into());
        spec.environment.insert("DSBUS_EPOCH".into(), "forged".into());
    }));
    // It is written last: the others are whole then.
    let pwd = stage.read(&stage.file("web", "pwd"));
    let environment = stage.read(&stage.file("web", "env"));
    for line in [
        "COLOR=red",
        "KEPT=yes",
        "DSBUS_EPOCH=1",
        "DSBUS_FLEET=default",
        "DSBUS_INSTANCE=web:0",
        "DSBUS_PROGRAM=web",
        "DSBUS_INDEX=0",
        "DSBUS_WORKER=w1",
    ] {
        assert!(environment.lines().any(|l| l == line), "{line} in {environment}");
    }
    assert!(!environment.contains("NOTIFY_SOCKET") && !environment.contains("DSBUS_NATS"));
    // Three, and the one by which ls reads the directory.
    assert_eq!(stage.read(&stage.file("web", "fds")).trim(), "4");
    let directory = stage.file("web", "").canonicalize().unwrap();
    assert_eq!(pwd.trim(), directory.to_str().unwrap());
    assert_eq!(nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid))).unwrap().as_raw(), pid);
}

#[test]
fn a_new_epoch_begins_when_the_old_child_is_gone() {
    let mut stage = Stage::open();
    let mut order = sleeper("web");
    let first = stage.run(&order);
    order.placement.epoch = Epoch(5);
    order.last = Some(last(5, 7, State::Stopped));
    stage.place(&order);
    let (stopped, _) = stage.change("web", State::Stopped);
    assert_eq!((stopped.epoch, stopped.pid), (Epoch(1), Some(first)));
    assert!(!alive(first));
    let (starting, _) = stage.change("web", State::Starting);
    assert_eq!((starting.epoch, starting.seq), (Epoch(5), 8));
    let (running, _) = stage.change("web", State::Running);
    order.placement.epoch = Epoch(4);
    stage.place(&order);
    let refused = stage.worker_fact(WorkerChange::Refused);
    assert!(refused.reason.unwrap().contains("web:0"));
    assert!(alive(running.pid.unwrap()));
}

#[test]
fn what_is_taken_away_stops_and_is_forgotten() {
    let mut stage = Stage::open();
    let (kept, gone) = (sleeper("kept"), sleeper("gone"));
    let kept_pid = stage.run(&kept);
    stage.run(&gone);
    stage.say(&ToSupervisor::Sync { orders: vec![kept], keep: BTreeSet::new(), let_go: None });
    stage.change("gone", State::Stopped);
    stage.hear("gone", |message| match message {
        ToAgent::Report(report) => match &report.what {
            Reported::Gone { name, epoch } => (*name == gone.name).then_some(*epoch),
            _ => None,
        },
        _ => None,
    });
    assert!(alive(kept_pid));
}

#[test]
fn a_restart_is_acted_upon_once() {
    let mut stage = Stage::open();
    let mut order = sleeper("web");
    let first = stage.run(&order);
    order.placement.wanted.restarts = 1;
    stage.place(&order);
    let (stopped, status) = stage.change("web", State::Stopped);
    assert_eq!((stopped.pid, status.wanted.restarts), (Some(first), 0));
    let (running, status) = stage.change("web", State::Running);
    assert_eq!((status.wanted.restarts, status.restarts), (1, 1));
    order.placement.revision = 2;
    order.placement.spec.startretries = Retries::Count(9);
    stage.place(&order);
    stage.hear("revision 2", |message| match message {
        ToAgent::Report(report) => match &report.what {
            Reported::Instance { status, event: None, .. } => {
                (status.revision == 2 && status.pid == running.pid).then_some(())
            }
            _ => None,
        },
        _ => None,
    });
    assert!(alive(running.pid.unwrap()), "no reason to stop it");
}
