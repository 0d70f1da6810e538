//! Nothing of a child is left, wherever it hides.

use dsbus_schema::state::State;
use nix::sys::signal::Signal;

use crate::stage::{Stage, alive, script, signal_one, stopped};

/// A grandchild in a session of its own, one that was forked twice, and one without environment.
const HIDERS: &str = "setsid sleep 1000 & \
    (setsid sh -c 'sleep 1000 & echo $! > twice; exec sleep 1000' &) ; \
    env -i setsid sleep 1001 & echo $! > bare; \
    setsid sh -c 'echo $$ > session; exec sleep 1000' & \
    until [ -s twice ] && [ -s session ]; do sleep 0.02; done; echo > ready; wait";

/// The processes that hide; `bare` is the one without environment.
fn hiders(stage: &Stage, bare: bool) -> Vec<i32> {
    stage.read(&stage.file("web", "ready"));
    let pid = |file: &&str| stage.read(&stage.file("web", file)).trim().parse().unwrap();
    let files = ["twice", "session", "bare"];
    let found: Vec<i32> = files[..if bare { 3 } else { 2 }].iter().map(pid).collect();
    assert!(found.iter().all(|pid| alive(*pid)), "{found:?}");
    found
}

fn stopped_whole(settings: &[&str]) {
    let mut stage = Stage::open_with(settings);
    let order = script("web", HIDERS, |_| {});
    stage.run(&order);
    let found = hiders(&stage, true);
    stage.place(&stopped(&order));
    stage.change("web", State::Stopped);
    let left: Vec<_> = found.into_iter().filter(|pid| alive(*pid)).collect();
    assert_eq!(left, [0; 0], "{settings:?}");
}

#[test]
fn a_stop_leaves_no_descendant_alive() {
    stopped_whole(&[]);
}

#[test]
fn nor_does_it_without_cgroups() {
    stopped_whole(&["no-cgroups"]);
}

#[test]
fn a_crash_leaves_none_to_the_next_child() {
    for settings in [&[][..], &["no-cgroups"]] {
        let mut stage = Stage::open_with(settings);
        let first = stage.run(&script("web", HIDERS, |_| {}));
        // Without a cgroup nobody can tell whose a process was that has nothing left of its
        // parent: neither environment nor session.
        let found = hiders(&stage, settings.is_empty());
        signal_one(first, Signal::SIGKILL);
        stage.change("web", State::Exited);
        let left: Vec<_> = found.into_iter().filter(|pid| alive(*pid)).collect();
        assert_eq!(left, [0; 0], "{settings:?}");
    }
}

#[test]
fn stopasgroup_waits_for_the_whole_group() {
    let mut stage = Stage::open();
    let text = "sh -c 'trap \"sleep 0.3; echo bye > said; exit 0\" TERM; echo > ready; \
                while :; do sleep 0.05; done' & exec sleep 1000";
    let order = script("web", text, |spec| spec.stopasgroup = true);
    stage.run(&order);
    stage.read(&stage.file("web", "ready"));
    stage.place(&stopped(&order));
    stage.change("web", State::Stopped);
    assert_eq!(stage.read(&stage.file("web", "said")), "bye\n");
}

#[test]
fn children_die_with_a_supervisor_that_is_killed() {
    let mut stage = Stage::open();
    let order = script("web", HIDERS, |_| {});
    let child = stage.run(&order);
    let found = hiders(&stage, true);
    signal_one(stage.pid(), Signal::SIGKILL);
    stage.wait_for("the child to die", || !alive(child));
    // The agent is played, and does not kill; what outlived its parent is swept by the next one.
    let mut next = Stage::open_in(stage.directory(), &[], &[]);
    next.hello(1);
    assert!(!found.iter().any(|pid| alive(*pid)));
}
