//! Programs that run to their end, by schedule or once, and what has ended for good: none of it runs
//! a second time because a worker is lost or comes back.

use std::fs;
use std::path::{Path, PathBuf};

use dsbus_harness::wait_until;
use nix::sys::signal::Signal;

use crate::fleet::{DEADLINE, Fleet};

/// A file to which each run adds a line, and the lines in it.
struct Runs(PathBuf);

impl Runs {
    fn new(fleet: &Fleet, name: &str) -> Runs {
        Runs(fleet.path().join(name))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn count(&self) -> usize {
        fs::read_to_string(&self.0).unwrap_or_default().lines().count()
    }

    fn wait_for(&self, count: usize) {
        wait_until(&format!("{count} runs"), DEADLINE, || {
            if self.count() >= count { Ok(()) } else { Err(format!("{} runs", self.count())) }
        });
    }
}

#[test]
fn a_scheduled_run_is_fired_once_whoever_lives() {
    let mut fleet = Fleet::start(3, 2);
    let runs = Runs::new(&fleet, "runs");
    fleet.apply(&format!(
        // A stop lets a run end that has only just begun.
        "[program.tick]\ncommand = \"sh -c 'echo run >> {}'\"\nschedule = \"* * * * * *\"\n\
         stopsignal = \"WINCH\"\nstopwaitsecs = 60\n",
        runs.path().display()
    ));
    runs.wait_for(3);
    fleet.kill("s1");
    let before = runs.count();
    runs.wait_for(before + 3);
    fleet.ok(&["stop", "tick"]);
    // What was asked to start is what ran: no run was doubled or lost.
    let started = fleet
        .events()
        .iter()
        .filter(|e| e["data"]["name"] == "tick:0" && e["data"]["state"] == "STARTING")
        .count();
    assert_eq!(runs.count(), started);
    let asked = fleet.row("tick:0")["wanted"]["starts"].as_u64().unwrap();
    assert!(started as u64 <= asked, "{started} runs of {asked} that were due");
}

#[test]
fn a_schedule_is_told_to_whoever_asks_why_nothing_runs() {
    let fleet = Fleet::start(1, 1);
    let text = "[program.nightly]\ncommand = \"true\"\n\
                schedule = { cron = \"0 3 * * *\", timezone = \"Europe/Berlin\" }\n";
    let why = "its schedule starts it: 0 3 * * *, Europe/Berlin";
    let said = fleet.ok(&["apply", &fleet.file("nightly.toml", text)]);
    assert!(said.contains(&format!("nightly:0: stopped: {why}")), "{said}");
    assert_eq!(fleet.row("nightly:0")["reason"], why);
    assert!(fleet.ok(&["explain", "nightly"]).contains(why));
}

#[test]
fn no_run_begins_while_the_last_one_goes_on() {
    let fleet = Fleet::start(2, 1);
    let (runs, alone) = (Runs::new(&fleet, "runs"), Runs::new(&fleet, "alone"));
    // Each run is two seconds long, and one is due each second; two at once would leave a mark.
    fleet.apply(&format!(
        "[program.slow]\ncommand = \"sh -c 'mkdir lock || echo two >> {}; echo run >> {}; sleep 2; rmdir lock'\"\nschedule = \"* * * * * *\"\n",
        alone.path().display(),
        runs.path().display()
    ));
    runs.wait_for(3);
    assert_eq!(alone.count(), 0, "two runs at once");
}

#[test]
fn what_has_ended_is_not_run_again_when_its_worker_is_lost_or_comes_back() {
    let mut fleet = Fleet::start(1, 2);
    let runs = Runs::new(&fleet, "runs");
    let once = runs.path().display();
    fleet.apply(&format!(
        "[program.once]\ncommand = \"sh -c 'echo run >> {once}'\"\nkind = \"oneshot\"\nmachines = \"w1\"\ntouch_timeout = \"7s\"\n\
         [program.free]\ncommand = \"sh -c 'echo run >> {once}; sleep 1'\"\nstartsecs = 0\nautorestart = false\ntouch_timeout = \"7s\"\n\
         [program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\nnumprocs = 2\ntouch_timeout = \"7s\"\n"
    ));
    for name in ["once:0", "free:0"] {
        fleet.wait_state(name, "EXITED");
    }
    assert_eq!(runs.count(), 2);
    let epochs = || ["once:0", "free:0"].map(|name| fleet_epoch(&fleet, name));
    let before = epochs();
    let hosts = ["w1", "w2"];
    for host in hosts {
        fleet.kill_worker(host);
        let other = if host == "w1" { "w2" } else { "w1" };
        for name in ["web:0", "web:1"] {
            fleet.wait_row(name, "elsewhere", |r| r["state"] == "RUNNING" && r["worker"] == other);
        }
        for name in ["once:0", "free:0"] {
            assert_eq!(fleet.row(name)["state"], "EXITED", "while {host} is lost");
        }
        fleet.worker(host);
        fleet.wait_ready(2);
        for name in ["once:0", "free:0"] {
            fleet.wait_state(name, "EXITED");
        }
    }
    assert_eq!(runs.count(), 2, "each ran once");
    assert_eq!(["once:0", "free:0"].map(|name| fleet_epoch(&fleet, name)), before);
    // It runs again when a person asks for that.
    fleet.ok(&["start", "once"]);
    runs.wait_for(3);
}

fn fleet_epoch(fleet: &Fleet, name: &str) -> u64 {
    fleet.row(name)["epoch"].as_u64().unwrap()
}

#[test]
fn what_was_given_up_stays_given_up_when_its_worker_comes_back() {
    let mut fleet = Fleet::start(1, 1);
    let runs = Runs::new(&fleet, "runs");
    let toml = format!(
        "[program.bad]\ncommand = \"sh -c 'echo run >> {}; exit 1'\"\nstartretries = 0\nmax_fail_count = 1\n",
        runs.path().display()
    );
    let file = fleet.file("bad.toml", &toml);
    fleet.run(&["apply", &file]);
    fleet.wait_row("bad:0", "given up", |row| {
        row["state"] == "FATAL" && row["reason"].as_str().is_some_and(|r| r.contains("given up"))
    });
    let before = runs.count();
    fleet.signal("w1", Signal::SIGTERM);
    fleet.wait_exit("w1");
    fleet.worker("w1");
    fleet.wait_ready(1);
    fleet.wait_state("bad:0", "FATAL");
    assert_eq!(runs.count(), before, "nobody asked for another try");
    fleet.run(&["start", "bad", "--no-wait"]);
    runs.wait_for(before + 1);
}
