//! Groups, and what a dry run answers.

use dsbus_planner::preview::preview;
use dsbus_planner::rows;
use dsbus_schema::command::GroupState;
use dsbus_schema::state::State;

use crate::world::{World, program, worker};

fn shop() -> World {
    let mut w = World::with_workers(2);
    for (name, required) in [("db", true), ("mail", false)] {
        w.declare(name, |s| (s.group, s.required) = (Some(program("shop")), required));
    }
    w
}

fn state(w: &World) -> (GroupState, bool, bool) {
    let groups = rows::groups(&w.view);
    assert_eq!(groups.len(), 1);
    (groups[0].state, groups[0].major_failure, groups[0].minor_failure)
}

#[test]
fn a_group_is_what_its_members_are() {
    let mut w = shop();
    w.step();
    assert_eq!(state(&w), (GroupState::Starting, false, false));
    w.settle();
    assert_eq!(state(&w), (GroupState::Running, false, false));
    w.tell("mail:0", State::Backoff);
    assert_eq!(state(&w), (GroupState::Running, false, true), "a member that is not required");
    w.tell("db:0", State::Backoff);
    assert_eq!(state(&w), (GroupState::Running, true, true));
    w.tell("db:0", State::Running);
    w.tell("mail:0", State::Running);
    for name in ["db", "mail"] {
        w.command(name, |g| g.run = false);
    }
    w.step();
    w.tell("db:0", State::Stopping);
    assert_eq!(state(&w), (GroupState::Stopping, false, false));
    w.settle();
    assert_eq!(state(&w), (GroupState::Stopped, false, false));
    w.declare("mail", |s| s.group = None);
    assert_eq!(rows::groups(&w.view)[0].programs, [program("db")]);
}

#[test]
fn each_change_of_a_group_is_told_once() {
    let told = |actions: Vec<String>| -> Vec<String> {
        actions.into_iter().filter(|action| action.contains("group")).collect()
    };
    let mut w = shop();
    assert_eq!(told(w.step()), ["group shop ADDED"]);
    assert_eq!(told(w.settle()), ["group shop OK"]);
    w.tell("mail:0", State::Backoff);
    assert_eq!(told(w.step()), ["group shop DEGRADED mail:0"], "one that is not required");
    w.tell("db:0", State::Fatal);
    assert_eq!(told(w.step()), ["group shop FAILED db:0 mail:0"]);
    assert_eq!(told(w.settle()), ["group shop OK"], "it went elsewhere, and mail came up");
    for (bad, good) in [(State::Exited, State::Running), (State::Stopping, State::Running)] {
        w.tell("db:0", bad);
        assert_eq!(told(w.step()), [""; 0], "{bad} is on its way to be started again");
        w.tell("db:0", good);
        assert_eq!(told(w.settle()), [""; 0]);
    }
    w.lose("w1");
    w.lose("w2");
    assert_eq!(told(w.settle()), ["group shop FAILED db:0 mail:0"], "nobody can take them");
    w.command("db", |g| g.run = false);
    assert_eq!(told(w.settle()), ["group shop DEGRADED mail:0"]);
    w.command("mail", |g| g.run = false);
    assert_eq!(told(w.settle()), ["group shop OK"], "all that should run does");
    w.declare("mail", |s| s.group = Some(program("post")));
    assert_eq!(told(w.settle()), ["group post ADDED"], "what was never started is not well");
    w.declare("db", |s| s.group = None);
    assert_eq!(told(w.settle()), ["forget group shop"]);
}

#[test]
fn who_waits_for_others_has_not_failed() {
    let told = |actions: Vec<String>| -> Vec<String> {
        actions.into_iter().filter(|action| action.contains("group")).collect()
    };
    let mut w = World::with_workers(1);
    w.declare("db", |s| s.autostart = false);
    w.declare("web", |s| {
        s.group = Some(program("shop"));
        s.depends_on.0.insert(program("db"), dsbus_schema::program::Condition::Running);
    });
    assert_eq!(told(w.settle()), ["group shop ADDED"]);
    assert_eq!(rows::instances(&w.view)[1].state, State::Pending);
    w.command("db", |g| (g.run, g.starts) = (true, 1));
    assert_eq!(told(w.settle()), ["group shop OK"]);
    w.declare("api", |s| {
        (s.group, s.machines) = (Some(program("shop")), vec![worker("w9")]);
    });
    assert_eq!(told(w.settle()), ["group shop FAILED api:0"], "nobody can take it");
}

#[test]
fn a_dry_run_says_what_would_be_done_first_and_does_nothing() {
    let mut w = shop();
    w.settle();
    let before = w.view.program(&program("db")).unwrap().clone();
    let mut changed = before.clone();
    changed.revision += 1;
    changed.spec.numprocs = 2;
    changed.spec.machines = vec![worker("w1"), worker("w9")];
    let told = preview(&w.view, &[changed], w.now());
    assert_eq!(
        told,
        [
            "change db:0 on w1 to revision 2",
            "start db:1 on w1: best of those that may take it (1 copy, 1 instance)"
        ]
    );
    assert_eq!(w.view.program(&program("db")), Some(&before));
    let mut gone = before.clone();
    gone.removing = true;
    assert_eq!(preview(&w.view, &[gone], w.now()), ["stop db:0 on w1"]);
    assert_eq!(preview(&w.view, &[before], w.now()), Vec::<String>::new());
}
