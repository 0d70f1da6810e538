//! A worker becomes another version of itself, and no child notices.

mod away;
mod daemons;
mod refused;
mod rooms;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use dsbus_harness::{previous, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::fleet::{DEADLINE, DSBUS, Fleet, alive, assert_gapless, number};

/// Children of every kind: two that write numbered lines all the time, one that reads, one that is
/// exclusive, one that fails to start, and one that is stopped and does not listen.
const PROGRAMS: &str = r#"
[program.count]
command = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.002; done"
shell = true
numprocs = 2
startsecs = 0
stdout_logfile_maxbytes = 0

[program.reader]
command = "while read word; do echo got $word; done"
shell = true
stdin = true
startsecs = 0

[program.single]
command = "sleep 1000"
exclusive = true
touch_timeout = "60s"
startsecs = 0

[program.broken]
command = "exit 1"
shell = true
startretries = 1000

[program.deaf]
command = "trap '' TERM; echo up; while :; do sleep 0.1; done"
shell = true
startsecs = 0
stopwaitsecs = 15
"#;

/// A fleet of one worker of the version before, whose executable can be replaced.
struct Scene {
    fleet: Fleet,
    binary: PathBuf,
}

impl Scene {
    fn start() -> Scene {
        Scene::start_as("", "")
    }

    /// Starts the worker after this command of a shell, and with this in its file.
    fn start_as(before: &str, file: &str) -> Scene {
        let mut fleet = Fleet::bare();
        fleet.scheduler("s1");
        let binary = fleet.path().join("dsbus");
        turn(&binary, &before_this());
        let (url, directory) = (fleet.nats.url(), fleet.worker_directory("w1"));
        let file = fleet.file("w1.toml", file);
        let shell = format!("{before}\nexec \"$0\" \"$@\"");
        let args = ["-c", &shell, binary.to_str().unwrap(), "--nats", &url, "worker", "-c", &file];
        let more = ["--name", "w1", "--dir", directory.to_str().unwrap()];
        fleet.spawn_from(Path::new("/bin/sh"), "w1", &[&args[..], &more].concat(), "info");
        fleet.wait_ready(1);
        Scene { fleet, binary }
    }

    /// Puts another version in the place of the executable, at once.
    fn replace(&self, by: &Path) {
        turn(&self.binary, by);
    }

    /// A script that is in the place of a version.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.fleet.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// The same in Python, which waits for no children that it has not started. `words` is the command
    /// line, and `taking` has the descriptor, if it is to take over and not only tried.
    fn python(&self, name: &str, text: &str) -> PathBuf {
        let path = self.script(name, "");
        let head = "import json, os, signal, sys\nwords = sys.argv\n\
                    taking = [w.split('=')[1] for w in words if w.startswith('--take-over=')]";
        std::fs::write(&path, format!("#!/usr/bin/env python3\n{head}\n{text}\n")).unwrap();
        path
    }

    fn hup(&self) {
        self.fleet.signal("w1", Signal::SIGHUP);
    }

    /// Waits until the worker has told so often that it changed, or did not.
    fn wait_told(&self, change: &str, times: usize) -> Value {
        wait_until(&format!("{times} events {change}"), DEADLINE, || {
            let told = self.told(change);
            if told.len() == times {
                return Ok(told.last().unwrap().clone());
            }
            Err(std::fs::read_to_string(self.fleet.log("w1")).unwrap_or_default())
        })
    }

    fn told(&self, change: &str) -> Vec<Value> {
        let mut events = self.fleet.events();
        events.retain(|event| event["data"]["change"] == change);
        events
    }

    /// Becomes that version, for the `times`th time.
    fn upgrade(&self, to: &Path, times: usize) {
        self.replace(to);
        self.hup();
        self.wait_told("UPGRADED", times);
        let runs = std::fs::metadata(format!("/proc/{}/exe", self.fleet.pid("w1"))).unwrap();
        let wanted = std::fs::metadata(to).unwrap();
        assert_eq!(runs.ino(), wanted.ino(), "it runs the new executable");
    }

    fn lines(&self, instance: &str) -> Vec<String> {
        let directory = self.fleet.worker_directory("w1").join("instances");
        let log = std::fs::read_to_string(directory.join(instance).join("stdout.log"));
        log.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Asserts that a counter wrote every number once, in order, and waits until it writes on.
    fn assert_counts(&self, instance: &str) {
        let before = self.lines(instance).len();
        let lines = wait_until("it to write on", DEADLINE, || {
            let lines = self.lines(instance);
            if lines.len() > before + 10 { Ok(lines) } else { Err(lines.len()) }
        });
        for (line, wanted) in lines.iter().zip(1..) {
            assert_eq!(*line, wanted.to_string(), "{instance}: no line is lost or doubled");
        }
    }
}

/// The version before this one.
fn before_this() -> PathBuf {
    previous(Path::new(DSBUS))
}

/// Turns a symbolic link to another file, at once.
fn turn(link: &Path, to: &Path) {
    let new = link.with_extension("new");
    symlink(to, &new).unwrap();
    std::fs::rename(new, link).unwrap();
}

#[test]
fn reload_waits_for_the_new_version_or_says_why_it_does_not_come() {
    let scene = Scene::start();
    let directory = scene.fleet.worker_directory("w1");
    let words = ["worker", "reload", "--dir", directory.to_str().unwrap()];
    scene.replace(Path::new(DSBUS));
    let said = scene.fleet.ok(&words);
    assert!(said.contains("took over from version"), "{said}");
    scene.wait_told("UPGRADED", 1);
    std::fs::remove_file(&scene.binary).unwrap();
    let said = scene.fleet.fails(1, &words);
    assert!(said.contains("it cannot be looked at: No such file"), "{said}");
    let told = scene.wait_told("UPGRADE_FAILED", 1);
    assert!(told["data"]["reason"].as_str().unwrap().contains("No such file"), "{told}");
    scene.upgrade(&before_this(), 2);
}

/// What must not change: state, process, how often it was started anew, and when that was.
fn standing(row: &Value) -> Value {
    serde_json::json!([row["state"], row["pid"], row["restarts"], row["since"]])
}

#[test]
fn children_live_on_through_several_upgrades_and_are_looked_after_as_before() {
    let scene = Scene::start();
    let fleet = &scene.fleet;
    let file = fleet.file("all.toml", PROGRAMS);
    fleet.ok(&["apply", "--no-wait", &file]);
    let kept = ["count:0", "count:1", "reader:0", "single:0"];
    let pids: Vec<Value> =
        kept.iter().map(|name| standing(&fleet.wait_state(name, "RUNNING"))).collect();
    fleet.wait_state("deaf:0", "RUNNING");
    wait_until("deaf to listen", DEADLINE, || {
        if scene.lines("deaf.0").is_empty() { Err("silent") } else { Ok(()) }
    });
    fleet.ok(&["stop", "--no-wait", "deaf"]);
    let deaf = number(&fleet.wait_state("deaf:0", "STOPPING")["pid"]);
    fleet.wait_row("broken:0", "BACKOFF", |row| row["state"] == "BACKOFF");
    let (supervisor, agent) = (fleet.pid("w1"), fleet.agent_pid("w1"));

    scene.upgrade(Path::new(DSBUS), 1);
    scene.upgrade(&before_this(), 2);
    scene.upgrade(Path::new(DSBUS), 3);

    for (name, before) in kept.iter().zip(&pids) {
        assert_eq!(&standing(&fleet.row(name)), before, "{name}");
    }
    assert_eq!(supervisor, fleet.pid("w1"));
    wait_until("another agent", DEADLINE, || {
        let now = fleet.agent_pid("w1");
        if now == agent || alive(agent) { Err((now, agent)) } else { Ok(()) }
    });
    for counter in ["count.0", "count.1"] {
        scene.assert_counts(counter);
    }
    // It is asked to stop once, and killed when its time is over.
    fleet.wait_state("deaf:0", "STOPPED");
    assert!(!alive(deaf));
    let of = |name: &str, state: &str| {
        let is = |e: &&Value| e["data"]["name"] == name && e["data"]["state"] == state;
        fleet.events().iter().filter(is).count()
    };
    assert_eq!((of("deaf:0", "STOPPING"), of("deaf:0", "STOPPED")), (1, 1));
    // What fails is tried again as it was.
    let before = of("broken:0", "BACKOFF");
    wait_until("another try", DEADLINE, || {
        let now = of("broken:0", "BACKOFF");
        if now > before { Ok(()) } else { Err(now) }
    });
    // Words reach those who listen, a crash is repaired, and a stop stops.
    fleet.ok(&["stdin", "reader:0", "hello"]);
    wait_until("what was said", DEADLINE, || {
        let lines = scene.lines("reader.0");
        if lines == ["got hello"] { Ok(()) } else { Err(lines) }
    });
    let crashed = number(&pids[1][1]);
    kill(Pid::from_raw(crashed), Signal::SIGKILL).unwrap();
    fleet.wait_row("count:1", "repaired", |row| {
        row["state"] == "RUNNING" && row["pid"] != crashed && row["restarts"] == 1
    });
    fleet.ok(&["stop", "count:0", "single:0"]);
    assert!(!alive(number(&pids[0][1])) && !alive(number(&pids[3][1])));
    assert_gapless(&fleet.events());
}

#[test]
fn what_happens_while_nobody_is_there_is_seen_by_who_takes_over() {
    let scene = Scene::start();
    let fleet = &scene.fleet;
    fleet.apply(
        "[program.mayfly]\ncommand = \"sleep 1000\"\nstartsecs = 0\n\
         [program.talker]\n\
         command = \"until [ -e now ]; do sleep 0.01; done; echo one; echo two; sleep 1000\"\n\
         shell = true\nstartsecs = 0\n",
    );
    let mayfly = number(&fleet.row("mayfly:0")["pid"]);
    let now = fleet.worker_directory("w1").join("instances/talker.0/now");
    // Between the two versions, in their process: a child dies, another one speaks, a signal comes.
    let between = format!(
        "if taking:\n    \
             os.kill({mayfly}, 9)\n    \
             open({now:?}, 'w').close()\n    \
             os.kill(os.getpid(), signal.SIGHUP)\n    \
             os.waitid(os.P_PID, {mayfly}, os.WEXITED | os.WNOWAIT)\n\
         os.execv({DSBUS:?}, words)",
    );
    let between = scene.python("between", &between);
    scene.replace(&between);
    scene.hup();
    scene.wait_told("UPGRADED", 1);
    let row = fleet.wait_row("mayfly:0", "started anew", |row| {
        row["state"] == "RUNNING" && row["pid"] != mayfly
    });
    assert_eq!(row["restarts"], 1);
    let ended = fleet.wait_event("of its end", |event| {
        event["data"]["name"] == "mayfly:0" && event["data"]["state"] == "EXITED"
    });
    assert_eq!(ended["data"]["exit"]["signal"], 9, "{ended}");
    wait_until("what it said", DEADLINE, || {
        let lines = scene.lines("talker.0");
        if lines == ["one", "two"] { Ok(()) } else { Err(lines) }
    });
    assert_gapless(&fleet.events());
}
