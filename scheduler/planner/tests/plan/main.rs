//! What the planner does, case by case, and what holds whatever happens.

#![expect(clippy::unwrap_used, reason = "a test world: what is missing in it is a broken test")]

mod drain;
mod facilities;
mod forgotten;
mod groups;
mod jobs;
mod order;
mod placement;
mod random;
mod refused;
mod repair;
mod rollout;
mod system;
mod unread;
mod world;

use dsbus_planner::rows;
use dsbus_schema::lenient::Span;
use dsbus_schema::program::Retries;
use dsbus_schema::state::State;
use world::{World, instance, worker};

#[test]
fn a_declared_program_is_spread_and_then_left_alone() {
    let mut w = World::with_workers(3);
    w.declare("web", |s| s.numprocs = 3);
    assert_eq!(w.step(), ["place web:0 w1", "place web:1 w2", "place web:2 w3"]);
    assert_eq!(w.step(), Vec::<String>::new(), "planning again gives nothing");
}

#[test]
fn autostart_false_waits_for_a_start() {
    let mut w = World::with_workers(1);
    w.declare("web", |s| s.autostart = false);
    assert_eq!(w.settle(), Vec::<String>::new());
    let row = &rows::instances(&w.view)[0];
    assert_eq!((row.state, row.ok), (State::Stopped, true));
    w.command("web", |g| (g.run, g.starts) = (true, 1));
    assert_eq!(w.settle(), ["place web:0 w1"]);
}

#[test]
fn a_stop_is_an_update_in_place() {
    let mut w = World::with_workers(2);
    w.declare("web", |_| {});
    w.settle();
    let epoch = w.epoch("web:0");
    w.command("web", |g| g.run = false);
    assert_eq!(w.settle(), ["update web:0 stop r1"]);
    assert_eq!(w.epoch("web:0"), epoch, "the epoch grows only when it is placed anew");
}

#[test]
fn a_lost_worker_s_instances_move_under_a_greater_epoch() {
    let mut w = World::with_workers(3);
    w.declare("web", |s| s.numprocs = 3);
    w.settle();
    let before = w.epoch("web:0");
    w.lose("w1");
    assert_eq!(w.settle(), ["move web:0 w1 w2 lost", "drop web:0 w1"]);
    assert!(w.epoch("web:0") > before);
    assert_eq!((w.at("web:1").unwrap(), w.at("web:2").unwrap()), ("w2".into(), "w3".into()));
}

#[test]
fn with_nowhere_to_go_it_is_unknown_and_stays() {
    let mut w = World::with_workers(1);
    w.declare("web", |_| {});
    w.settle();
    w.lose("w1");
    assert_eq!(w.settle(), Vec::<String>::new());
    assert_eq!(rows::instances(&w.view)[0].state, State::Unknown);
    w.join("w2");
    assert_eq!(w.settle(), ["move web:0 w1 w2 lost", "drop web:0 w1"]);
}

#[test]
fn a_worker_that_is_only_silent_keeps_its_instances_and_gets_no_new_ones() {
    let mut w = World::with_workers(2);
    w.declare("web", |_| {});
    w.settle();
    w.judge("w1", 5, dsbus_planner::view::Life::Silent);
    w.declare("api", |_| {});
    assert_eq!(w.step(), ["place api:0 w2"]);
    assert_eq!(w.at("web:0").unwrap(), "w1");
}

#[test]
fn machines_limit_and_explain() {
    let mut w = World::with_workers(2);
    w.declare("web", |s| s.machines = vec![worker("w2"), worker("w9")]);
    assert_eq!(w.settle(), ["place web:0 w2"]);
    w.lose("w2");
    assert_eq!(w.settle(), Vec::<String>::new());
    w.declare("api", |s| s.machines = vec![worker("w9")]);
    assert_eq!(w.settle(), ["say api:0 PENDING"]);
    let row = rows::instance(&w.view, &instance("api:0")).unwrap();
    let reason = row.reason.unwrap();
    assert!(reason.contains("w1 is not among its machines"), "{reason}");
    assert!(reason.contains("w9 has never joined"), "{reason}");
    w.join("w9");
    assert_eq!(
        w.settle(),
        ["place api:0 w9", "move web:0 w2 w9 lost", "unsay api:0", "drop web:0 w2"]
    );
}

#[test]
fn a_willing_move_stops_first() {
    let mut w = World::with_workers(2);
    w.declare("web", |_| {});
    w.settle();
    w.declare("web", |s| s.machines = vec![worker("w2")]);
    assert_eq!(w.step(), ["update web:0 stop r1"]);
    assert_eq!(w.step(), Vec::<String>::new(), "until its worker tells that it is stopped");
    w.tell("web:0", State::Stopping);
    assert_eq!(w.step(), Vec::<String>::new());
    w.tell("web:0", State::Stopped);
    assert_eq!(w.step(), ["remove web:0 w1"]);
    assert_eq!(w.step(), ["place web:0 w2 r2"]);
}

#[test]
fn a_state_older_than_the_placement_is_no_proof_of_a_stop() {
    let mut w = World::with_workers(2);
    w.declare("one", |s| s.exclusive = true);
    w.settle();
    w.command("one", |g| g.run = false);
    w.settle();
    // Started again, and its worker has not told of it yet, when it may no longer stay there.
    w.command("one", |g| (g.run, g.starts) = (true, 1));
    assert_eq!(w.step(), ["update one:0 run r1"]);
    w.declare("one", |s| s.machines = vec![worker("w2")]);
    assert_eq!(w.step(), ["update one:0 stop r1"]);
    assert_eq!(w.step(), Vec::<String>::new(), "until its worker has acted on that");
    w.tell("one:0", State::Stopped);
    assert_eq!(w.step(), ["remove one:0 w1"]);
}

#[test]
fn a_placement_that_knows_more_than_the_view_is_left_alone() {
    let mut w = World::with_workers(1);
    w.declare("web", |_| {});
    w.command("web", |g| (g.run, g.starts, g.restarts) = (true, 1, 2));
    w.settle();
    w.command("web", |g| g.restarts = 1);
    assert_eq!(w.step(), Vec::<String>::new());
    w.command("web", |g| g.restarts = 3);
    assert_eq!(w.step(), ["update web:0 run r1"]);
}

#[test]
fn a_stopped_instance_that_failed_stays_where_it_is() {
    let mut w = World::with_workers(1);
    w.declare("one", |_| {});
    w.settle();
    w.tell("one:0", State::Fatal);
    w.step();
    w.command("one", |g| g.run = false);
    w.step();
    w.tell("one:0", State::Fatal);
    w.join("w2");
    assert_eq!(w.step(), Vec::<String>::new());
}

#[test]
fn an_exclusive_failure_of_an_earlier_run_of_the_worker_does_not_move_it() {
    let mut w = World::with_workers(1);
    w.declare("one", |s| s.exclusive = true);
    w.settle();
    w.tell("one:0", State::Fatal);
    w.step();
    // The worker was restarted, and will start the instance again, before another one is ready.
    let another = dsbus_schema::ids::Incarnation(uuid::Uuid::from_u128(7));
    w.touch_as("w1", 5, another);
    w.touch_as("w1", 15, another);
    w.join("w2");
    assert_eq!(w.step(), Vec::<String>::new());
}

#[test]
fn what_an_earlier_run_of_a_worker_told_does_not_block_a_removal() {
    let mut w = World::with_workers(1);
    w.declare("web", |_| {});
    w.settle();
    w.remove("web");
    w.step();
    w.tell("web:0", State::Stopped);
    assert_eq!(w.step(), ["remove web:0 w1"]);
    // The worker is killed before it takes its entry away, and is back.
    let another = dsbus_schema::ids::Incarnation(uuid::Uuid::from_u128(7));
    w.edit_worker("w1", |worker| worker.incarnation = another);
    assert_eq!(w.step(), ["drop web:0 w1"]);
    assert_eq!(w.step(), ["forget web"]);
}

#[test]
fn a_changed_touch_timeout_is_a_new_placement() {
    let mut w = World::with_workers(1);
    w.declare("web", |_| {});
    w.settle();
    let before = w.epoch("web:0");
    w.declare("web", |s| s.touch_timeout = Some(Span::from_secs(9)));
    assert_eq!(
        w.settle(),
        ["update web:0 stop r1", "remove web:0 w1", "place web:0 w1 r2", "rollout web DONE"]
    );
    assert!(w.epoch("web:0") > before);
}

#[test]
fn a_changed_command_is_an_update() {
    let mut w = World::with_workers(1);
    w.declare("web", |_| {});
    w.settle();
    w.declare("web", |s| s.startretries = Retries::Count(9));
    assert_eq!(w.settle(), ["update web:0 run r2"]);
}

#[test]
fn fatal_is_tried_elsewhere_until_max_fail_count() {
    let mut w = World::with_workers(3);
    w.declare("web", |s| s.max_fail_count = 2);
    w.settle();
    w.tell("web:0", State::Fatal);
    assert_eq!(w.step(), ["count web:0 w1"]);
    assert_eq!(w.step(), ["move web:0 w1 w2"]);
    w.tell("web:0", State::Fatal);
    assert_eq!(w.step(), ["count web:0 w2"]);
    assert_eq!(w.step(), ["update web:0 rest r1", "say web:0 FATAL"]);
    assert_eq!(w.step(), Vec::<String>::new());
    let reason = rows::instance(&w.view, &instance("web:0")).unwrap().reason.unwrap();
    assert!(reason.contains("FATAL 2 times, on w1, w2"), "{reason}");
    // A start that a person asks for begins a new count.
    w.command("web", |g| (g.run, g.starts) = (true, 1));
    assert_eq!(w.step(), ["update web:0 run r1", "unsay web:0"]);
    w.tell("web:0", State::Fatal);
    assert!(w.step().contains(&"count web:0 w2".to_owned()));
    w.step();
    assert_eq!(w.at("web:0").unwrap(), "w1");
}

#[test]
fn removal_stops_then_forgets() {
    let mut w = World::with_workers(2);
    w.declare("web", |s| s.numprocs = 2);
    w.settle();
    w.remove("web");
    let planned = w.settle();
    assert_eq!(
        planned,
        [
            "update web:0 stop r1",
            "update web:1 stop r1",
            "remove web:0 w1",
            "remove web:1 w2",
            "forget web"
        ]
    );
    assert!(rows::instances(&w.view).is_empty());
    w.declare("web", |_| {});
    let before = w.view.guard(&instance("web:0"));
    w.settle();
    assert!(w.epoch("web:0") > before, "a name that is used again goes on with its epochs");
}

#[test]
fn lower_numprocs_retires_the_highest() {
    let mut w = World::with_workers(1);
    w.declare("web", |s| s.numprocs = 3);
    w.settle();
    w.declare("web", |s| s.numprocs = 1);
    let planned = w.settle();
    assert!(planned.contains(&"remove web:2 w1".to_owned()), "{planned:?}");
    assert_eq!(rows::instances(&w.view).len(), 1);
}
