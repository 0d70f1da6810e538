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
