//! What was forged under placement keys is written over, and nothing else is done before.

use dsbus_planner::view::Placed;
use dsbus_schema::state::State;
use dsbus_schema::storage::Bucket;

use crate::world::{World, instance, nothing, program, worker};

impl World {
    /// Something stands under the key of that worker that no scheduler wrote.
    fn forge(&mut self, name: &str, at: &str) {
        self.forge_saying(name, at, None);
    }

    fn forge_saying(&mut self, name: &str, at: &str, said: Option<&Placed>) {
        self.seq += 1;
        let (worker, instance, said) = (worker(at), instance(name), said.map(Placed::placement));
        self.view.set_forged((&worker, &instance), self.seq, "it is not signed", said);
    }

    /// A scheduler that begins now: of placements it knows what stands on the bus.
    fn forgets(&mut self) {
        self.view.reset(Bucket::Fleet);
        for name in ["w1", "w2"] {
            self.touch(name, 5);
            self.touch(name, 15);
        }
    }
}

/// A fleet of two workers, with web:0 on w1.
fn fleet(exclusive: bool) -> World {
    let mut w = World::with_workers(2);
    w.declare("web", |s| {
        s.exclusive = exclusive;
        s.machines = vec![worker("w1")];
    });
    w.settle();
    assert_eq!(w.at("web:0").as_deref(), Some("w1"));
    w.declare("web", |s| s.machines = Vec::new());
    w.settle();
    w
}

#[test]
fn what_is_known_to_have_stood_there_is_written_again() {
    for exclusive in [false, true] {
        let mut w = fleet(exclusive);
        let before = w.placed("web:0").unwrap().placement();
        w.forge("web:0", "w1");
        // A stop that comes meanwhile waits.
        w.command("web", |goal| goal.run = false);
        assert_eq!(w.step(), ["repair web:0 w1"]);
        assert_eq!(w.placed("web:0").unwrap().placement(), before, "the same, to the word");
        w.settle();
        assert_eq!(w.state("web:0"), State::Stopped);
    }
}

#[test]
fn a_key_where_nothing_should_stand_is_cleared() {
    let mut w = fleet(true);
    let before = w.epoch("web:0");
    w.forge("web:0", "w2");
    w.forge("web:7", "w1");
    // Of this one nobody knows whether it was declared and lost: what runs of it goes on.
    w.forge("nobody:0", "w1");
    w.view.set_program(&program("gone"), None);
    w.forge("gone:0", "w1");
    let mut planned = w.settle();
    planned.sort();
    assert_eq!(planned, ["clear gone:0 w1", "clear web:0 w2", "clear web:7 w1"]);
    assert_eq!((w.at("web:0").as_deref(), w.epoch("web:0")), (Some("w1"), before));
}

#[test]
fn several_are_written_over_one_after_the_other() {
    let mut w = fleet(true);
    let before = w.placed("web:0").unwrap().placement();
    w.forge("web:0", "w2");
    w.forge("web:0", "w1");
    assert_eq!(w.settle(), ["clear web:0 w2", "repair web:0 w1"]);
    assert_eq!(w.placed("web:0").unwrap().placement(), before);
}

#[test]
fn whoever_does_not_know_what_stood_there_leaves_it_on_that_worker_under_a_new_epoch() {
    for exclusive in [false, true] {
        let mut w = fleet(exclusive);
        let before = w.epoch("web:0");
        w.forgets();
        // An empty machine would be better, and one more key is forged.
        w.forge("web:0", "w2");
        w.forge("web:0", "w1");
        assert_eq!(w.step(), ["repair web:0 w1"], "exclusive: {exclusive}");
        assert_eq!(w.settle(), ["clear web:0 w2"]);
        assert!(w.epoch("web:0") > before);
    }
}

#[test]
fn of_an_exclusive_one_that_nobody_has_told_of_it_is_taken_to_be_there() {
    for (exclusive, planned) in
        [(true, vec!["repair web:0 w2"]), (false, vec!["clear web:0 w2", "place web:0 w1"])]
    {
        let mut w = World::with_workers(2);
        w.forge("web:0", "w2");
        w.declare("web", |s| s.exclusive = exclusive);
        assert_eq!(w.settle(), planned);
    }
}

#[test]
fn a_fleet_that_begins_to_sign_goes_on() {
    let mut w = fleet(true);
    let before = w.placed("web:0").cloned().unwrap();
    w.forgets();
    w.forge_saying("web:0", "w1", Some(&before));
    assert_eq!(w.settle(), ["repair web:0 w1"]);
    assert_eq!(w.placed("web:0").unwrap().placement(), before.placement(), "and no child ends");
    // One that says something else is no more than a sign that the instance was there.
    w.forgets();
    let mut other = before;
    other.arguments = vec!["--evil".to_owned()];
    w.forge_saying("web:0", "w1", Some(&other));
    assert_eq!(w.settle(), ["repair web:0 w1"]);
    let placed = w.placed("web:0").unwrap();
    assert!(placed.arguments.is_empty() && placed.epoch > other.epoch);
}

#[test]
fn nothing_is_forged_where_a_scheduler_wrote_since() {
    let mut w = fleet(false);
    let placement = w.placed("web:0").unwrap().placement();
    w.forge("web:0", "w1");
    w.seq += 1;
    w.view.set_placement(&worker("w1"), &instance("web:0"), w.seq, Some(placement));
    assert_eq!(w.settle(), nothing());
    assert!(w.view.program(&program("web")).is_some());
}
