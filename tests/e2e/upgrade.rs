//! A worker becomes another version of itself, and no child notices.

mod daemons;
mod rooms;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::fleet::{DEADLINE, DSBUS, Fleet, alive, assert_gapless, number, wait_dead};

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

/// A fleet of one worker, whose executable can be replaced.
struct Scene {
    fleet: Fleet,
    binary: PathBuf,
}

impl Scene {
    fn start() -> Scene {
        let mut fleet = Fleet::bare();
        fleet.scheduler("s1");
        let binary = fleet.path().join("dsbus");
        symlink(DSBUS, &binary).unwrap();
        let (url, directory) = (fleet.nats.url(), fleet.worker_directory("w1"));
        let args = ["--nats", &url, "worker", "--name", "w1", "--dir", directory.to_str().unwrap()];
        fleet.spawn_from(&binary, "w1", &args, "info");
        fleet.wait_ready(1);
        Scene { fleet, binary }
    }

    /// Puts another version in the place of the executable, at once.
    fn replace(&self, by: &Path) {
        let new = self.fleet.path().join("dsbus.new");
        symlink(by, &new).unwrap();
        std::fs::rename(new, &self.binary).unwrap();
    }

    /// Another file that is the same program.
    fn other(&self) -> PathBuf {
        let path = self.fleet.path().join("other");
        if !path.exists() {
            std::fs::copy(DSBUS, &path).unwrap();
        }
        path
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

#[test]
fn reload_waits_for_the_new_version_or_says_why_it_does_not_come() {
    let scene = Scene::start();
    let directory = scene.fleet.worker_directory("w1");
    let words = ["worker", "reload", "--dir", directory.to_str().unwrap()];
    scene.replace(&scene.other());
    let said = scene.fleet.ok(&words);
    assert!(said.contains("took over from version"), "{said}");
    assert_eq!(scene.told("UPGRADED").len(), 1);
    std::fs::remove_file(&scene.binary).unwrap();
    let said = scene.fleet.fails(1, &words);
    assert!(said.contains("it cannot be looked at: No such file"), "{said}");
    let told = scene.wait_told("UPGRADE_FAILED", 1);
    assert!(told["data"]["reason"].as_str().unwrap().contains("No such file"), "{told}");
    scene.upgrade(Path::new(DSBUS), 2);
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

    let other = scene.other();
    scene.upgrade(&other, 1);
    scene.upgrade(Path::new(DSBUS), 2);
    scene.upgrade(&other, 3);

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

#[test]
fn what_cannot_take_over_is_refused_and_the_old_version_goes_on() {
    let scene = Scene::start();
    let fleet = &scene.fleet;
    fleet.apply("[program.a]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let (before, agent) = (standing(&fleet.row("a:0")), fleet.agent_pid("w1"));
    let garbage = fleet.path().join("garbage");
    std::fs::write(&garbage, "no program").unwrap();
    std::fs::set_permissions(&garbage, PermissionsExt::from_mode(0o755)).unwrap();
    let complains = scene.script("complains", "echo 'error: unexpected argument' >&2; exit 2");
    let renamed = scene.script("renamed", &format!("exec env DSBUS_FLEET=other '{DSBUS}' \"$@\""));
    let cases = [
        (garbage, "neither a binary nor a script"),
        (PathBuf::from("/bin/true"), "no version of dsbus"),
        (complains, "unexpected argument"),
        (renamed, "its fleet is other"),
    ];
    for (times, (file, why)) in (1..).zip(cases) {
        scene.replace(&file);
        scene.hup();
        let told = scene.wait_told("UPGRADE_FAILED", times);
        let reason = told["data"]["reason"].as_str().unwrap();
        assert!(reason.contains(why), "{}: {reason}", file.display());
    }
    assert_eq!(standing(&fleet.row("a:0")), before);
    assert_eq!(fleet.agent_pid("w1"), agent, "the agent was not touched");
    assert!(scene.told("UPGRADED").is_empty());
    // One that passes the trial, and then gives the place back.
    let gives_back = scene.python(
        "gives-back",
        &format!(
            "if not taking:\n    os.execv({DSBUS:?}, words)\n\
             left = json.loads(open('/proc/self/fd/' + taking[0]).read().splitlines()[1])\n\
             os.execv('/proc/self/fd/%d' % left['executable'], words + ['--given-back=no wish'])"
        ),
    );
    scene.replace(&gives_back);
    scene.hup();
    let told = scene.wait_told("UPGRADE_FAILED", 5);
    assert!(told["data"]["reason"].as_str().unwrap().contains("no wish"), "{told}");
    assert_eq!(standing(&fleet.row("a:0")), before);
    scene.upgrade(&scene.other(), 1);
    assert_eq!(standing(&fleet.row("a:0")), before);
}

#[test]
fn one_that_hangs_does_not_outlive_the_deadline_of_an_exclusive_child() {
    let mut scene = Scene::start();
    scene.fleet.apply(
        "[program.db]\ncommand = \"sleep 1000\"\nexclusive = true\ntouch_timeout = 3\nstartsecs = 0\n",
    );
    let child = number(&scene.fleet.row("db:0")["pid"]);
    let hangs = format!("while taking:\n    signal.pause()\nos.execv({DSBUS:?}, words)");
    scene.replace(&scene.python("hangs", &hangs));
    scene.hup();
    // The timer that outlives the change ends it, and whoever runs workers would start it anew.
    assert_eq!(scene.fleet.wait_exit("w1"), None, "it is ended by a signal");
    wait_dead(child);
    assert!(scene.told("UPGRADED").is_empty());
}
