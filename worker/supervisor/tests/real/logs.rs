//! Where the output of real children goes.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use dsbus_schema::call::Channel;
use dsbus_schema::event::{Fact, Notice, OutputFact, OutputKind};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::State;
use dsbus_supervisor::protocol::{Reported, ToAgent, ToSupervisor};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::stage::{Stage, script};

/// The declaration with these keys, too.
fn with(keys: serde_json::Value) -> impl FnOnce(&mut ProgramSpec) {
    move |spec| {
        let mut all = serde_json::to_value(&*spec).unwrap();
        all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        *spec = serde_json::from_value(all).unwrap();
    }
}

fn output(message: &ToAgent, kind: OutputKind) -> Option<OutputFact> {
    let ToAgent::Report(report) = message else { return None };
    let Reported::Event { fact, .. } = &report.what else { return None };
    match &**fact {
        Fact::Output(fact) if fact.output == kind => Some(fact.clone()),
        _ => None,
    }
}

fn until_holds(stage: &Stage, path: &Path, text: &str) {
    stage.wait_for(&format!("{text:?} in {}", path.display()), || {
        fs::read_to_string(path).is_ok_and(|found| found == text)
    });
}

#[test]
fn to_several_places_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let syslog = directory.path().join("log");
    let socket = UnixDatagram::bind(&syslog).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let mut stage = Stage::open_with(&[&format!("syslog={}", syslog.display())]);
    let file = directory.path().join("web-%(process_num)02d.log").display().to_string();
    let keys = json!({"stdout_logfile": [file, "AUTO", "syslog"], "stderr_logfile": "NONE"});
    let (running, status) = {
        stage.place(&script("web", "echo one; echo two >&2; exec sleep 1000", with(keys)));
        stage.change("web", State::Running)
    };
    let named = directory.path().join("web-00.log");
    until_holds(&stage, &named, "one\n");
    // The first file is where an agent reads, through a link in the instance's own directory.
    assert_eq!(status.stdout_logfile.as_deref(), named.to_str());
    assert_eq!(status.stderr_logfile, None);
    until_holds(&stage, &stage.file("web", "stdout.log"), "one\n");
    let mut message = [0; 1000];
    let count = socket.recv(&mut message).unwrap();
    let message = String::from_utf8_lossy(&message[..count]);
    assert!(message.contains("web") && message.ends_with("one"), "{message}");
    assert!(running.pid.is_some());
}

#[test]
fn what_it_says_between_the_marks_is_an_event_and_not_logged() {
    let mut stage = Stage::open();
    let text = "printf 'before<!--XSUPERVISOR:BEGIN-->'; sleep 0.1; printf 'to all \\303\\244'; \
                printf '<!--XSUPERVISOR:END-->after'; exec sleep 1000";
    stage.run(&script("web", text, with(json!({"stdout_capture_maxbytes": "1KB"}))));
    let said = stage.hear("a word", |message| output(message, OutputKind::Communication));
    assert_eq!((said.text.as_str(), said.channel), ("to all \u{e4}", Channel::Stdout));
    stage.signal(Signal::SIGTERM);
    stage.change("web", State::Stopped);
    until_holds(&stage, &stage.file("web", "stdout.log"), "beforeafter");
}

#[test]
fn everything_it_says_is_an_event_where_that_is_wanted() {
    let mut stage = Stage::open();
    let text = "echo to the world >&2; exec sleep 1000";
    stage.run(&script("web", text, with(json!({"stderr_events_enabled": true}))));
    let said = stage.hear("a word", |message| output(message, OutputKind::Log));
    assert_eq!((said.text.as_str(), said.channel), ("to the world\n", Channel::Stderr));
    until_holds(&stage, &stage.file("web", "stderr.log"), "to the world\n");
}

#[test]
fn lines_have_their_time_and_no_colours() {
    let mut stage = Stage::open();
    let text = "printf '\\033[31mred\\033[0m\\nplain\\n'; exec sleep 1000";
    let keys = json!({"log_timestamps": true, "strip_ansi": true});
    stage.run(&script("web", text, with(keys)));
    let path = stage.file("web", "stdout.log");
    stage.wait_for("two lines", || {
        fs::read_to_string(&path).is_ok_and(|text| text.ends_with("plain\n"))
    });
    let log = fs::read_to_string(&path).unwrap();
    for (line, words) in log.lines().zip(["red", "plain"]) {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(dsbus_schema::moment::Timestamp::parse(time).is_ok() && rest == words, "{line}");
    }
    assert_eq!(log.lines().count(), 2);
}

#[test]
fn rotated_files_are_compressed() {
    let mut stage = Stage::open_with(&["compressor=gzip -c"]);
    let text = "seq 1 3000; exec sleep 1000";
    let keys = json!({"stdout_logfile_maxbytes": 4096, "log_compress": true});
    stage.run(&script("web", text, with(keys)));
    let path = |suffix: &str| stage.file("web", &format!("stdout.log{suffix}"));
    let lines: Vec<String> = (1..=3000).map(|n| n.to_string()).collect();
    let expected = lines.join("\n") + "\n";
    // What is compressed, oldest first, and what is not yet rotated.
    let all = || {
        let mut all = Vec::new();
        for n in (1..=10).rev().filter(|n| path(&format!(".{n}.gz")).exists()) {
            let mut gzip = std::process::Command::new("gzip");
            let unzip = gzip.arg("-dc").arg(path(&format!(".{n}.gz"))).output().unwrap();
            all.extend(unzip.stdout);
        }
        all.extend(fs::read(path("")).unwrap_or_default());
        all
    };
    // While the child still writes, there may be a moment in which nothing is left to compress.
    stage.wait_for("every line in compressed files and no others", || {
        let plain = (1..=10).any(|n| path(&format!(".{n}")).exists());
        !plain && path(".1.gz").exists() && all() == expected.as_bytes()
    });
}

#[test]
fn a_full_disk_stops_no_child_and_is_told() {
    let mut stage = Stage::open();
    let text = "while [ ! -e enough ]; do echo word; sleep 0.02; done; exec sleep 1000";
    let pid = stage.run(&script("web", text, with(json!({"stdout_logfile": "/dev/full"}))));
    let lost = stage.notice("web", Notice::OutputLost);
    assert!(lost.reason.contains("/dev/full") && lost.reason.contains("space"), "{}", lost.reason);
    assert_eq!(lost.pid, Some(pid));
    fs::write(stage.file("web", "enough"), "").unwrap();
    assert!(crate::stage::alive(pid));
}

#[test]
fn keys_of_logs_change_while_it_runs() {
    let mut stage = Stage::open();
    let text = "echo one; until [ -e go ]; do sleep 0.02; done; echo two; exec sleep 1000";
    let mut order = script("web", text, |_| {});
    let pid = stage.run(&order);
    until_holds(&stage, &stage.file("web", "stdout.log"), "one\n");
    let other = stage.directory().path().join("other.log");
    with(json!({"stdout_logfile": other}))(&mut order.placement.spec);
    order.placement.revision = 2;
    stage.place(&order);
    let status = stage.status("web", |status| status.revision == 2);
    assert_eq!(status.stdout_logfile.as_deref(), other.to_str());
    fs::write(stage.file("web", "go"), "").unwrap();
    until_holds(&stage, &other, "two\n");
    assert_eq!(status.pid, Some(pid));
}

#[test]
fn logs_are_opened_again_by_a_signal() {
    let mut stage = Stage::open();
    let text = "echo one; until [ -e go ]; do sleep 0.02; done; echo two; exec sleep 1000";
    stage.run(&script("web", text, |_| {}));
    let (log, moved) = (stage.file("web", "stdout.log"), stage.file("web", "moved"));
    until_holds(&stage, &log, "one\n");
    fs::rename(&log, &moved).unwrap();
    stage.signal(Signal::SIGUSR2);
    stage.wait_for("a new file", || log.exists());
    fs::write(stage.file("web", "go"), "").unwrap();
    until_holds(&stage, &log, "two\n");
    assert_eq!(fs::read_to_string(moved).unwrap(), "one\n");
}

#[test]
fn logs_are_cleared_while_it_writes_and_after() {
    let mut stage = Stage::open();
    let text = "seq 1 500; until [ -e go ]; do sleep 0.02; done; echo two; exec sleep 1000";
    let order = script("web", text, with(json!({"stdout_logfile_maxbytes": 1000})));
    stage.run(&order);
    let (log, rotated) = (stage.file("web", "stdout.log"), stage.file("web", "stdout.log.1"));
    stage.wait_for("a rotated log", || rotated.exists());
    let clear = |stage: &mut Stage, number| {
        stage.say(&ToSupervisor::ClearLogs { number, name: order.name.clone(), forget: false });
        stage.hear("cleared", |message| match message {
            ToAgent::Cleared { number: of, trouble, .. } if *of == number => Some(trouble.clone()),
            _ => None,
        })
    };
    assert_eq!(clear(&mut stage, 7), None);
    assert!(!rotated.exists());
    assert_eq!(fs::read(&log).unwrap(), b"");
    fs::write(stage.file("web", "go"), "").unwrap();
    until_holds(&stage, &log, "two\n");
    stage.place(&crate::stage::stopped(&order));
    stage.change("web", State::Stopped);
    assert_eq!(clear(&mut stage, 8), None);
    assert_eq!(fs::read(&log).unwrap(), b"");
    let nobody = "none:0".parse().unwrap();
    stage.say(&ToSupervisor::ClearLogs { number: 9, name: nobody, forget: false });
    let why = stage.hear("a refusal", |message| match message {
        ToAgent::Cleared { number: 9, trouble, unknown: true } => trouble.clone(),
        _ => None,
    });
    assert!(why.contains("none:0"), "{why}");
}

#[test]
fn output_goes_on_while_there_is_no_agent() {
    let mut stage = Stage::open();
    let text = "i=0; while [ ! -e enough ]; do i=$((i+1)); echo $i; sleep 0.01; done; echo end; \
                exec sleep 1000";
    let pid = stage.run(&script("web", text, with(json!({"stdout_logfile_maxbytes": 200}))));
    let agent = stage.agent_pid();
    crate::stage::signal_one(agent, Signal::SIGSTOP);
    let rotated = stage.file("web", "stdout.log.2");
    stage.wait_for("two rotations", || rotated.exists());
    // By now it may have been replaced, since it does not answer.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(agent), Signal::SIGKILL);
    stage.hello(2);
    fs::write(stage.file("web", "enough"), "").unwrap();
    let log = stage.file("web", "stdout.log");
    stage.wait_for("the end", || {
        let all = [".1", ""].map(|suffix| {
            fs::read_to_string(log.with_file_name(format!("stdout.log{suffix}")))
                .unwrap_or_default()
        });
        all.concat().ends_with("end\n")
    });
    assert!(crate::stage::alive(pid));
}
