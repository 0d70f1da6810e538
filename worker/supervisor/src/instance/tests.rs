//! Scenes: inputs in, what is told and done out; and what holds whatever happens.

mod limits;
mod random;
mod readiness;
mod reloads;
mod rest;
mod scene;
mod stops;

use dsbus_schema::event::{NoticeFact, ProcessFact};
use dsbus_schema::ids::ProgramId;
use dsbus_schema::lenient::Span;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{AutoRestart, Command, HookPoint, Retries};
use dsbus_schema::status::Status;
use uuid::Uuid;

use super::*;
use scene::Scene;

const START: u64 = 1_000_000_000_000;

fn at(millis: u64) -> Now {
    let boot = BootTime(START + millis * 1_000_000);
    Now { boot, wall: Timestamp::from_unix_nanos(i128::from(millis) * 1_000_000) }
}

fn placement(epoch: u64, change: impl FnOnce(&mut Placement)) -> Placement {
    let spec = ProgramSpec { command: Command::Line("x".into()), ..ProgramSpec::default() };
    let wanted = Wanted { run: true, ..Wanted::default() };
    let id = ProgramId(Uuid::nil());
    let mut p = Placement::new(id, 1, Epoch(epoch), wanted, spec);
    change(&mut p);
    p
}

impl Instance {
    /// Whether it has not forgotten this child.
    fn knows(&self, pid: i32) -> bool {
        let reload = match &self.reload {
            Reload::Trying { child, .. } | Reload::Failing { child, .. } => Some(child.pid),
            Reload::No | Reload::Preparing | Reload::Asked => None,
        };
        let retiring = self.retiring.iter().any(|(child, _)| child.pid == pid);
        self.main().is_some_and(|child| child.pid == pid) || reload == Some(pid) || retiring
    }
}

/// An instance that runs since `millis`.
fn running(p: &Placement, millis: u64) -> Scene {
    let mut scene = Scene::new(p);
    scene.put(p, millis - 1001);
    scene.feed(Input::Tick, millis);
    assert_eq!(scene.instance.state(), State::Running);
    scene
}

#[test]
fn it_runs_after_startsecs() {
    let p = placement(7, |_| {});
    let mut s = Scene::new(&p);
    assert_eq!(s.put(&p, 0), ["spawn e7", "STOPPED -> STARTING"]);
    assert_eq!(s.instance.deadline(), Some(at(1000).boot));
    assert!(s.feed(Input::Tick, 999).is_empty());
    assert_eq!(s.feed(Input::Tick, 1000), ["STARTING -> RUNNING"]);
    assert_eq!(s.instance.deadline(), None);
    let zero = placement(7, |p| p.spec.startsecs = Span::from_secs(0));
    let mut s = Scene::new(&zero);
    assert_eq!(s.put(&zero, 0), ["spawn e7", "STOPPED -> STARTING", "STARTING -> RUNNING"]);
}

#[test]
fn failed_starts_back_off_for_1_2_3_seconds_and_then_are_fatal() {
    let p = placement(1, |_| {});
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    let mut t = 100;
    for pause in 1..=3 {
        assert_eq!(s.end(Exit::code(3), t), ["STARTING -> BACKOFF"]);
        assert_eq!(s.status().stderr_line.as_deref(), Some("last words"));
        assert!(s.status().reason.as_ref().unwrap().contains("exit code 3"));
        assert_eq!(s.instance.deadline(), Some(at(t + pause * 1000).boot));
        assert!(s.feed(Input::Tick, t + pause * 1000 - 1).is_empty());
        assert_eq!(s.feed(Input::Tick, t + pause * 1000), ["spawn e1", "BACKOFF -> STARTING"]);
        t += pause * 1000 + 100;
    }
    assert_eq!(
        s.end(Exit::code(0), t),
        ["STARTING -> BACKOFF", "BACKOFF -> FATAL"],
        "code 0 is no success before startsecs"
    );
    assert!(s.feed(Input::Tick, t + 100_000).is_empty());
    // Only a request starts it again, and it counts anew.
    let asked = placement(1, |p| p.wanted.starts = 1);
    assert_eq!(s.put(&asked, t), ["spawn e1", "FATAL -> STARTING"]);
    assert_eq!(s.status().wanted.starts, 1);
    assert_eq!(s.end(Exit::code(3), t), ["STARTING -> BACKOFF"]);
}

#[test]
fn a_spawn_that_fails_says_why() {
    let p = placement(1, |p| p.spec.startretries = Retries::Count(0));
    let mut s = Scene::new(&p);
    s.spawn_fails = true;
    assert_eq!(
        s.put(&p, 0),
        ["spawn e1", "STOPPED -> STARTING", "STARTING -> BACKOFF", "BACKOFF -> FATAL"]
    );
    assert_eq!(s.status().spawnerr.as_deref(), Some("no such file"));
    // A declaration that may mend it is tried.
    s.spawn_fails = false;
    let mended = placement(1, |p| (p.revision, p.spec.startretries) = (2, Retries::Count(1)));
    assert_eq!(s.put(&mended, 10), ["spawn e1", "FATAL -> STARTING"]);
    assert_eq!(s.status().spawnerr, None);
}

#[test]
fn autorestart() {
    let again = |autorestart, exit| {
        let p = placement(1, |p| {
            p.spec.autorestart = autorestart;
            p.spec.exitcodes = vec![0, 2];
        });
        let mut s = running(&p, 2000);
        let told = s.end(exit, 9000);
        assert_eq!(told[0], "RUNNING -> EXITED");
        told.len() > 1
    };
    for (autorestart, ok, bad, signal) in [
        (AutoRestart::Never, false, false, false),
        (AutoRestart::Unexpected, false, true, true),
        (AutoRestart::Always, true, true, true),
    ] {
        assert_eq!(again(autorestart, Exit::code(0)), ok);
        assert_eq!(again(autorestart, Exit::code(2)), ok, "a code that is listed");
        assert_eq!(again(autorestart, Exit::code(1)), bad);
        assert_eq!(again(autorestart, Exit::signal(9)), signal);
    }
}

#[test]
fn quick_deaths_are_repaired_at_once_but_not_for_ever() {
    let p = placement(1, |p| {
        p.spec.startsecs = Span::from_secs(0);
        p.spec.autorestart = AutoRestart::Always;
    });
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    for n in 0..5 {
        assert_eq!(s.end(Exit::code(1), n).len(), 4, "exited, spawn, starting, running");
    }
    assert_eq!(s.end(Exit::code(1), 10), ["RUNNING -> EXITED"]);
    assert_eq!(s.instance.deadline(), Some(at(1010).boot));
    assert_eq!(s.feed(Input::Tick, 1010).len(), 3);
    assert_eq!(s.status().restarts, 6);
}

#[test]
fn stop_asks_then_kills() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let stop = placement(1, |p| p.wanted.run = false);
    assert_eq!(s.put(&stop, 3000), ["signal TERM", "RUNNING -> STOPPING"]);
    assert!(s.status().wanted.run, "not acted on before it is done");
    assert!(s.put(&stop, 3500).is_empty(), "asked twice is asked once");
    assert_eq!(s.feed(Input::Tick, 13_000), ["kill"]);
    assert!(s.feed(Input::Tick, 14_000).is_empty());
    assert_eq!(s.end(Exit::signal(9), 14_001), ["STOPPING -> STOPPED"]);
    assert!(!s.status().wanted.run);
    assert_eq!(s.status().exit, Some(Exit::signal(9)));
}

#[test]
fn a_start_while_stopping_is_done_afterwards() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    s.put(&placement(1, |p| p.wanted.run = false), 3000);
    assert!(s.put(&placement(1, |p| p.wanted.starts = 1), 3100).is_empty());
    let told = s.end(Exit::code(0), 3200);
    assert_eq!(told, ["STOPPING -> STOPPED", "spawn e1", "STOPPED -> STARTING"]);
    assert_eq!(s.status().wanted.starts, 1);
}

#[test]
fn a_stop_while_backing_off_is_at_once() {
    let p = placement(1, |_| {});
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.end(Exit::code(1), 10);
    let stop = placement(1, |p| p.wanted.run = false);
    assert_eq!(s.put(&stop, 20), ["BACKOFF -> STOPPED"]);
    assert!(!s.status().wanted.run);
}

#[test]
fn restart_stops_and_starts_once() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let restart = placement(1, |p| p.wanted.restarts = 1);
    assert_eq!(s.put(&restart, 3000), ["signal TERM", "RUNNING -> STOPPING"]);
    let told = s.end(Exit::code(0), 3010);
    assert_eq!(told, ["STOPPING -> STOPPED", "spawn e1", "STOPPED -> STARTING"]);
    assert_eq!(s.status().wanted.restarts, 1);
    assert!(s.put(&restart, 3020).is_empty());
}

#[test]
fn a_start_leaves_a_running_child_alone_and_is_acknowledged() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    assert!(s.put(&placement(1, |p| p.wanted.starts = 4), 3000).is_empty());
    assert_eq!(s.status().wanted.starts, 4);
}

#[test]
fn a_changed_declaration() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let retries = placement(1, |p| (p.revision, p.spec.startretries) = (2, Retries::Count(9)));
    assert!(s.put(&retries, 3000).is_empty());
    assert_eq!(s.status().revision, 2);
    let command = placement(1, |p| (p.revision, p.spec.command) = (3, Command::Line("y".into())));
    assert_eq!(s.put(&command, 3100), ["signal TERM", "RUNNING -> STOPPING"]);
    assert_eq!(s.status().revision, 2);
    assert_eq!(s.end(Exit::code(0), 3200).len(), 3);
    assert_eq!(s.status().revision, 3);
}

#[test]
fn a_new_epoch_ends_the_old_one_first() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let next = placement(5, |_| {});
    assert_eq!(s.put(&next, 3000), ["signal TERM", "RUNNING -> STOPPING"]);
    let told = s.end(Exit::code(0), 3100);
    assert_eq!(told, ["STOPPING -> STOPPED", "spawn e5", "STOPPED -> STARTING"]);
    assert_eq!(s.last, (5, 1));
}

#[test]
fn events_go_on_after_those_of_an_earlier_incarnation() {
    let p = placement(4, |_| {});
    let mut s = Scene::new(&p);
    s.put_after(&p, 17, 0);
    assert_eq!(s.last, (4, 18));
}

#[test]
fn taken_away() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    assert_eq!(
        s.feed(Input::Unplace { lost: false }, 3000),
        ["signal TERM", "RUNNING -> STOPPING"]
    );
    assert_eq!(s.end(Exit::code(0), 3010), ["STOPPING -> STOPPED", "gone"]);
    assert!(s.feed(Input::Tick, 3020).is_empty());
}

#[test]
fn what_is_let_go_says_that_nobody_took_it_away() {
    let reason = |s: &Scene| s.status().reason.clone().unwrap_or_default();
    let mut s = running(&placement(1, |_| {}), 2000);
    let _ = s.feed(Input::Unplace { lost: true }, 3000);
    assert!(reason(&s).contains("the bus has lost its placement"), "{}", reason(&s));
    assert!(reason(&s).contains("dsbus recover"), "{}", reason(&s));
    let mut s = running(&placement(1, |_| {}), 2000);
    let _ = s.feed(Input::Unplace { lost: false }, 3000);
    assert_eq!(reason(&s), "its placement was taken away");
}

#[test]
fn placed_but_not_wanted_is_told_as_stopped() {
    let p = placement(1, |p| p.wanted.run = false);
    let mut s = Scene::new(&p);
    assert!(s.put(&p, 0).is_empty());
    assert_eq!((s.status().state, s.status().epoch), (State::Stopped, Epoch(1)));
}

fn exclusive() -> Placement {
    placement(1, |p| {
        p.spec.exclusive = true;
        p.spec.touch_timeout = Some(Span::from_secs(15));
        p.spec.stopwaitsecs = Span::from_secs(2);
        p.spec.startsecs = Span::from_secs(0);
    })
}

fn lease(millis: u64) -> Input {
    Input::Lease { until: at(millis).boot }
}

#[test]
fn an_exclusive_child_waits_for_its_lease_and_dies_with_it() {
    let p = exclusive();
    let mut s = Scene::new(&p);
    assert!(s.put(&p, 0).is_empty());
    assert!(s.status().reason.as_ref().unwrap().contains("lease"));
    assert_eq!(s.instance.deadline(), None, "only a lease wakes it up");
    assert_eq!(s.feed(lease(10_000), 10).len(), 3);
    assert_eq!(s.instance.deadline(), Some(at(9000).boot), "a fifteenth of the lease earlier");
    assert!(s.feed(lease(15_000), 5000).is_empty());
    let told = s.feed(Input::Tick, 14_000);
    assert_eq!(told, ["Fenced", "signal TERM", "RUNNING -> STOPPING"]);
    assert_eq!(
        s.feed(Input::Tick, 15_000),
        ["kill"],
        "at the deadline, and not after stopwaitsecs"
    );
    assert!(!s.instance.unkilled(), "killing its worker would end it no sooner");
    assert_eq!(s.end(Exit::signal(9), 15_001), ["STOPPING -> STOPPED"]);
    assert!(s.status().reason.as_ref().unwrap().contains("fenced"));
    // It is still wanted: a new lease starts it again.
    assert_eq!(s.feed(lease(30_000), 16_000).len(), 3);
}

#[test]
fn a_lease_that_ended_long_ago_kills_at_once() {
    let p = exclusive();
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.feed(lease(10_000), 10);
    let told = s.feed(Input::Tick, 60_000);
    assert_eq!(told, ["Fenced", "signal TERM", "RUNNING -> STOPPING", "kill"]);
}

#[test]
fn a_local_restart_needs_a_living_lease() {
    let p = exclusive();
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.feed(lease(10_000), 10);
    assert_eq!(s.end(Exit::signal(9), 8999).len(), 1, "too near to the end of the lease");
    assert_eq!(s.instance.deadline(), None, "it does not spin");
    assert_eq!(s.feed(lease(20_000), 9100).len(), 3);
}

#[test]
fn a_worker_that_stops_stops_its_children_and_starts_none() {
    let p = placement(1, |_| {});
    let mut s = running(&p, 2000);
    let told = s.feed(Input::Shutdown { fence: false }, 3000);
    assert_eq!(told, ["signal TERM", "RUNNING -> STOPPING"]);
    assert_eq!(s.end(Exit::code(0), 3010), ["STOPPING -> STOPPED"]);
    assert!(s.put(&placement(1, |p| p.wanted.restarts = 3), 3020).is_empty());
}

#[test]
fn whoever_loses_its_name_kills_exclusive_children_at_once() {
    let p = exclusive();
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.feed(lease(10_000), 10);
    let told = s.feed(Input::Shutdown { fence: true }, 100);
    assert!(told.contains(&"kill".to_owned()), "{told:?}");
}
