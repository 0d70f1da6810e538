//! What was declared, or is wanted, is not known: nothing is planned on what is only missing.

use dsbus_planner::view::{Part, Seen};
use dsbus_schema::storage::Bucket;

use crate::world::{World, program};

fn running() -> World {
    let mut w = World::with_workers(2);
    w.declare("web", |s| s.numprocs = 2);
    w.declare("api", |_| {});
    w.settle();
    w
}

/// The same scheduler, begun anew while nothing of a program can be read.
fn begin_without(w: &mut World, name: &str, part: Part) -> Seen<dsbus_schema::program::Program> {
    let value = w.view.program(&program(name)).unwrap().clone();
    let all = w.view.goals(&program(name)).cloned().unwrap_or_default().all;
    match part {
        Part::Program => w.view.reset(Bucket::Programs),
        Part::Goal(_) => w.view.reset(Bucket::Goals),
    }
    if all.is_some() && part == Part::Program {
        w.view.set_goal(&program(name), None, all);
    }
    w.view.set_unread(&program(name), part);
    Seen { seq: 1_000_000, value }
}

#[test]
fn a_declaration_that_cannot_be_read_ends_nothing() {
    let mut w = running();
    let seen = begin_without(&mut w, "web", Part::Program);
    assert_eq!(w.settle(), Vec::<String>::new());
    // Nor does one that is not there at all, as that of api is now.
    w.lose("w1");
    assert_eq!(w.settle(), Vec::<String>::new(), "where it should go is not known either");
    w.view.set_program(&program("web"), Some(seen));
    assert_eq!(w.settle(), ["move web:1 w1 w2 lost", "drop web:1 w1"]);
}

#[test]
fn one_that_was_removed_is_taken_away() {
    let mut w = running();
    w.view.set_program(&program("api"), None);
    assert_eq!(w.settle(), ["update api:0 stop r1", "remove api:0 w1"]);
}

#[test]
fn a_goal_that_cannot_be_read_starts_nothing() {
    for part in [Part::Goal(None), Part::Goal(Some(1))] {
        let mut w = running();
        w.command("web", |goal| goal.run = false);
        w.settle();
        begin_without(&mut w, "web", part);
        assert_eq!(w.settle(), Vec::<String>::new(), "{part:?}");
        let index = if let Part::Goal(index) = part { index } else { None };
        w.view.set_goal(&program("web"), index, None);
        assert_eq!(w.settle(), Vec::<String>::new(), "it was stopped, and nobody knows by whom");
        w.command("web", |goal| goal.run = true);
        assert_eq!(w.settle().len(), 2);
    }
}
