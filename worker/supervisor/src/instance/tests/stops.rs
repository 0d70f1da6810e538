//! Stops: signals one after the other, hooks around them, and what does not die.

use super::*;

fn stop_of(edit: impl Fn(&mut Placement) + Copy) -> (Scene, Placement) {
    let s = running(&placement(1, edit), 2000);
    let stop = placement(1, |p| {
        edit(p);
        p.wanted.run = false;
    });
    (s, stop)
}

#[test]
fn each_signal_has_its_own_wait() {
    let edit = |p: &mut Placement| {
        let steps = serde_json::json!(["INT:2s", "TERM", "QUIT:1s"]);
        p.spec.stopsignal = serde_json::from_value(steps).unwrap();
        p.spec.stopwaitsecs = Span::from_secs(5);
    };
    let (mut s, stop) = stop_of(edit);
    assert_eq!(s.put(&stop, 3000), ["signal INT", "RUNNING -> STOPPING"]);
    assert!(s.feed(Input::Tick, 4999).is_empty());
    assert_eq!(s.feed(Input::Tick, 5000), ["signal TERM"]);
    assert!(s.feed(Input::Tick, 9999).is_empty());
    assert_eq!(s.feed(Input::Tick, 10_000), ["signal QUIT"]);
    assert_eq!(s.feed(Input::Tick, 11_000), ["kill"]);
    assert_eq!(s.end(Exit::signal(9), 11_100), ["STOPPING -> STOPPED"]);
}

#[test]
fn what_does_not_die_is_killed_again_and_told_once() {
    let (mut s, stop) = stop_of(|p| p.spec.killwaitsecs = Span::from_secs(3));
    s.put(&stop, 3000);
    assert_eq!(s.feed(Input::Tick, 13_000), ["kill"]);
    assert!(s.feed(Input::Tick, 15_999).is_empty());
    assert_eq!(s.feed(Input::Tick, 16_000), ["kill", "DoesNotDie"]);
    assert_eq!(s.feed(Input::Tick, 19_000), ["kill"]);
    assert_eq!(s.instance.deadline(), Some(at(22_000).boot));
}

#[test]
fn a_group_is_signalled_where_it_is_asked_for() {
    let (mut s, stop) = stop_of(|p| p.spec.stopasgroup = true);
    assert_eq!(s.put(&stop, 3000)[0], "signal TERM to its group");
}

fn hooked(p: &mut Placement) {
    let hook = |words: &str| serde_json::from_value(serde_json::json!(words)).unwrap();
    p.spec.pre_start = Some(hook("a"));
    p.spec.post_start = Some(hook("b"));
    p.spec.pre_stop = Some(hook("c"));
    p.spec.post_stop = Some(hook("d"));
}

fn failed(why: &str) -> HookOutcome {
    HookOutcome::Failed { why: why.to_owned(), exit: Some(Exit::code(1)) }
}

#[test]
fn hooks_run_around_a_life_in_order() {
    let p = placement(1, hooked);
    let mut s = Scene::new(&p);
    assert_eq!(s.put(&p, 0), ["pre_start", "STOPPED -> STARTING"]);
    assert_eq!(s.status().pid, None);
    let told = s.hook_ends(HookPoint::PreStart, HookOutcome::Done, 100);
    assert_eq!(told, ["HookDone", "spawn e1"]);
    assert_eq!((s.status().pid, s.status().state), (Some(101), State::Starting));
    assert_eq!(s.feed(Input::Tick, 1100), ["STARTING -> RUNNING", "post_start"]);
    s.hook_ends(HookPoint::PostStart, HookOutcome::Done, 1200);
    let stop = placement(1, |p| {
        hooked(p);
        p.wanted.run = false;
    });
    assert_eq!(s.put(&stop, 2000), ["pre_stop", "RUNNING -> STOPPING"]);
    assert!(s.feed(Input::Tick, 60_000).is_empty(), "the hook's own limit ends it");
    let told = s.hook_ends(HookPoint::PreStop, HookOutcome::TimedOut, 60_001);
    assert_eq!(told, ["HookTimedOut", "signal TERM"]);
    assert_eq!(s.end(Exit::code(0), 60_010), ["post_stop"]);
    assert_eq!(s.status().state, State::Stopping);
    let told = s.hook_ends(HookPoint::PostStop, failed("exit code 1"), 60_020);
    assert_eq!(told, ["HookFailed", "STOPPING -> STOPPED"]);
    assert_eq!(s.notice().reason, "post_stop failed: exit code 1");
    assert_eq!(s.status().exit, Some(Exit::code(0)));
}

#[test]
fn a_start_whose_hook_fails_has_failed() {
    let p = placement(1, |p| {
        hooked(p);
        p.spec.startretries = Retries::Count(1);
    });
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    let told = s.hook_ends(HookPoint::PreStart, failed("no database"), 10);
    assert_eq!(told, ["HookFailed", "STARTING -> BACKOFF"]);
    assert_eq!(s.status().reason.as_deref(), Some("pre_start failed: no database"));
    assert_eq!(s.feed(Input::Tick, 1010), ["pre_start", "BACKOFF -> STARTING"]);
    let told = s.hook_ends(HookPoint::PreStart, failed("no database"), 1020);
    assert_eq!(told, ["HookFailed", "STARTING -> BACKOFF", "BACKOFF -> FATAL"]);
}

#[test]
fn a_stop_while_the_first_hook_runs_kills_it_and_starts_nothing() {
    let mut s = Scene::new(&placement(1, hooked));
    s.put(&placement(1, hooked), 0);
    let stop = placement(1, |p| {
        hooked(p);
        p.wanted.run = false;
    });
    assert_eq!(s.put(&stop, 10), ["kill pre_start", "STARTING -> STOPPING"]);
    let told = s.hook_ends(HookPoint::PreStart, failed("SIGKILL"), 20);
    assert_eq!(told, ["HookFailed", "STOPPING -> STOPPED"]);
    assert!(!s.status().wanted.run);
}

#[test]
fn a_crash_is_repaired_after_the_last_hook() {
    let p = placement(1, |p| {
        hooked(p);
        p.spec.pre_start = None;
    });
    let mut s = running(&p, 2000);
    let told = s.end(Exit::code(7), 9000);
    assert_eq!(told, ["kill post_start", "post_stop", "RUNNING -> EXITED"]);
    assert_eq!(s.instance.deadline(), None, "the hook is awaited");
    s.hook_ends(HookPoint::PostStart, failed("SIGKILL"), 9010);
    let told = s.hook_ends(HookPoint::PostStop, HookOutcome::Done, 9020);
    assert_eq!(told, ["HookDone", "spawn e1", "EXITED -> STARTING"]);
}

#[test]
fn hooks_of_an_exclusive_instance_die_with_its_lease() {
    let edit = |p: &mut Placement| {
        hooked(p);
        p.spec.exclusive = true;
        p.spec.pre_start = None;
        p.spec.post_start = None;
        p.spec.touch_timeout = Some(Span::from_secs(15));
    };
    let p = placement(1, edit);
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.feed(Input::Lease { until: at(20_000).boot }, 10);
    s.feed(Input::Tick, 2000);
    assert_eq!(s.status().state, State::Running);
    let told = s.feed(Input::Tick, 19_000);
    assert_eq!(told, ["Fenced", "pre_stop", "RUNNING -> STOPPING"]);
    assert_eq!(s.instance.deadline(), Some(at(20_000).boot));
    assert_eq!(s.feed(Input::Tick, 20_000), ["kill pre_stop", "kill"]);
    s.hook_ends(HookPoint::PreStop, failed("SIGKILL"), 20_001);
    assert_eq!(s.end(Exit::signal(9), 20_002), ["STOPPING -> STOPPED"], "no hook after the lease");
}

#[test]
fn an_exclusive_instance_is_over_only_when_its_last_hook_is() {
    let edit = |p: &mut Placement| {
        p.spec.exclusive = true;
        p.spec.post_stop = Some(serde_json::from_value(serde_json::json!("d")).unwrap());
        p.spec.startretries = Retries::Count(0);
    };
    let mut s = Scene::new(&placement(1, edit));
    s.put(&placement(1, edit), 0);
    s.feed(Input::Lease { until: at(90_000).boot }, 10);
    assert_eq!(s.end(Exit::code(1), 20), ["post_stop", "STARTING -> BACKOFF"]);
    let told = s.hook_ends(HookPoint::PostStop, HookOutcome::Done, 900);
    assert_eq!(told, ["HookDone", "BACKOFF -> FATAL"]);
    // Stopped while the hook runs, it is told only then.
    let mut s = Scene::new(&placement(1, edit));
    s.put(&placement(1, edit), 0);
    s.feed(Input::Lease { until: at(90_000).boot }, 10);
    s.feed(Input::Tick, 2000);
    s.end(Exit::code(1), 3000);
    let stop = placement(1, |p| {
        edit(p);
        p.wanted.run = false;
    });
    assert!(s.put(&stop, 3100).is_empty() && s.status().wanted.run);
    let told = s.hook_ends(HookPoint::PostStop, HookOutcome::Done, 3200);
    assert_eq!(told, ["HookDone", "EXITED -> STOPPED"]);
    assert!(!s.status().wanted.run);
}

#[test]
fn a_daemon_that_was_asked_while_it_was_looked_for_is_asked_again() {
    let edit = |p: &mut Placement| p.spec.daemon = true;
    let mut s = Scene::new(&placement(1, edit));
    s.put(&placement(1, edit), 0);
    let stop = placement(1, |p| {
        edit(p);
        p.wanted.run = false;
    });
    assert_eq!(s.put(&stop, 100), ["signal TERM", "STARTING -> STOPPING"]);
    s.alive = vec![4321];
    assert_eq!(s.feed(Input::Adopted { pid: 101, main: 4321 }, 200), ["signal TERM"]);
}

#[test]
fn a_start_takes_as_long_as_is_said_now() {
    let late = |seconds| {
        placement(1, |p| {
            p.spec.notify = true;
            p.spec.start_timeout = Span::from_secs(seconds);
            p.revision = seconds;
        })
    };
    let mut s = Scene::new(&late(90));
    s.put(&late(90), 0);
    s.put(&late(5), 1000);
    assert_eq!(s.instance.deadline(), Some(at(5000).boot));
}
