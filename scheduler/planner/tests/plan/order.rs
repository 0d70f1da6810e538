//! In which order things start and stop.

use std::time::Duration;

use dsbus_schema::lenient::Span;
use dsbus_schema::program::{Condition, Kind, ProgramSpec};
use dsbus_schema::state::State;

use crate::world::{World, nothing, program, worker};

fn on(spec: &mut ProgramSpec, name: &str, condition: Condition) {
    spec.depends_on.0.insert(program(name), condition);
}

/// Programs of one `apply`, by name and priority.
fn apply(w: &mut World, all: &[(&str, i32)]) {
    let id = w.command_id();
    for (name, priority) in all {
        w.declare(name, |s| s.priority = *priority);
        w.edit(name, |p| p.commands.remember(id, "apply", None));
    }
}

/// One command that tells programs to run, or to stop.
fn tell(w: &mut World, names: &[&str], run: bool) {
    let id = w.command_id();
    for name in names {
        w.command(name, |g| {
            (g.run, g.starts) = (run, g.starts + u64::from(run));
            g.commands.remember(id, "tell", None);
        });
    }
}

#[test]
fn what_depends_on_another_waits_for_it() {
    for condition in [Condition::Started, Condition::Running, Condition::Healthy, Condition::Done] {
        let mut w = World::with_workers(1);
        w.declare("app", |s| on(s, "db", condition));
        assert_eq!(w.settle(), ["say app:0 PENDING"], "{condition:?}");
        assert_eq!(w.reason("app:0"), "waits for db, which is not declared");
        w.declare("db", |s| {
            s.kind = if condition == Condition::Done { Kind::Oneshot } else { Kind::Service };
            s.update.min_healthy = Span::from_secs(20);
        });
        assert_eq!(w.step(), ["say app:0 PENDING", "place db:0 w1"]);
        assert_eq!(w.reason("app:0"), format!("waits for db to be {}", condition.name()));
        let goes = ["place app:0 w1", "unsay app:0"];
        w.tell("db:0", State::Starting);
        if condition == Condition::Started {
            assert_eq!(w.settle(), goes);
            continue;
        }
        assert_eq!(w.step(), nothing());
        w.tell("db:0", State::Running);
        match condition {
            Condition::Running => {}
            Condition::Healthy => {
                assert_eq!(w.step(), nothing());
                assert_eq!(w.view.next_wake(), Some(w.now().boot + Duration::from_secs(20)));
                w.seconds += 20;
            }
            Condition::Done | Condition::Started => {
                assert_eq!(w.step(), nothing());
                w.end("db:0", 1);
                w.step();
                assert_eq!(w.at("app:0"), None, "it did not end as expected");
                w.command("db", |g| (g.run, g.starts) = (true, 1));
                w.settle();
                w.end("db:0", 0);
                assert!(w.settle().contains(&goes[0].to_owned()));
                continue;
            }
        }
        assert_eq!(w.settle(), goes, "{condition:?}");
    }
}

#[test]
fn what_is_healthy_sooner_than_it_was_declared_is_waited_for_no_longer() {
    let mut w = World::with_workers(1);
    w.declare("db", |s| s.update.min_healthy = Span::from_secs(20));
    w.declare("app", |s| on(s, "db", Condition::Healthy));
    assert_eq!(w.settle(), ["say app:0 PENDING", "place db:0 w1"]);
    w.declare("db", |s| s.update.min_healthy = Span::from_secs(0));
    let planned = w.step();
    assert!(planned.contains(&"place app:0 w1".to_owned()), "{planned:?}");
}

#[test]
fn it_waits_for_every_instance_on_whichever_machine() {
    let mut w = World::with_workers(3);
    w.declare("db", |s| s.numprocs = 2);
    w.declare("app", |s| {
        on(s, "db", Condition::Running);
        s.machines = vec![worker("w3")];
    });
    w.step();
    w.tell("db:0", State::Running);
    assert_eq!(w.step(), nothing());
    w.tell("db:1", State::Running);
    assert_eq!(w.settle(), ["place app:0 w3", "unsay app:0"]);
    // It is for the start only: what runs is not stopped because the other one fails.
    w.tell("db:1", State::Backoff);
    assert_eq!(w.step(), nothing());
}

#[test]
fn they_stop_in_reverse() {
    let mut w = World::with_workers(1);
    w.declare("db", |_| {});
    w.declare("app", |s| on(s, "db", Condition::Running));
    w.declare("web", |s| on(s, "app", Condition::Running));
    w.settle();
    tell(&mut w, &["db", "app", "web"], false);
    for name in ["web", "app", "db"] {
        assert_eq!(w.step(), [format!("update {name}:0 stop r1")]);
        assert_eq!(w.step(), nothing());
        w.tell(&format!("{name}:0"), State::Stopped);
    }
    tell(&mut w, &["db", "app", "web"], true);
    let planned = w.settle();
    let order: Vec<&str> = planned.iter().map(|p| &p[7..10]).collect();
    assert_eq!(order, ["db:", "app", "web"]);
    for name in ["db", "app", "web"] {
        w.remove(name);
    }
    let planned = w.settle();
    let at = |what: &str| planned.iter().position(|p| p == what).unwrap();
    assert!(at("update web:0 stop r1") < at("update app:0 stop r1"), "{planned:?}");
    assert!(at("remove web:0 w1") < at("update db:0 stop r1"), "{planned:?}");
}

#[test]
fn what_is_stopped_alone_waits_for_nobody() {
    let mut w = World::with_workers(1);
    w.declare("db", |_| {});
    w.declare("app", |s| on(s, "db", Condition::Running));
    w.settle();
    tell(&mut w, &["db"], false);
    assert_eq!(w.settle(), ["update db:0 stop r1"]);
    assert_eq!(w.state("app:0"), State::Running);
}

#[test]
fn priority_orders_what_one_command_was_about() {
    let mut w = World::with_workers(1);
    apply(&mut w, &[("third", 3), ("first", 1), ("second", 2)]);
    for name in ["first", "second", "third"] {
        assert_eq!(w.step(), [format!("place {name}:0 w1")]);
        assert_eq!(w.step(), nothing());
        w.tell(&format!("{name}:0"), State::Starting);
    }
    w.settle();
    tell(&mut w, &["first", "third"], false);
    assert_eq!(w.step(), ["update third:0 stop r1"]);
    w.tell("third:0", State::Stopped);
    assert_eq!(w.step(), ["update first:0 stop r1"]);
    w.settle();
    // Two commands know nothing of each other.
    w.declare("high", |s| s.priority = 9);
    w.declare("low", |s| s.priority = 1);
    assert_eq!(w.step(), ["place low:0 w1", "place high:0 w1"]);
}

#[test]
fn one_that_fits_nowhere_holds_up_nobody() {
    let mut w = World::with_workers(1);
    apply(&mut w, &[("first", 1), ("second", 2)]);
    w.declare("first", |s| s.machines = vec![worker("w9")]);
    w.settle();
    assert_eq!((w.state("first:0"), w.state("second:0")), (State::Pending, State::Running));
}

#[test]
fn a_dependency_goes_before_a_priority() {
    let mut w = World::with_workers(1);
    apply(&mut w, &[("app", 1), ("cache", 3), ("db", 5)]);
    w.declare("app", |s| on(s, "db", Condition::Running));
    w.settle();
    for name in ["app:0", "cache:0", "db:0"] {
        assert_eq!(w.state(name), State::Running);
    }
    // db waits for app, which depends on it; app for cache, which has the greater priority, and
    // cache for nobody: db has one, but waits.
    tell(&mut w, &["app", "cache", "db"], false);
    let planned = w.settle();
    assert_eq!(planned, ["update cache:0 stop r1", "update app:0 stop r2", "update db:0 stop r1"]);
    // At a start, too, although they have places already.
    tell(&mut w, &["app", "cache", "db"], true);
    let planned = w.settle();
    let all = ["update cache:0 run r1", "update db:0 run r1", "update app:0 run r2"];
    assert_eq!(planned, all);
}

#[test]
fn one_that_waits_for_what_nobody_starts_holds_up_nobody() {
    let mut w = World::with_workers(1);
    w.declare("db", |_| {});
    apply(&mut w, &[("app", 1), ("web", 2)]);
    w.declare("app", |s| on(s, "db", Condition::Running));
    w.settle();
    tell(&mut w, &["app", "web", "db"], false);
    w.settle();
    tell(&mut w, &["app", "web"], true);
    assert_eq!(w.settle(), ["update web:0 run r1"]);
    tell(&mut w, &["db"], true);
    assert_eq!(w.settle(), ["update db:0 run r1", "update app:0 run r2"]);
}

#[test]
fn the_first_start_is_staged_by_the_canaries() {
    let mut w = World::with_workers(2);
    w.declare("web", |s| {
        (s.numprocs, s.update.canary) = (4, 1);
        s.update.min_healthy = Span::from_secs(10);
    });
    let waits = ["say web:1 PENDING", "say web:2 PENDING", "say web:3 PENDING"];
    let planned = w.step();
    assert_eq!(
        (planned[0].as_str(), &planned[1..]),
        ("place web:0 w1", &waits.map(str::to_owned)[..])
    );
    assert_eq!(w.reason("web:3"), "waits until web:0 is healthy");
    w.obey();
    assert_eq!(w.step(), nothing());
    assert_eq!(w.view.next_wake(), Some(w.now().boot + Duration::from_secs(10)));
    w.seconds += 10;
    assert_eq!(w.step(), ["place web:1 w2", "place web:2 w1", "place web:3 w2"]);
    w.settle();
    // Only the first one: a restart, or a later loss, waits for nothing.
    w.tell("web:0", State::Backoff);
    w.lose("w2");
    let planned = w.step();
    assert_eq!(planned.iter().filter(|p| p.starts_with("move")).count(), 2, "{planned:?}");
}
