//! Programs that run on each worker that may take them.

use dsbus_schema::state::State;

use crate::world::{World, nothing, worker};

fn agents() -> World {
    let mut w = World::with_workers(2);
    w.declare("agent", |s| s.system = true);
    assert_eq!(w.settle(), ["place agent:0 w1", "place agent:1 w2"]);
    w
}

#[test]
fn a_new_worker_gets_a_copy() {
    let mut w = agents();
    w.join("w3");
    assert_eq!(w.settle(), ["place agent:2 w3"]);
    assert_eq!(w.settle(), nothing());
}

#[test]
fn a_lost_worker_keeps_its_own() {
    let mut w = agents();
    w.lose("w1");
    assert_eq!(w.settle(), nothing());
    assert_eq!(w.state("agent:0"), State::Unknown);
    w.join("w1");
    assert_eq!(w.settle(), nothing());
    assert_eq!(w.state("agent:0"), State::Running);
}

#[test]
fn a_cordoned_worker_keeps_its_own_and_a_drained_one_gives_it_up() {
    let mut w = agents();
    w.want_worker("w1", |goal| goal.cordoned = true);
    assert_eq!(w.settle(), nothing());
    w.want_worker("w1", |goal| goal.draining = true);
    assert_eq!(w.settle(), ["update agent:0 stop r1", "remove agent:0 w1", "drained w1"]);
    let before = w.view.guard(&crate::world::instance("agent:0"));
    w.want_worker("w1", |_| {});
    assert_eq!(w.settle(), ["place agent:0 w1"]);
    assert!(w.epoch("agent:0") > before);
}

#[test]
fn only_workers_that_may_take_it_have_one() {
    let mut w = World::with_workers(3);
    w.label("w2", &[("gpu", "")]);
    w.declare("agent", |s| (s.system, s.labels) = (true, vec!["gpu".parse().unwrap()]));
    assert_eq!(w.settle(), ["place agent:0 w2"]);
    w.label("w3", &[("gpu", "")]);
    assert_eq!(w.settle(), ["place agent:1 w3"]);
    w.declare("agent", |s| s.machines = vec![worker("w3"), worker("w1")]);
    let planned = w.settle();
    assert!(planned.contains(&"remove agent:0 w2".to_owned()), "{planned:?}");
    assert!(w.at("agent:0").is_none() && w.at("agent:1").unwrap() == "w3");
}

#[test]
fn a_copy_that_fails_is_given_up_where_it_is() {
    let mut w = agents();
    w.tell("agent:0", State::Fatal);
    assert_eq!(w.settle(), ["count agent:0 w1", "update agent:0 rest r1"]);
    w.join("w3");
    assert_eq!(w.settle(), ["place agent:2 w3"], "another worker's copy is none of its own");
    assert_eq!(w.state("agent:0"), State::Fatal);
}

#[test]
fn a_change_rolls_over_the_workers_and_waits_for_none_that_is_lost() {
    let mut w = World::with_workers(3);
    w.declare("agent", |s| s.system = true);
    w.settle();
    w.lose("w1");
    w.declare("agent", |s| s.shell = true);
    assert_eq!(w.step(), ["update agent:1 run r2"]);
    assert_eq!(w.step(), nothing());
    w.obey();
    assert_eq!(w.step(), ["update agent:2 run r2"]);
    assert_eq!(w.settle(), ["rollout agent DONE"]);
    w.join("w1");
    assert_eq!(w.settle(), ["update agent:0 run r2"]);
}
