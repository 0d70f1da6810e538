//! A worker in the background keeps what it has of its own; schedulers are replaced while they are
//! asked.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{before_this, turn};
use crate::fleet::{DEADLINE, DSBUS, Fleet, alive, assert_gapless, said, wait_dead};

/// A worker in the background, which is nobody's child. It ends with the value.
struct Daemon(i32);

impl Drop for Daemon {
    fn drop(&mut self) {
        if alive(self.0) {
            let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
        }
    }
}

#[test]
fn a_worker_in_the_background_keeps_its_pidfile_its_log_and_the_limits_of_children() {
    let mut fleet = Fleet::bare();
    fleet.scheduler("s1");
    let binary = fleet.path().join("dsbus");
    turn(&binary, &before_this());
    fleet.file(
        "w.toml",
        "name = \"w1\"\ndir = \"state\"\nnodaemon = false\npidfile = \"pid\"\nlogfile = \"w.log\"\n\
         minfds = 1500\n",
    );
    // All that is relative is so to where it was started, which the background is not.
    let words =
        format!("ulimit -Sn 600; exec ./dsbus --nats {} worker -c w.toml", fleet.nats.url());
    let mut command = Command::new("sh");
    command.args(["-c", &words]).current_dir(fleet.path()).stdin(Stdio::null());
    let started = command.output().unwrap();
    assert!(started.status.success(), "{}", said(&started));
    let read = |name: &str| std::fs::read_to_string(fleet.path().join(name)).unwrap_or_default();
    let pid = read("pid");
    let daemon = Daemon(pid.trim().parse().unwrap());
    fleet.wait_ready(1);
    fleet.apply("[program.a]\ncommand = \"ulimit -Sn; sleep 1000\"\nshell = true\nstartsecs = 0\n");
    let before = fleet.row("a:0")["pid"].clone();

    turn(&binary, Path::new(DSBUS));
    kill(Pid::from_raw(daemon.0), Signal::SIGHUP).unwrap();
    fleet.wait_event("of the new version", |event| event["data"]["change"] == "UPGRADED");

    assert_eq!(fleet.row("a:0")["pid"], before);
    assert_eq!(read("pid"), pid);
    assert!(read("w.log").contains("took over 1 children"), "{}", read("w.log"));
    let of = |name: &str| std::fs::read_link(format!("/proc/{}/{name}", daemon.0)).unwrap();
    assert_eq!(of("cwd"), PathBuf::from("/"), "it holds no file system");
    fleet.ok(&["restart", "a"]);
    let said = fleet.path().join("state/instances/a.0/stdout.log");
    wait_until("the limits of both children", DEADLINE, || {
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        if said == "600\n600\n" { Ok(()) } else { Err(said) }
    });
    // Its pidfile is locked: another worker does not get it.
    let words = format!("exec ./dsbus --nats {} worker -c w.toml --dir x", fleet.nats.url());
    let mut command = Command::new("sh");
    let second = command.args(["-c", &words]).current_dir(fleet.path()).output().unwrap();
    assert!(!second.status.success() && read("pid") == pid);
    kill(Pid::from_raw(daemon.0), Signal::SIGTERM).unwrap();
    wait_dead(daemon.0);
    assert!(!fleet.path().join("pid").exists());
}

#[test]
fn a_worker_that_was_started_by_a_link_becomes_what_the_link_is_turned_to() {
    let mut fleet = Fleet::bare();
    fleet.scheduler("s1");
    let binary = fleet.path().join("dsbus");
    turn(&binary, &before_this());
    fleet.file("w.toml", "name = \"w1\"\ndir = \"state\"\nlogfile = \"w.log\"\n");
    let words = ["--nats", &fleet.nats.url(), "worker", "start", "-c", "w.toml"];
    let mut command = Command::new("./dsbus");
    let started = command.args(words).current_dir(fleet.path()).output().unwrap();
    assert!(started.status.success(), "{}", said(&started));
    let pid = std::fs::read_to_string(fleet.path().join("state/lock")).unwrap();
    let daemon = Daemon(pid.trim().parse().unwrap());
    fleet.wait_ready(1);
    turn(&binary, Path::new(DSBUS));
    kill(Pid::from_raw(daemon.0), Signal::SIGHUP).unwrap();
    fleet.wait_event("of the new version", |event| event["data"]["change"] == "UPGRADED");
    // Once more there is nothing to do, and that is said.
    kill(Pid::from_raw(daemon.0), Signal::SIGHUP).unwrap();
    wait_until("a word about that", DEADLINE, || {
        let log = std::fs::read_to_string(fleet.path().join("w.log")).unwrap_or_default();
        if log.contains("nothing to upgrade") { Ok(()) } else { Err(log) }
    });
    kill(Pid::from_raw(daemon.0), Signal::SIGTERM).unwrap();
    wait_dead(daemon.0);
}

#[test]
fn schedulers_of_another_version_come_in_while_they_are_asked() {
    let mut fleet = Fleet::start(2, 1);
    fleet.apply("[program.a]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let other = before_this();
    let (url, nats) = (fleet.nats.url(), fleet.nats.url());
    let done = AtomicBool::new(false);
    let scaled = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            // Every command is answered well, whoever is there.
            let mut count = 1;
            while !done.load(Ordering::Relaxed) {
                count = count % 3 + 1;
                let words = ["--nats", &url, "scale", &format!("a={count}")];
                let output = Command::new(DSBUS).args(words).output().unwrap();
                assert!(output.status.success(), "{}", said(&output));
            }
            count
        });
        for id in ["s1", "s2"] {
            fleet.signal(id, Signal::SIGTERM);
            assert_eq!(fleet.wait_exit(id), Some(0));
            let args = ["--nats", &nats, "scheduler", "--id", id];
            fleet.spawn_from(&other, id, &args, "info");
            let log = fleet.log(id);
            wait_until("the new scheduler", DEADLINE, || {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                let ready = log.matches(&format!("scheduler {id} is ready")).count();
                if ready == 2 { Ok(()) } else { Err(log) }
            });
        }
        done.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    wait_until("as many copies as were asked for last", DEADLINE, || {
        let rows = fleet.status();
        let run = rows.iter().filter(|row| row["state"] == "RUNNING").count();
        if (run, rows.len()) == (scaled, scaled) { Ok(()) } else { Err(rows) }
    });
    assert_gapless(&fleet.events());
}
