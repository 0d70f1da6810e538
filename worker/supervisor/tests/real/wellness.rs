//! Children that say, or are asked, whether they are ready and well.

use dsbus_schema::event::Notice;
use dsbus_schema::program::Probe;
use dsbus_schema::state::State;
use dsbus_supervisor::protocol::{Asked, ToAgent, ToSupervisor};
use nix::sys::signal::Signal;

use crate::stage::{Stage, order, script, signal_one};

/// Says by `sd_notify(3)` what its standard input's lines are: `say READY=1`.
const SAY: &str = "say() { python3 -c 'import os, socket, sys
address = os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", \"\\0\")
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(sys.argv[1].encode(), address)' \"$1\"; }; ";

fn probe(json: serde_json::Value) -> Probe {
    serde_json::from_value(json).unwrap()
}

fn saying(text: &str) -> String {
    format!("{SAY}{text}")
}

#[test]
fn it_runs_when_it_says_that_it_is_ready() {
    let mut stage = Stage::open();
    let text = saying(
        "until [ -e go ]; do sleep 0.02; done; say 'STATUS=at work
READY=1'; exec sleep 1000",
    );
    stage.place(&script("web", &text, |spec| spec.notify = true));
    let (starting, _) = stage.change("web", State::Starting);
    // Nothing but its word makes it RUNNING, though its startsecs are over.
    std::fs::write(stage.file("web", "go"), "").unwrap();
    let (running, status) = stage.change("web", State::Running);
    assert_eq!(running.pid, starting.pid);
    assert_eq!(status.note.as_deref(), Some("at work"));
}

#[test]
fn one_that_is_not_ready_in_time_has_failed() {
    let mut stage = Stage::open();
    stage.place(&order("web", &["sleep", "1000"], |spec| {
        spec.notify = true;
        spec.start_timeout = "300ms".parse().unwrap();
    }));
    stage.change("web", State::Stopping);
    let (backoff, _) = stage.change("web", State::Backoff);
    assert!(backoff.reason.unwrap().contains("READY=1"));
}

#[test]
fn one_that_does_not_feed_its_watchdog_is_restarted() {
    let mut stage = Stage::open();
    let text = saying(
        "say READY=1; while [ ! -e hang ]; do say WATCHDOG=1; sleep 0.1; done; \
                       rm hang; exec sleep 1000",
    );
    stage.place(&script("web", &text, |spec| {
        spec.notify = true;
        spec.watchdog = Some("5s".parse().unwrap());
    }));
    let first = stage.change("web", State::Running).0.pid;
    std::fs::write(stage.file("web", "hang"), "").unwrap();
    let (stopping, _) = stage.change("web", State::Stopping);
    assert!(stopping.reason.unwrap().contains("WATCHDOG=1"));
    let (running, status) = stage.change("web", State::Running);
    assert!(running.pid != first && status.restarts == 1);
}

#[test]
fn a_command_tells_when_it_is_ready() {
    let mut stage = Stage::open();
    stage.place(&order("web", &["sleep", "1000"], |spec| {
        let json = serde_json::json!({"exec": ["cat", "ready"], "interval": "50ms"});
        spec.readiness = Some(probe(json));
    }));
    let why = |s: &dsbus_schema::status::Status| {
        s.reason.as_deref().is_some_and(|reason| reason.contains("No such file"))
    };
    let status = stage.status("web", why);
    assert!(status.reason.unwrap().starts_with("not ready yet: exit code 1"));
    std::fs::write(stage.file("web", "ready"), "").unwrap();
    stage.change("web", State::Running);
}

#[test]
fn a_question_that_hangs_is_a_bad_answer() {
    let mut stage = Stage::open();
    let first = stage.run(&order("web", &["sleep", "1000"], |spec| {
        let json = serde_json::json!({
            "exec": ["sh", "-c", "[ -e hang ] && exec sleep 1000; exit 0"],
            "interval": "50ms", "timeout": "200ms", "failures": 2,
        });
        spec.liveness = Some(probe(json));
    }));
    std::fs::write(stage.file("web", "hang"), "").unwrap();
    let told = stage.notice("web", Notice::ProbeFailed);
    assert_eq!(told.reason, "liveness, 1 of 2: no answer in time");
    std::fs::remove_file(stage.file("web", "hang")).ok();
    // It may have been asked once more before the file was gone.
    std::fs::write(stage.file("web", "hang"), "").unwrap();
    let (stopping, _) = stage.change("web", State::Stopping);
    assert!(stopping.reason.unwrap().contains("2 times in a row"));
    std::fs::remove_file(stage.file("web", "hang")).unwrap();
    assert!(stage.change("web", State::Running).0.pid != Some(first));
}

#[test]
fn the_network_is_asked_by_the_agent_and_again_by_the_next_one() {
    let mut stage = Stage::open();
    stage.place(&order("web", &["sleep", "1000"], |spec| {
        spec.readiness = Some(probe(serde_json::json!({
            "http": "http://localhost:80%(process_num)02d/ok", "timeout": "250ms"
        })));
    }));
    let asked = |message: &ToAgent| match message {
        ToAgent::Probe { number, ask, timeout_ms } => Some((*number, ask.clone(), *timeout_ms)),
        _ => None,
    };
    let first = stage.hear("a question", asked);
    assert_eq!(first.1, Asked::Http("http://localhost:8000/ok".to_owned()));
    assert_eq!(first.2, 250);
    // Nobody answers; the agent dies, and the next one is asked the same.
    signal_one(stage.agent_pid(), Signal::SIGKILL);
    stage.hello(2);
    let again = stage.hear("the question again", asked);
    assert_eq!(again, first);
    stage.say(&ToSupervisor::Probed { number: first.0, trouble: None });
    stage.change("web", State::Running);
}

#[test]
fn a_changed_executable_restarts_its_child_once() {
    let mut stage = Stage::open();
    let directory = stage.directory();
    let app = directory.path().join("app");
    std::fs::copy("/bin/sleep", &app).unwrap();
    let words = [app.to_str().unwrap(), "1000"];
    let first = stage.run(&order("web", &words, |s| s.restart_when_binary_changed = true));
    // As package managers do it: a new file takes the name of the old one.
    let next = directory.path().join("next");
    std::fs::copy("/bin/sleep", &next).unwrap();
    std::fs::rename(&next, &app).unwrap();
    assert_eq!(stage.notice("web", Notice::BinaryChanged).pid, Some(first));
    let (running, status) = stage.change("web", State::Running);
    assert!(running.pid != Some(first));
    assert_eq!(status.restarts, 1);
}
