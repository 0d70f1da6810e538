//! Daemons in the background, where nothing like systemd is: start, stop, restart, status.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use dsbus_harness::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use crate::fleet::{DEADLINE, DSBUS, Fleet, alive, said, wait_dead};

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
        for file in ["s.pid", "g.pid", "state/lock", "other/lock"] {
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
    let (code, said) = home.run(&format!("scheduler status {SCHEDULER}"));
    assert!(code == Some(3) && said.contains("another process's by now"), "{said}");
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
    // One that waits for the bus is left alone, and is not ready. It says so within that time.
    let away = Home::new("nats://127.0.0.1:1");
    let (code, said) = away.run(&format!("scheduler start {SCHEDULER} --timeout 10s"));
    assert!(code == Some(5) && said.contains("it waits for the bus"), "{said}");
    away.ok(&format!("scheduler status {SCHEDULER}"));
    away.ok(&format!("scheduler stop {SCHEDULER}"));
}

#[test]
fn the_scheduler_of_another_fleet_or_id_is_left_alone() {
    let fleet = Fleet::bare();
    let home = Home::new(&fleet.nats.url());
    home.ok(&format!("--fleet eu scheduler start {SCHEDULER}"));
    let pid = home.pid("s.pid");
    for other in ["--fleet us scheduler", "scheduler", "--fleet eu scheduler --id s2"] {
        let (options, id) = other.split_once(" --id ").unwrap_or((other, "s1"));
        for act in ["start", "stop", "restart", "status"] {
            let words = format!("{options} {act} --id {id} --pidfile s.pid --logfile s.log");
            let (code, said) = home.run(&words);
            assert_eq!(code, Some(if act == "status" { 3 } else { 1 }), "{words}: {said}");
            assert!(said.contains("s1 of fleet eu") && !said.contains("already"), "{said}");
        }
    }
    assert!(alive(pid) && home.pid("s.pid") == pid);
    // Whoever names the file need not know the id; and the log is where it is, not where it would be.
    let said = home.ok("--fleet eu scheduler status --pidfile s.pid");
    assert!(said.contains(home.path("s.log").to_str().unwrap()), "{said}");
    home.ok("--fleet eu scheduler stop --pidfile s.pid");
    assert!(!alive(pid));
}

#[test]
fn a_directory_knows_its_worker() {
    let fleet = Fleet::start(1, 0);
    let home = Home::new(&fleet.nats.url());
    home.ok("worker start --name w1 --dir state --label zone=eu");
    let first = home.pid("state/lock");
    for (words, why) in [
        ("worker start --name w2 --dir state", "w1 of fleet default runs in"),
        ("worker restart --name w2 --dir state", "w1 of fleet default runs in"),
        ("worker stop --name w2 --dir state", "w1 of fleet default runs in"),
        ("--fleet eu worker start --dir state", "w1 of fleet default runs in"),
        ("worker start --dir state --label zone=us", "with other labels"),
    ] {
        let (code, said) = home.run(words);
        assert!(code == Some(1) && said.contains(why), "{words}: {said}");
    }
    assert!(alive(first));
    assert!(home.ok("worker start --dir state --label zone=eu").contains("runs already"));
    home.ok("worker restart --dir state");
    assert_ne!(first, home.pid("state/lock"));
    let row = wait_known(&fleet, &home);
    assert_eq!(row["labels"]["zone"], "eu", "{row}");
    home.ok("worker stop --dir state");
    home.ok("worker start --dir state");
    wait_known(&fleet, &home);
    home.ok("worker stop --dir state");
}

/// Waits until the fleet knows w1 as the worker that runs there now.
fn wait_known(fleet: &Fleet, home: &Home) -> Value {
    wait_until("the new w1 to be known", DEADLINE, || {
        let rows = fleet.try_json(&["workers", "-o", "json"])?;
        let known = rows[0]["state"] == "ready"
            && rows[0]["supervisor_pid"] == home.pid("state/lock")
            && rows[0]["name"] == "w1";
        if known { Ok(rows[0].clone()) } else { Err(rows.to_string()) }
    })
}

#[test]
fn a_worker_whose_name_is_taken_says_so() {
    let fleet = Fleet::start(1, 1);
    let home = Home::new(&fleet.nats.url());
    let (code, said) = home.run("worker start --name w1 --dir other");
    assert!(code == Some(1) && said.contains("w1") && !said.contains("stops 0"), "{said}");
    assert!(said.contains("is held by") && said.contains("other/worker.log"), "{said}");
    // What it has anyway may be said, and what stops nothing does not look as if it had.
    home.ok("worker start --nodaemon --name w2 --dir state");
    let (code, said) = home.run("worker stop --dir state --check-config");
    assert!(code == Some(2) && said.contains("nothing was done"), "{said}");
    home.ok("worker status --dir state");
    home.ok("worker stop --dir state");
}

#[test]
fn a_mistake_in_its_file_keeps_no_worker_from_being_seen_and_stopped() {
    let fleet = Fleet::bare();
    let home = Home::new(&fleet.nats.url());
    fs::create_dir(home.path("state")).unwrap();
    let log = home.path("w.log");
    let file = format!("name = \"w1\"\nlogfile = {log:?}\n");
    fs::write(home.path("state/worker.toml"), &file).unwrap();
    home.ok("worker start --dir state");
    let pid = home.pid("state/lock");
    let said = home.ok("worker status --dir state");
    assert!(said.contains(&format!("its log is {}", log.display())), "{said}");
    fs::write(home.path("state/worker.toml"), "nmae = \"w1\"\n").unwrap();
    let said = home.ok("worker status --dir state");
    // What the file said is not known by now, and where the log is can be seen all the same.
    assert!(said.contains(&format!("(pid {pid}); its log is {}", log.display())), "{said}");
    assert!(said.contains("worker.toml:1") && said.contains("nmae"), "{said}");
    let (code, said) = home.run("worker restart --dir state");
    assert!(code == Some(2) && said.contains("the worker was not restarted"), "{said}");
    assert!(alive(pid));
    assert!(home.ok("worker stop --dir state").contains(&format!("(pid {pid}) has stopped")));
    // Without a directory nobody knows which one is meant.
    fs::write(home.path("w.toml"), "nmae = \"w1\"\n").unwrap();
    let (code, said) = home.run("worker stop -c w.toml");
    assert!(code == Some(2) && said.contains("say --dir"), "{said}");
}

#[test]
fn a_worker_that_is_told_to_reload_says_what_came_of_it() {
    let fleet = Fleet::start(1, 0);
    let home = Home::new(&fleet.nats.url());
    home.ok("worker start --name w1 --dir state");
    fleet.wait_ready(1);
    let pid = home.pid("state/lock");
    fs::write(home.path("state/worker.toml"), "labels = { zone = \"eu\" }\n").unwrap();
    let said = home.ok("worker reload --dir state");
    assert!(said.contains(&format!("the worker (pid {pid}) has read its configuration")), "{said}");
    wait_until("its label", DEADLINE, || {
        let rows = fleet.try_json(&["workers", "-o", "json"])?;
        if rows[0]["labels"]["zone"] == "eu" { Ok(()) } else { Err(rows.to_string()) }
    });
    fs::write(home.path("state/worker.toml"), "labels = 7\n").unwrap();
    let (code, said) = home.run("worker reload --dir state");
    assert!(code == Some(1) && said.contains("the old configuration stays"), "{said}");
    assert!(alive(pid));
    home.ok("worker stop --dir state");
    let (code, said) = home.run("worker reload --dir state");
    assert!(code == Some(1) && said.contains("does not run"), "{said}");
}
