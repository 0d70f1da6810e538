//! The bus has lost placements, goals, or went back in time, and workers tell what they have.

use dsbus_planner::explain::explain;
use dsbus_planner::rows::{AHEAD, holds_back};
use dsbus_planner::view::Seen;
use dsbus_schema::ids::{Epoch, Incarnation};
use dsbus_schema::program::{Kind, MissedRun, ProgramSpec, Schedule};
use dsbus_schema::state::State;
use dsbus_schema::status::DISABLED;
use dsbus_schema::storage::Bucket;
use uuid::Uuid;

use crate::world::{World, instance, nothing, program, worker};

/// `web:0` on w1, in this state; then nobody knows any placement, and w1 touches again.
fn lost(state: State) -> World {
    let mut w = World::with_workers(2);
    w.declare("web", |_| {});
    w.settle();
    w.tell("web:0", state);
    w.view.reset(Bucket::Fleet);
    w.join("w1");
    w.join("w2");
    w
}

#[test]
fn whatever_a_worker_has_is_not_placed_anew() {
    for state in [State::Running, State::Backoff, State::Exited, State::Fatal, State::Stopped] {
        let mut w = lost(state);
        assert_eq!(w.step(), ["say web:0 PENDING"], "{state}");
        assert!(w.reason("web:0").contains("w1 still has it"), "{}", w.reason("web:0"));
        assert_eq!(w.step(), nothing());
        let told = w.view.forgotten(&program("web"));
        assert_eq!((told.len(), &told[0].0, &told[0].1), (1, &instance("web:0"), &worker("w1")));
        // A tombstone says that it is placed anew, and over which epoch.
        w.view.raise_floor(&instance("web:0"), Epoch(70));
        w.seq += 1;
        w.view.set_placement(&worker("w1"), &instance("web:0"), w.seq, None);
        let planned = w.step();
        assert!(planned.iter().any(|p| p.starts_with("place web:0")), "{planned:?}");
        assert_eq!(w.epoch("web:0"), 71);
    }
}

#[test]
fn of_a_worker_that_is_lost_only_what_has_ended_is_not() {
    for (state, held) in [(State::Running, false), (State::Backoff, false), (State::Fatal, true)] {
        let mut w = lost(state);
        w.lose("w1");
        let planned = w.step();
        assert_eq!(planned.contains(&"place web:0 w2".to_owned()), !held, "{state}: {planned:?}");
    }
}

#[test]
fn what_an_earlier_run_of_a_worker_told_holds_back_only_what_has_ended() {
    for (state, held) in [(State::Running, false), (State::Fatal, true)] {
        let mut w = lost(state);
        w.edit_worker("w1", |worker| worker.incarnation = Incarnation(Uuid::from_u128(5)));
        let planned = w.step();
        let placed = planned.iter().any(|p| p.starts_with("place web:0"));
        assert_eq!(placed, !held, "{state}: {planned:?}");
    }
}

#[test]
fn a_worker_whose_record_is_lost_has_what_it_tells() {
    let mut w = lost(State::Running);
    w.view.set_worker(&worker("w1"), None::<Seen<_>>);
    assert_eq!(w.step(), ["say web:0 PENDING"]);
    assert!(w.view.may_have().contains(&worker("w1")));
    w.lose("w1");
    assert_eq!(w.view.may_have(), [worker("w2")]);
}

#[test]
fn what_was_stopped_stays_so_without_its_goal() {
    let mut w = World::with_workers(2);
    w.declare("web", |s| s.numprocs = 2);
    w.settle();
    w.command_one("web:1", |goal| goal.run = false);
    w.settle();
    w.view.reset(Bucket::Goals);
    assert_eq!(w.settle(), nothing());
    assert_eq!(w.state("web:1"), State::Stopped);
    let why = explain(&w.view, &instance("web:1"), w.now()).unwrap().because;
    assert!(why.ends_with(AHEAD), "{why}");
    w.command("web", |goal| goal.run = true);
    assert_eq!(w.settle(), ["update web:1 run r1"]);
}

#[test]
fn what_was_stopped_only_to_leave_comes_back() {
    let mut w = World::with_workers(2);
    w.declare("web", |_| {});
    w.settle();
    w.want_worker("w1", |goal| goal.draining = true);
    w.step();
    assert!(w.placed("web:0").unwrap().leaves);
    w.want_worker("w1", |goal| goal.draining = false);
    assert_eq!(w.settle(), ["update web:0 run r1"]);
    assert!(!w.placed("web:0").unwrap().leaves);
}

#[test]
fn what_was_stopped_to_leave_and_by_a_person_since_is_stopped_by_a_person() {
    let mut w = World::with_workers(2);
    w.declare("web", |_| {});
    w.settle();
    w.want_worker("w1", |goal| goal.draining = true);
    w.step();
    w.want_worker("w1", |goal| goal.draining = false);
    w.command("web", |goal| goal.run = false);
    w.settle();
    assert!(!w.placed("web:0").unwrap().leaves);
    w.view.reset(Bucket::Goals);
    assert_eq!(w.settle(), nothing());
}

#[test]
fn nothing_is_fired_while_it_is_not_known_what_was() {
    let mut w = World::with_workers(1);
    w.declare("job", |s| {
        s.kind = Kind::Oneshot;
        s.schedule = Some(Schedule::new("* * * * *", None, MissedRun::Run).unwrap());
    });
    let now = w.now().wall;
    w.edit("job", |p| p.declared = Some(now));
    w.seconds += 60;
    w.settle();
    w.end("job:0", 0);
    w.settle();
    let known = w.clone();
    w.view.reset(Bucket::Goals);
    w.seconds += 60;
    assert_eq!(w.settle(), nothing());
    let mut w = known;
    w.view.reset(Bucket::Fleet);
    w.join("w1");
    w.seconds += 60;
    assert_eq!(w.step(), ["say job:0 PENDING"]);
}

#[test]
fn an_epoch_that_cannot_be_is_not_believed() {
    let mut w = World::with_workers(2);
    w.declare("web", |_| {});
    w.settle();
    let before = w.epoch("web:0");
    w.tell_more("web:0", State::Running, |status| status.epoch = Epoch(u64::MAX));
    w.lose("w1");
    w.step();
    assert!(before < w.epoch("web:0") && w.epoch("web:0") <= w.seq, "{}", w.epoch("web:0"));
}

/// From now on nobody starts `web` but a person.
fn by_hand(spec: &mut ProgramSpec) {
    spec.autostart = false;
}

/// Nor is it started but by a schedule.
fn by_schedule(spec: &mut ProgramSpec) {
    spec.schedule = Some(Schedule::new("0 3 * * *", None, MissedRun::Skip).unwrap());
}

#[test]
fn what_a_declaration_has_stopped_runs_again_by_the_next_one() {
    for stop in [by_hand, by_schedule] {
        let mut w = World::with_workers(1);
        w.declare("web", |_| {});
        w.settle();
        w.declare("web", stop);
        assert_eq!(w.settle(), ["update web:0 stop r2"]);
        w.declare("web", |s| (s.autostart, s.schedule) = (true, None));
        assert_eq!(w.settle(), ["update web:0 run r3"]);
        assert_eq!(w.state("web:0"), State::Running);
    }
}

#[test]
fn what_a_canary_has_stopped_beside_it_runs_again() {
    for stop in [by_hand, by_schedule] {
        let mut w = World::with_workers(1);
        w.declare("web", |s| (s.numprocs, s.update.canary) = (2, 1));
        w.settle();
        w.settle();
        // The change needs new children, and is promoted by nobody.
        w.declare("web", |s| {
            s.shell = true;
            stop(s);
        });
        w.settle();
        assert_eq!((w.state("web:0"), w.state("web:1")), (State::Stopped, State::Stopped));
        w.declare("web", |s| (s.shell, s.autostart, s.schedule) = (false, true, None));
        w.settle();
        assert_eq!((w.state("web:0"), w.state("web:1")), (State::Running, State::Running));
    }
}

#[test]
fn no_count_makes_up_for_another_one() {
    let mut w = World::with_workers(1);
    w.declare("web", |_| {});
    w.command("web", |goal| (goal.run, goal.starts) = (true, 2));
    w.settle();
    // Of an earlier time, and restarted since.
    w.command("web", |goal| (goal.run, goal.starts, goal.restarts) = (false, 1, 1));
    assert_eq!(w.settle(), nothing());
    w.command("web", |goal| (goal.run, goal.starts) = (false, 2));
    assert_eq!(w.settle(), ["update web:0 stop r1"]);
}

#[test]
fn what_is_held_back_does_not_fail_over_and_says_so() {
    let mut w = World::with_workers(2);
    w.declare("web", |_| {});
    w.command("web", |goal| (goal.run, goal.starts) = (true, 1));
    w.settle();
    let why = |w: &World| explain(&w.view, &instance("web:0"), w.now()).unwrap().because;
    assert!(!holds_back(&w.view, &program("web")) && !why(&w).contains(AHEAD));
    w.view.reset(Bucket::Goals);
    assert_eq!((w.settle(), w.state("web:0")), (nothing(), State::Running));
    assert_eq!(w.reason("web:0"), AHEAD);
    assert!(why(&w).ends_with(AHEAD), "{}", why(&w));
    w.lose("w1");
    assert_eq!((w.settle(), w.state("web:0")), (nothing(), State::Unknown));
    let told = w.reason("web:0");
    assert!(told.starts_with("its worker w1 is lost") && told.ends_with(AHEAD), "{told}");
    assert!(holds_back(&w.view, &program("web")) && why(&w).ends_with(AHEAD), "{}", why(&w));
    // As recover does.
    w.command("web", |goal| (goal.run, goal.starts) = (true, 1));
    assert_eq!(w.settle(), ["move web:0 w1 w2 lost", "drop web:0 w1"]);
    assert!(!why(&w).contains(AHEAD), "{}", why(&w));
}

#[test]
fn what_is_held_back_says_first_what_it_says_of_itself() {
    let mut w = World::with_workers(1);
    w.declare("web", |s| s.numprocs = 2);
    w.settle();
    w.declare("web", |_| {});
    w.command_one("web:1", |goal| (goal.run, goal.disabled) = (false, true));
    w.settle();
    w.edit("web", |program| program.revision = 1);
    w.tell_more("web:0", State::Fatal, |status| status.reason = Some("no file x".to_owned()));
    assert_eq!(w.reason("web:0"), format!("no file x; {AHEAD}"));
    // Which is data: whoever asks whether it is disabled compares the whole of it.
    assert_eq!((w.state("web:1"), w.reason("web:1")), (State::Stopped, DISABLED.to_owned()));
}

#[test]
fn what_is_removed_does_not_wait_for_a_worker_that_is_gone() {
    for state in [State::Running, State::Fatal] {
        let mut w = lost(state);
        w.remove("web");
        assert_eq!(w.step(), nothing(), "w1 is there, and has it");
        w.lose("w1");
        // Which may come back with it: it finds a tombstone under its key, and stops it.
        let planned = [w.step(), w.step(), w.step()].concat();
        assert_eq!(planned, ["remove web:0 w1", "drop web:0 w1", "forget web"], "{state}");
        // Or it has come back without it.
        let mut w = lost(state);
        w.remove("web");
        w.edit_worker("w1", |worker| worker.incarnation = Incarnation(Uuid::from_u128(5)));
        assert_eq!([w.step(), w.step()].concat(), ["drop web:0 w1", "forget web"], "{state}");
    }
}

#[test]
fn what_is_removed_is_not_forgotten_while_a_worker_without_a_record_may_have_it() {
    for (state, touches, waits) in [
        (State::Running, true, true),
        (State::Fatal, true, true),
        (State::Running, false, true),
        (State::Fatal, false, false),
    ] {
        let mut w = lost(state);
        w.remove("web");
        w.view.set_worker(&worker("w1"), None::<Seen<_>>);
        if !touches {
            w.view.reset(Bucket::Fleet);
        }
        assert_eq!(w.step().is_empty(), waits, "{state}, touches: {touches}");
    }
}
