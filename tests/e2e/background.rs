//! Daemons in the background, where nothing like systemd is: start, stop, restart, status.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::fleet::{DSBUS, Fleet, alive, said, wait_dead};

/// A user's home on a machine, whose daemons end with it.
struct Home {
    directory: tempfile::TempDir,
    url: String,
}

impl Home {
    fn new(url: &str) -> Home {
        Home { directory: tempfile::tempdir().unwrap(), url: url.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(DSBUS);
        command.args(["--nats", &self.url]).args(words.split(' '));
        command.current_dir(self.directory.path()).env("HOME", self.directory.path());
        command.stdin(Stdio::null());
        command
    }

    /// What it prints, and how it ends.
    fn run(&self, words: &str) -> (Option<i32>, String) {
        let output: Output = self.command(words).output().unwrap();
        (output.status.code(), said(&output))
    }

    fn ok(&self, words: &str) -> String {
        let (code, said) = self.run(words);
        assert_eq!(code, Some(0), "{words}: {said}");
        said
    }

    fn pid(&self, file: &str) -> i32 {
        fs::read_to_string(self.path(file)).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for file in ["s.pid", "g.pid", "state/lock"] {
            let pid =
                fs::read_to_string(self.path(file)).ok().and_then(|text| text.trim().parse().ok());
            if let Some(pid) = pid {
                // It may have ended already.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

const SCHEDULER: &str = "--id s1 --pidfile s.pid --logfile s.log";
const GATEWAY: &str = "--listen 127.0.0.1:0 --pidfile g.pid --logfile g.log";
const WORKER: &str = "--name w1 --dir state";

#[test]
fn daemons_are_started_and_stopped_and_say_how_they_are() {
    let fleet = Fleet::bare();
    let home = Home::new(&fleet.nats.url());
    let daemons = [
        ("scheduler", SCHEDULER, "s.pid", "it schedules as s1"),
        ("gateway", GATEWAY, "g.pid", "it listens on http://127.0.0.1:"),
        ("worker", WORKER, "state/lock", "it runs 0 children"),
    ];
    for (what, options, pidfile, how) in daemons {
        let status = format!("{what} status {options}");
        let (code, said) = home.run(&status);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(&format!("the {what} does not run")), "{said}");
        assert!(home.ok(&format!("{what} stop {options}")).contains("does not run"));

        let said = home.ok(&format!("{what} start {options}"));
        let first = home.pid(pidfile);
        assert!(said.contains(&format!("the {what} runs (pid {first})")), "{said}");
        assert!(said.contains(how), "{said}");
        assert!(home.ok(&status).contains(&format!("(pid {first})")));
        assert!(home.ok(&format!("{what} start {options}")).contains("runs already"));

        let said = home.ok(&format!("{what} restart {options}"));
        assert!(said.contains(&format!("the {what} (pid {first}) has stopped")), "{said}");
        let second = home.pid(pidfile);
        assert!(first != second && !alive(first) && alive(second));
    }
    fleet.apply("[program.p]\ncommand = \"sleep 1000\"\nstartsecs = 0\n");
    let child = crate::fleet::number(&fleet.row("p:0")["pid"]);
    for (what, options, pidfile, _) in daemons {
        let pid = home.pid(pidfile);
        let said = home.ok(&format!("{what} stop {options}"));
        assert!(said.contains(&format!("the {what} (pid {pid}) has stopped")), "{said}");
        assert!(!alive(pid));
        assert_eq!(home.run(&format!("{what} status {options}")).0, Some(3));
    }
    wait_dead(child);
    assert!(fs::read_to_string(home.path("s.log")).unwrap().contains("scheduler s1 is ready"));
}

#[test]
fn a_stale_pidfile_names_nobody_whoever_has_that_number_now() {
    let fleet = Fleet::bare();
    let home = Home::new(&fleet.nats.url());
    home.ok(&format!("scheduler start {SCHEDULER}"));
    let pid = home.pid("s.pid");
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    wait_dead(pid);
    let (code, said) = home.run(&format!("scheduler status {SCHEDULER}"));
    assert_eq!(code, Some(3));
    assert!(said.contains(&format!("pid {pid} in")) && said.contains("has ended"), "{said}");
    // Its number is another process's by now, which is left alone.
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(home.path("s.pid"), format!("{}\n", other.id())).unwrap();
    assert_eq!(home.run(&format!("scheduler status {SCHEDULER}")).0, Some(3));
    assert!(home.ok(&format!("scheduler stop {SCHEDULER}")).contains("does not run"));
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
    home.ok(&format!("scheduler start {SCHEDULER}"));
    home.ok(&format!("scheduler stop {SCHEDULER}"));
}

#[test]
fn a_worker_that_gives_up_root_is_heard_too() {
    if !geteuid().is_root() {
        return;
    }
    let fleet = Fleet::start(1, 0);
    let home = Home::new(&fleet.nats.url());
    // Whoever it becomes must still find its files.
    fs::set_permissions(home.directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(home.path("worker.toml"), "name = \"w1\"\ndir = \"state\"\nuser = \"nobody\"\n")
        .unwrap();
    let said = home.ok("worker start -c worker.toml");
    assert!(said.contains("it runs 0 children"), "{said}");
    let owner = |file: &str| fs::metadata(home.path(file)).unwrap().uid();
    assert!(owner("state") != 0 && owner("state/lock") != 0);
    home.ok("worker stop -c worker.toml");
    // Directories of others are made.
    home.ok("scheduler start --id s2 --pidfile a/s.pid --logfile b/s.log");
    home.ok("scheduler stop --id s2 --pidfile a/s.pid");
}

#[test]
fn one_that_does_not_come_up_says_why() {
    let fleet = Fleet::bare();
    let home = Home::new(&fleet.nats.url());
    // What is wrong with its files is told before anything is started.
    fs::write(home.path("g.toml"), "listen = 7\n").unwrap();
    let (code, said) = home.run(&format!("gateway start g.toml {GATEWAY}"));
    assert!(code == Some(2) && said.contains("g.toml"), "{said}");
    assert!(!home.path("g.pid").exists());
    // What is wrong with the rest is told by the daemon.
    fs::write(home.path("taken"), "Dear Ann, this is no process id.\n").unwrap();
    let (code, said) = home.run("scheduler start --id s1 --pidfile taken --logfile s.log");
    assert!(code == Some(1) && said.contains("what it holds is no process id"), "{said}");
    // One that waits for the bus is left alone, and is not ready.
    let away = Home::new("nats://127.0.0.1:1");
    let (code, said) = away.run(&format!("scheduler start {SCHEDULER} --timeout 300ms"));
    assert!(code == Some(5) && said.contains("it waits for the bus"), "{said}");
    away.ok(&format!("scheduler status {SCHEDULER}"));
    away.ok(&format!("scheduler stop {SCHEDULER}"));
}
