//! Reloads: a new child first, or a signal.

use super::*;

fn asked(edit: impl Fn(&mut Placement)) -> (Scene, Placement) {
    let s = running(&placement(1, |p| edit(p)), 2000);
    let asked = placement(1, |p| {
        edit(p);
        p.wanted.reloads = 1;
    });
    (s, asked)
}

#[test]
fn the_new_child_runs_before_the_old_one_is_stopped() {
    let (mut s, asked) = asked(|_| {});
    assert_eq!(s.put(&asked, 3000), ["ReloadStarted", "spawn e1"]);
    assert_eq!((s.status().pid, s.status().wanted.reloads), (Some(101), 0));
    assert_eq!(s.instance.deadline(), Some(at(4000).boot));
    assert_eq!(s.feed(Input::Tick, 4000), ["ReloadSwitched", "signal TERM"]);
    let status = s.status();
    assert_eq!((status.pid, status.state, status.wanted.reloads), (Some(102), State::Running, 1));
    assert!(s.end_of(101, Exit::code(0), 4100).is_empty());
    assert_eq!(s.end(Exit::code(1), 9000), ["RUNNING -> EXITED", "spawn e1", "EXITED -> STARTING"]);
}

#[test]
fn the_old_child_is_killed_if_it_does_not_stop() {
    let (mut s, asked) = asked(|_| {});
    s.put(&asked, 3000);
    s.feed(Input::Tick, 4000);
    assert_eq!(s.feed(Input::Tick, 14_000), ["kill"]);
}

#[test]
fn when_the_new_child_fails_the_old_one_stays() {
    let (mut s, asked) = asked(|_| {});
    s.put(&asked, 3000);
    assert_eq!(s.end_of(102, Exit::code(3), 3500), ["ReloadFailed"]);
    let status = s.status();
    assert_eq!((status.pid, status.state, status.wanted.reloads), (Some(101), State::Running, 1));
    let reason = status.reason.clone().unwrap();
    assert_eq!(reason, "reload failed: the new child ended: exit code 3 (last words)");
    assert!(s.put(&asked, 4000).is_empty(), "it is not tried again");
}

#[test]
fn when_it_cannot_be_started_the_old_one_stays() {
    let (mut s, asked) = asked(|_| {});
    s.spawn_fails = true;
    assert_eq!(s.put(&asked, 3000), ["ReloadStarted", "spawn e1", "ReloadFailed"]);
    assert_eq!(s.status().state, State::Running);
}

/// A reload whose new child is not ready in time: at 7 s it has been asked to stop.
fn never_ready() -> Scene {
    let edit = |p: &mut Placement| {
        p.spec.notify = true;
        p.spec.start_timeout = Span::from_secs(5);
    };
    let mut s = Scene::new(&placement(1, edit));
    s.put(&placement(1, edit), 0);
    s.feed(Input::Notified { pid: 101, word: Word::Ready }, 1);
    s.feed(Input::Tick, 1001);
    let asked = placement(1, |p| {
        edit(p);
        p.wanted.reloads = 1;
    });
    s.put(&asked, 2000);
    assert_eq!(s.feed(Input::Tick, 7000), ["signal TERM"]);
    s
}

#[test]
fn when_it_is_not_ready_in_time_it_is_stopped() {
    let mut s = never_ready();
    assert_eq!(s.feed(Input::Tick, 17_000), ["kill"]);
    assert_eq!(s.end_of(102, Exit::signal(9), 17_001), ["ReloadFailed"]);
    assert!(s.status().reason.as_ref().unwrap().contains("not ready within 5s"));
}

#[test]
fn by_a_signal_it_keeps_its_child() {
    let (mut s, asked) = asked(|p| p.spec.reload_signal = Some("HUP".parse().unwrap()));
    assert_eq!(s.put(&asked, 3000), ["signal HUP", "Reloaded"]);
    assert_eq!((s.status().pid, s.status().wanted.reloads), (Some(101), 1));
}

#[test]
fn a_stop_in_the_middle_stops_both() {
    let (mut s, asked) = asked(|_| {});
    s.put(&asked, 3000);
    let stop = placement(1, |p| p.wanted.run = false);
    assert_eq!(s.put(&stop, 3100), ["signal TERM", "signal TERM", "RUNNING -> STOPPING"]);
    assert!(s.end_of(101, Exit::code(0), 3200).is_empty(), "not before both are gone");
    assert_eq!(s.end_of(102, Exit::code(0), 3300), ["STOPPING -> STOPPED"]);
}

#[test]
fn when_the_old_child_dies_the_new_one_takes_over() {
    let (mut s, asked) = asked(|_| {});
    s.put(&asked, 3000);
    let told = s.end_of(101, Exit::code(1), 3500);
    assert_eq!(told, ["RUNNING -> EXITED", "EXITED -> STARTING"]);
    assert_eq!(s.status().pid, Some(102));
    assert_eq!(s.feed(Input::Tick, 4000), ["STARTING -> RUNNING"]);
}

#[test]
fn what_does_not_run_has_nothing_to_reload() {
    let p = placement(1, |p| p.spec.autorestart = AutoRestart::Never);
    let mut s = running(&p, 2000);
    s.end(Exit::code(0), 3000);
    let asked = placement(1, |p| {
        p.spec.autorestart = AutoRestart::Never;
        p.wanted.reloads = 2;
    });
    assert!(s.put(&asked, 4000).is_empty());
    assert_eq!(s.status().wanted.reloads, 2);
}

#[test]
fn an_exclusive_one_refuses() {
    let edit = |p: &mut Placement| p.spec.exclusive = true;
    let p = placement(1, edit);
    let mut s = Scene::new(&p);
    s.put(&p, 0);
    s.feed(Input::Lease { until: at(100_000).boot }, 10);
    s.feed(Input::Tick, 2000);
    let asked = placement(1, |p| {
        edit(p);
        p.wanted.reloads = 1;
    });
    assert_eq!(s.put(&asked, 3000), ["ReloadFailed"]);
}

#[test]
fn a_new_child_that_fails_is_seen_to_its_end_whatever_the_old_one_does() {
    let mut s = never_ready();
    let told = s.end_of(101, Exit::code(1), 8000);
    assert_eq!(told, ["RUNNING -> EXITED", "spawn e1", "EXITED -> STARTING"]);
    assert_eq!(s.feed(Input::Tick, 17_000)[0], "kill", "the one that failed does not live on");
    s.end_of(102, Exit::signal(9), 17_001);
}

#[test]
fn a_child_that_comes_too_late_to_take_a_place_is_stopped() {
    let (mut s, asked) = asked(|_| {});
    s.slow = true;
    assert_eq!(s.put(&asked, 3000), ["ReloadStarted"]);
    let changed = placement(1, |p| {
        p.wanted = Wanted { run: true, restarts: 1, reloads: 1, ..Wanted::default() };
    });
    assert_eq!(s.put(&changed, 3100), ["signal TERM", "RUNNING -> STOPPING"]);
    s.turn(3200);
    assert_eq!(s.told.last().unwrap(), "signal TERM", "of the new one");
    assert_eq!(s.alive, [101, 102]);
    s.end_of(101, Exit::code(0), 3300);
    assert_eq!(s.status().state, State::Stopping);
    s.end_of(102, Exit::code(0), 3400);
    s.turn(3500);
    assert_eq!(s.status().pid, Some(103));
}

#[test]
fn the_old_childs_end_leaves_the_new_ones_hook_alone() {
    let hook = |words: &str| serde_json::from_value(serde_json::json!(words)).unwrap();
    let (mut s, asked) = asked(|p| {
        p.spec.pre_start = None;
        p.spec.post_start = Some(hook("slow"));
    });
    s.hook_ends(HookPoint::PostStart, HookOutcome::Done, 2500);
    s.put(&asked, 3000);
    assert_eq!(s.feed(Input::Tick, 4000), ["ReloadSwitched", "signal TERM", "post_start"]);
    assert!(s.end_of(101, Exit::code(0), 4100).is_empty());
}

#[test]
fn its_first_hook_runs_before_the_new_child() {
    let hook = |words: &str| serde_json::from_value(serde_json::json!(words)).unwrap();
    let edit = |p: &mut Placement| p.spec.pre_start = Some(hook("migrate"));
    let mut s = Scene::new(&placement(1, edit));
    s.put(&placement(1, edit), 0);
    s.hook_ends(HookPoint::PreStart, HookOutcome::Done, 1);
    s.feed(Input::Tick, 1001);
    let asked = placement(1, |p| {
        edit(p);
        p.wanted.reloads = 1;
    });
    assert_eq!(s.put(&asked, 2000), ["ReloadStarted", "pre_start"]);
    let told = s.hook_ends(HookPoint::PreStart, HookOutcome::TimedOut, 2500);
    assert_eq!(told, ["HookTimedOut", "ReloadFailed"]);
    assert_eq!(s.status().pid, Some(101));
}
