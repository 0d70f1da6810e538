//! Workers that are drained or cordoned, and moves that people ask for.

use dsbus_planner::explain::explain;
use dsbus_planner::rebalance::rebalance;
use dsbus_schema::program::Strategy;
use dsbus_schema::state::State;

use crate::world::{World, instance, nothing, worker};

/// A world in which programs a, b, c have one copy each, all on w1.
fn all_on_w1(workers: usize) -> World {
    let mut w = World::with_workers(1);
    for name in ["a", "b", "c"] {
        w.declare(name, |_| {});
    }
    w.settle();
    (2..=workers).for_each(|n| w.join(&format!("w{n}")));
    assert_eq!(w.settle(), nothing(), "nothing moves because a worker came");
    w
}

fn drain(w: &mut World, name: &str) {
    w.want_worker(name, |goal| goal.draining = true);
}

#[test]
fn a_drained_worker_gives_its_instances_away_one_by_one() {
    let mut w = all_on_w1(3);
    drain(&mut w, "w1");
    for (name, to) in [("a", "w2"), ("b", "w3"), ("c", "w2")] {
        assert_eq!(w.step(), [format!("update {name}:0 stop r1")]);
        assert_eq!(w.step(), nothing());
        w.obey();
        assert_eq!(w.step(), [format!("move {name}:0 w1 {to}")]);
        let done = if name == "c" { vec!["drained w1".to_owned()] } else { nothing() };
        assert_eq!(w.step(), done, "until it is healthy where it went");
        w.tell(&format!("{name}:0"), State::Starting);
        assert_eq!(w.step(), nothing());
        w.tell(&format!("{name}:0"), State::Running);
    }
    assert_eq!(w.settle(), nothing());
    w.want_worker("w1", |_| {});
    assert_eq!(w.settle(), nothing(), "nothing comes back by itself");
}

#[test]
fn one_that_can_go_nowhere_stays_and_says_so() {
    let mut w = all_on_w1(2);
    w.edit("b", |p| p.spec.machines = vec![worker("w1")]);
    w.settle();
    drain(&mut w, "w1");
    w.settle();
    let at: Vec<_> = ["a:0", "b:0", "c:0"].iter().map(|name| w.at(name).unwrap()).collect();
    assert_eq!(at, ["w2", "w1", "w2"]);
    assert_eq!(w.state("b:0"), State::Running);
    let why = explain(&w.view, &instance("b:0"), w.now()).unwrap().because;
    let told = "it should leave (w1 is drained), but no worker can take it: \
                w2 is not among its machines";
    assert!(why.ends_with(told), "{why}");
    // The moment that another one may take it, it goes.
    w.edit("b", |p| p.spec.machines = vec![worker("w1"), worker("w3")]);
    w.settle();
    w.join("w3");
    assert_eq!(w.settle(), ["update b:0 stop r1", "move b:0 w1 w3", "drained w1"]);
}

#[test]
fn the_place_that_it_would_have_is_gone_when_it_has_stopped() {
    let mut w = all_on_w1(2);
    drain(&mut w, "w1");
    assert_eq!(w.step(), ["update a:0 stop r1"]);
    w.want_worker("w2", |goal| goal.cordoned = true);
    w.obey();
    assert_eq!(w.settle(), ["update a:0 run r1"], "it starts again where it was");
    assert_eq!(w.state("a:0"), State::Running);
}

#[test]
fn it_does_not_go_where_it_has_failed() {
    let mut w = World::with_workers(2);
    w.declare("a", |_| {});
    w.settle();
    w.tell("a:0", State::Fatal);
    w.settle();
    assert_eq!(w.at("a:0").unwrap(), "w2");
    drain(&mut w, "w2");
    assert_eq!(w.settle(), nothing(), "w1 has seen it end FATAL");
    assert_eq!(w.state("a:0"), State::Running);
}

#[test]
fn undrained_in_the_middle_it_keeps_the_rest() {
    let mut w = all_on_w1(2);
    drain(&mut w, "w1");
    w.step();
    w.obey();
    w.step();
    w.obey();
    assert_eq!(w.step(), ["update b:0 stop r1"]);
    w.want_worker("w1", |_| {});
    assert_eq!(w.settle(), ["update b:0 run r1"]);
    let at: Vec<_> = ["a:0", "b:0", "c:0"].iter().map(|name| w.at(name).unwrap()).collect();
    assert_eq!(at, ["w2", "w1", "w1"]);
}

#[test]
fn what_is_stopped_or_at_rest_leaves_a_drained_worker_without_running() {
    let mut w = all_on_w1(2);
    w.command("a", |g| g.run = false);
    w.end("b:0", 0);
    w.settle();
    drain(&mut w, "w1");
    let planned = w.settle();
    assert_eq!(
        planned,
        ["remove a:0 w1", "move b:0 w1 w2", "update c:0 stop r1", "move c:0 w1 w2", "drained w1"]
    );
    assert_eq!((w.state("a:0"), w.at("a:0")), (State::Stopped, None));
    assert!(w.placed("b:0").unwrap().rest.is_some(), "it does not run again");
}

#[test]
fn a_cordoned_worker_keeps_what_it_has_and_takes_nothing() {
    let mut w = all_on_w1(2);
    w.want_worker("w2", |goal| goal.cordoned = true);
    w.declare("d", |_| {});
    assert_eq!(w.settle(), ["place d:0 w1"]);
    w.lose("w1");
    assert_eq!(w.settle(), nothing());
    w.want_worker("w2", |_| {});
    assert_eq!(w.settle().iter().filter(|p| p.starts_with("move")).count(), 4);
}

#[test]
fn copies_of_one_program_leave_within_its_budget() {
    let mut w = World::with_workers(2);
    w.declare("web", |s| s.numprocs = 4);
    w.settle();
    w.join("w3");
    drain(&mut w, "w1");
    w.tell("web:1", State::Backoff);
    assert_eq!(w.step(), nothing(), "one is down already");
    w.tell("web:1", State::Running);
    assert_eq!(w.step(), ["update web:0 stop r1"]);
    w.settle();
    assert_eq!(w.view.load(&worker("w1")), 0);
}

/// Asks what `rebalance` found to leave, as the command does.
fn ask(w: &mut World) -> usize {
    let moves = rebalance(&w.view);
    for planned in &moves {
        let epoch = w.placed(&planned.name.to_string()).unwrap().epoch;
        w.mark_leaving(&planned.name.to_string(), epoch);
    }
    moves.len()
}

#[test]
fn balance_is_restored_on_request_one_by_one() {
    let mut w = all_on_w1(3);
    assert_eq!(ask(&mut w), 2);
    let stops = |planned: &[String]| planned.iter().filter(|p| p.contains("stop")).count();
    assert_eq!(stops(&w.step()), 1);
    w.settle();
    let mut at: Vec<_> = ["a:0", "b:0", "c:0"].iter().map(|name| w.at(name).unwrap()).collect();
    at.sort();
    assert_eq!(at, ["w1", "w2", "w3"]);
    assert_eq!(ask(&mut w), 0, "and then there is nothing more to move");
}

#[test]
fn no_strategy_moves_for_ever() {
    for strategy in [
        Strategy::Spread,
        Strategy::Pack,
        Strategy::Ordered,
        Strategy::LeastLoaded,
        Strategy::MostLoaded,
    ] {
        let mut w = World::with_workers(2);
        for (name, copies) in [("a", 3), ("b", 4)] {
            w.declare(name, |s| {
                (s.numprocs, s.strategy, s.resources.cpu) = (copies, strategy, Some(0.5));
            });
        }
        w.settle();
        for name in ["w3", "w1"] {
            w.join(name);
            w.edit_worker(name, |worker| worker.capacity.cpu = 100.0);
        }
        ask(&mut w);
        w.settle();
        ask(&mut w);
        w.settle();
        assert_eq!(ask(&mut w), 0, "{strategy:?}");
    }
}

#[test]
fn what_comes_to_its_end_while_its_worker_is_drained_is_not_run_again_elsewhere() {
    let mut w = World::with_workers(2);
    for name in ["web", "job"] {
        w.declare(name, |s| s.strategy = Strategy::Ordered);
    }
    w.settle();
    assert_eq!((w.at("web:0").unwrap(), w.at("job:0").unwrap()), ("w1".into(), "w1".into()));
    w.want_worker("w1", |goal| goal.draining = true);
    w.step();
    // One waits for its turn, and ends meanwhile.
    let waits = if w.placed("web:0").unwrap().wanted.run { "web:0" } else { "job:0" };
    w.end(waits, 0);
    let planned = w.settle();
    assert!(planned.contains(&format!("update {waits} rest r1")), "{planned:?}");
    assert_eq!((w.at(waits).unwrap(), w.state(waits)), ("w2".into(), State::Exited));
}

#[test]
fn a_copy_that_was_given_up_or_finds_no_worker_holds_up_no_drain() {
    let mut w = World::with_workers(2);
    w.declare("web", |s| (s.numprocs, s.max_fail_count) = (2, 1));
    w.declare("big", |s| {
        s.numprocs = 2;
        s.resources.cpu = Some(1.0);
    });
    w.settle();
    w.tell("web:1", State::Fatal);
    w.settle();
    assert_eq!(w.state("web:1"), State::Fatal);
    w.want_worker("w1", |goal| goal.draining = true);
    w.settle();
    assert!(w.view.placements().all(|(_, placed)| placed.worker.as_str() == "w2"));
}

#[test]
fn what_was_stopped_to_leave_and_stays_is_not_taken_for_stopped_the_next_time() {
    let mut w = World::with_workers(2);
    w.declare("one", |s| (s.exclusive, s.strategy) = (true, Strategy::Ordered));
    w.settle();
    let epoch = w.epoch("one:0");
    let drain = |w: &mut World, is| w.want_worker("w1", |goal| goal.draining = is);
    drain(&mut w, true);
    assert_eq!(w.step(), ["update one:0 stop r1"]);
    w.tell("one:0", State::Stopped);
    drain(&mut w, false);
    assert_eq!(w.step(), ["update one:0 run r1"]);
    assert!(w.epoch("one:0") > epoch, "it is started under another epoch");
    drain(&mut w, true);
    assert_eq!(w.step(), ["update one:0 stop r1"]);
    // Its child may live: what was told of the first stop is no proof.
    assert_eq!(w.step(), nothing());
    w.tell("one:0", State::Stopped);
    assert_eq!(w.step(), ["move one:0 w1 w2 lost"]);
}
