//! What a program needs of a worker.

use dsbus_planner::rows;
use dsbus_schema::lenient::Size;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::State;

use crate::world::{World, instance, nothing};

const LIMITED: &[&str] = &["limits.memory", "user"];

fn limited(spec: &mut ProgramSpec) {
    spec.limits.memory = Some(Size(1 << 30));
    spec.user = Some("www-data".to_owned());
}

#[test]
fn only_a_worker_that_has_all_of_it_takes_an_instance() {
    let mut w = World::with_workers(3);
    w.equip("w1", &["user"]);
    w.equip("w3", LIMITED);
    w.declare("web", |s| {
        limited(s);
        s.numprocs = 2;
    });
    assert_eq!(w.settle(), ["place web:0 w3", "place web:1 w3"]);
    w.lose("w3");
    assert_eq!(w.settle(), nothing(), "there is nowhere else");
    w.equip("w2", LIMITED);
    let planned = w.settle();
    assert_eq!(planned[..2], ["move web:0 w3 w2 lost", "move web:1 w3 w2 lost"], "{planned:?}");
}

#[test]
fn what_is_lacking_is_named() {
    let mut w = World::with_workers(4);
    w.equip("w1", &["limits.memory"]);
    w.equip("w2", &["user"]);
    w.lose("w4");
    w.declare("web", limited);
    assert_eq!(w.settle(), ["say web:0 PENDING"]);
    let reason = rows::instance(&w.view, &instance("web:0")).unwrap().reason.unwrap();
    assert_eq!(
        reason,
        "no worker can take it: w4 is lost; w2, w3 lack limits.memory; w1, w3 lack user"
    );
    // The worker starts anew, and has it now.
    w.equip("w2", LIMITED);
    assert_eq!(w.settle(), ["place web:0 w2", "unsay web:0"]);
}

#[test]
fn a_child_that_lives_stays_where_the_facility_was_lost() {
    let mut w = World::with_workers(2);
    w.equip("w1", LIMITED);
    w.declare("web", limited);
    assert_eq!(w.settle(), ["place web:0 w1"]);
    w.equip("w1", &[]);
    w.equip("w2", LIMITED);
    assert_eq!(w.settle(), nothing(), "no needless move");
    w.tell("web:0", State::Exited);
    assert_eq!(w.step(), nothing(), "what has ended for good is not started elsewhere");
    // Its next start failed, as it must.
    w.tell("web:0", State::Backoff);
    assert_eq!(w.step(), ["update web:0 stop r1"]);
    w.tell("web:0", State::Stopped);
    assert_eq!(w.settle(), ["remove web:0 w1", "place web:0 w2"]);
}

#[test]
fn a_new_need_moves_an_instance_to_a_worker_that_has_it() {
    let mut w = World::with_workers(2);
    w.equip("w2", LIMITED);
    w.declare("web", |_| {});
    assert_eq!(w.settle(), ["place web:0 w1"]);
    w.declare("web", limited);
    assert_eq!(
        w.settle(),
        ["update web:0 stop r1", "remove web:0 w1", "place web:0 w2 r2", "rollout web DONE"]
    );
}

#[test]
fn a_stopped_instance_goes_where_it_can_be_started() {
    let mut w = World::with_workers(2);
    w.equip("w1", LIMITED);
    w.declare("web", limited);
    w.settle();
    w.command("web", |g| g.run = false);
    w.settle();
    w.equip("w1", &[]);
    assert_eq!(w.settle(), ["remove web:0 w1"]);
    w.command("web", |g| (g.run, g.starts) = (true, 1));
    assert_eq!(w.settle(), ["say web:0 PENDING"]);
    w.equip("w2", LIMITED);
    assert_eq!(w.settle(), ["place web:0 w2", "unsay web:0"]);
}

#[test]
fn a_reload_is_passed_on_once_and_never_taken_back() {
    let mut w = World::with_workers(1);
    w.declare("web", |_| {});
    w.settle();
    w.command("web", |g| (g.run, g.reloads) = (true, 1));
    assert_eq!(w.settle(), ["update web:0 run r1"]);
    assert_eq!(w.placed("web:0").unwrap().wanted.reloads, 1);
    // A view that has not heard of the command yet.
    w.command("web", |g| g.reloads = 0);
    assert_eq!(w.step(), nothing());
}
