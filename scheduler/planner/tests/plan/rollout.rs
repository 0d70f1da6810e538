//! How changes reach the instances of a program.

use dsbus_planner::rows;
use dsbus_schema::goal::{Arguments, Goal};
use dsbus_schema::lenient::Span;
use dsbus_schema::program::{Kind, ProgramSpec};
use dsbus_schema::rollout::RolloutState;
use dsbus_schema::state::State;

use crate::world::{World, instance, nothing, program, worker};

/// A world in which so many copies of `web` run, spread over three workers.
fn running(numprocs: u32, change: impl FnOnce(&mut ProgramSpec)) -> World {
    let mut w = World::with_workers(3);
    w.declare("web", |s| {
        s.numprocs = numprocs;
        change(s);
    });
    w.settle();
    w
}

/// A change that needs new children.
fn change(spec: &mut ProgramSpec) {
    spec.shell = !spec.shell;
}

fn state(w: &World) -> Option<RolloutState> {
    w.view.program(&program("web")).unwrap().rollout.as_ref().map(|r| r.state)
}

fn revisions(w: &World, numprocs: u32) -> Vec<u64> {
    let revision = |i| w.placed(&format!("web:{i}")).map_or(0, |placed| placed.revision);
    (0..numprocs).map(revision).collect()
}

fn fails(w: &mut World, name: &str) {
    w.tell(name, State::Fatal);
}

#[test]
fn instances_are_changed_one_after_the_other() {
    let mut w = running(3, |_| {});
    w.declare("web", change);
    for index in 0..3 {
        assert_eq!(w.step(), [format!("update web:{index} run r2")]);
        assert_eq!(w.step(), nothing(), "until it runs");
        w.tell(&format!("web:{index}"), State::Starting);
        assert_eq!(w.step(), nothing());
        w.tell(&format!("web:{index}"), State::Running);
    }
    assert_eq!(w.step(), ["rollout web DONE"]);
    assert_eq!((w.step(), state(&w)), (nothing(), None));
}

#[test]
fn max_unavailable_says_how_many_at_once() {
    let mut w = running(5, |s| s.update.max_unavailable = 2);
    w.declare("web", change);
    assert_eq!(w.step(), ["update web:0 run r2", "update web:1 run r2"]);
    w.tell("web:0", State::Running);
    assert_eq!(w.step(), ["update web:2 run r2"]);
    // One that went down by itself counts, too, and is changed at once.
    w.tell("web:4", State::Backoff);
    assert_eq!(w.step(), ["update web:4 run r2"]);
    w.tell("web:1", State::Running);
    assert_eq!(w.step(), nothing(), "web:2 and web:4 are down");
}

#[test]
fn what_needs_no_new_child_is_changed_everywhere_at_once() {
    let mut w = running(3, |_| {});
    w.declare("web", |s| s.priority = 5);
    assert_eq!(w.step().len(), 3);
    assert_eq!((revisions(&w, 3), state(&w)), (vec![2, 2, 2], None));
}

#[test]
fn extra_instances_start_first_and_retire_at_the_end() {
    let mut w = running(2, |s| (s.update.max_unavailable, s.update.max_surge) = (0, 1));
    w.declare("web", change);
    assert_eq!(w.step(), ["place web:2 w3 r2"]);
    assert_eq!(w.step(), nothing());
    w.obey();
    assert_eq!(w.step(), ["update web:0 run r2"]);
    w.obey();
    assert_eq!(w.step(), ["update web:1 run r2"]);
    assert_eq!(rows::instances(&w.view).len(), 3);
    w.obey();
    assert_eq!(w.step(), ["update web:2 stop r2"]);
    w.obey();
    assert_eq!(w.step(), ["remove web:2 w3"]);
    assert_eq!(w.settle(), ["rollout web DONE"]);
    assert_eq!(rows::instances(&w.view).len(), 2);
}

#[test]
fn an_extra_instance_that_fits_nowhere_holds_the_rollout_up_and_says_so() {
    let mut w = running(1, |s| {
        (s.update.max_unavailable, s.update.max_surge) = (0, 1);
        s.machines = vec![worker("w1")];
        s.resources.cpu = Some(1.0);
    });
    w.edit_worker("w1", |worker| worker.capacity.cpu = 1.0);
    w.declare("web", change);
    assert_eq!(w.settle(), ["say web:1 PENDING"]);
    assert_eq!(revisions(&w, 1), [1]);
    w.edit_worker("w1", |worker| worker.capacity.cpu = 2.0);
    let planned = w.settle();
    assert_eq!(planned[0], "place web:1 w1 r2");
    assert_eq!(planned.last().unwrap(), "rollout web DONE");
    assert_eq!((revisions(&w, 1), rows::instances(&w.view).len()), (vec![2], 1));
}

#[test]
fn canaries_are_changed_first_and_the_rest_when_they_are_promoted() {
    let mut w = running(4, |s| s.update.canary = 2);
    w.declare("web", change);
    assert_eq!(w.settle(), ["update web:0 run r2", "update web:1 run r2"]);
    let row = rows::rollout(&w.view, &program("web"), w.now()).unwrap();
    assert_eq!(row.reason.unwrap(), "its canaries are healthy: promote or undo it");
    assert_eq!((row.done.len(), row.waiting.len()), (2, 2));
    w.edit("web", |p| p.rollout.as_mut().unwrap().promoted = true);
    let planned = w.settle();
    assert_eq!(planned, ["update web:2 run r2", "update web:3 run r2", "rollout web DONE"]);
}

#[test]
fn canaries_of_a_program_that_may_have_none_down_wait_for_an_extra_one() {
    let mut w = running(3, |s| {
        (s.update.canary, s.update.max_unavailable, s.update.max_surge) = (1, 0, 1);
    });
    w.declare("web", change);
    // The extra one proves nothing, and runs what has proved itself.
    assert_eq!(w.step(), ["place web:3 w1"]);
    let planned = w.settle();
    assert_eq!(planned, ["update web:0 run r2", "update web:3 stop r1", "remove web:3 w1"]);
    w.edit("web", |p| p.rollout.as_mut().unwrap().promoted = true);
    let planned = w.settle();
    assert_eq!(planned[0], "place web:3 w1 r2", "{planned:?}");
    assert_eq!((revisions(&w, 3), state(&w)), (vec![2, 2, 2], None));
}

#[test]
fn the_next_one_waits_until_the_last_has_run_for_long_enough() {
    let mut w = running(2, |s| s.update.min_healthy = Span::from_secs(30));
    w.declare("web", change);
    w.step();
    w.obey();
    assert_eq!(w.step(), nothing());
    let at = w.view.next_wake().unwrap();
    assert_eq!(at, w.now().boot + std::time::Duration::from_secs(30));
    w.seconds += 29;
    assert_eq!(w.step(), nothing());
    // A child that was started again begins anew.
    w.restarted("web:0");
    w.seconds += 29;
    assert_eq!(w.step(), nothing());
    w.seconds += 1;
    assert_eq!(w.step(), ["update web:1 run r2"]);
    w.obey();
    assert_eq!(w.step(), nothing());
    w.seconds += 30;
    assert_eq!(w.step(), ["rollout web DONE"]);
    assert_eq!((w.step(), w.view.next_wake()), (nothing(), None));
}

#[test]
fn a_changed_instance_that_ends_fatal_stops_the_rollout() {
    let mut w = running(3, |s| s.max_fail_count = 1);
    w.declare("web", change);
    w.step();
    fails(&mut w, "web:0");
    assert_eq!(w.step(), ["count web:0 w1", "rollout web FAILED"]);
    w.settle();
    assert_eq!((revisions(&w, 3), state(&w)), (vec![2, 1, 1], Some(RolloutState::Failed)));
    assert_eq!(w.state("web:0"), State::Fatal);
    // Undo: a new revision with the old declaration, and nothing ends that runs it.
    w.declare("web", change);
    let planned = w.settle();
    assert_eq!((revisions(&w, 3), state(&w)), (vec![3, 3, 3], None), "{planned:?}");
    assert!(!planned.iter().any(|p| p.contains("stop")), "{planned:?}");
    assert_eq!(w.state("web:0"), State::Running);
}

#[test]
fn an_instance_that_failed_elsewhere_goes_back_to_what_is_proven() {
    let mut w = running(3, |_| {});
    w.declare("web", change);
    w.step();
    fails(&mut w, "web:0");
    assert_eq!(w.step(), ["count web:0 w1", "rollout web FAILED"]);
    assert_eq!(w.step(), ["move web:0 w1 w2"]);
    assert_eq!(revisions(&w, 3), [1, 1, 1]);
    w.settle();
    w.edit("web", |p| p.rollout.as_mut().unwrap().state = RolloutState::Rolling);
    assert_eq!(w.step(), ["update web:0 run r2"], "resumed");
}

#[test]
fn a_failed_rollout_goes_back_by_itself_once() {
    let mut w = running(3, |s| {
        (s.max_fail_count, s.update.auto_revert) = (1, true);
    });
    w.declare("web", change);
    w.step();
    w.obey();
    w.step();
    fails(&mut w, "web:1");
    assert_eq!(w.step(), ["count web:1 w2", "rollout web REVERTED"]);
    // What was not changed yet goes on as it is; what failed starts at once.
    assert_eq!(w.step(), ["update web:1 run r3", "update web:2 run r3"]);
    w.obey();
    assert_eq!(w.step(), ["update web:0 run r3"]);
    fails(&mut w, "web:0");
    assert_eq!(w.step(), ["count web:0 w1", "rollout web FAILED"], "it does not go back again");
}

#[test]
fn a_paused_rollout_changes_nothing_more_and_keeps_what_it_has() {
    let mut w = running(3, |s| (s.update.max_unavailable, s.update.max_surge) = (0, 1));
    w.declare("web", change);
    w.step();
    w.obey();
    assert_eq!(w.step(), ["update web:0 run r2"]);
    w.edit("web", |p| p.rollout.as_mut().unwrap().state = RolloutState::Paused);
    assert_eq!(w.settle(), nothing());
    assert_eq!(revisions(&w, 4), [2, 1, 1, 2]);
    // What was changed stays so wherever it goes.
    w.lose("w1");
    let planned = w.settle();
    assert!(
        planned.iter().any(|p| p.starts_with("move web:0 w1") && p.contains(" r2 ")),
        "{planned:?}"
    );
    w.edit("web", |p| p.rollout.as_mut().unwrap().state = RolloutState::Rolling);
    assert_eq!(w.settle().last().unwrap(), "rollout web DONE");
}

#[test]
fn a_paused_rollout_starts_no_extra_instances() {
    let mut w = running(2, |s| (s.update.max_unavailable, s.update.max_surge) = (0, 1));
    w.declare("web", change);
    w.edit("web", |p| p.rollout.as_mut().unwrap().state = RolloutState::Paused);
    assert_eq!(w.settle(), nothing());
}

#[test]
fn a_second_change_takes_over() {
    let mut w = running(3, |_| {});
    w.declare("web", change);
    w.step();
    w.obey();
    w.step();
    w.declare("web", |s| s.umask = Some("077".parse().unwrap()));
    let rollout = w.view.program(&program("web")).unwrap().rollout.clone().unwrap();
    assert_eq!(rollout.stable.revision, 1, "what has not proved itself is nothing to go back to");
    let planned = w.settle();
    assert_eq!(
        planned,
        ["update web:0 run r3", "update web:1 run r3", "update web:2 run r3", "rollout web DONE"]
    );
}

#[test]
fn what_is_not_changed_yet_is_placed_anew_with_what_is_proven() {
    let mut w = running(6, |s| s.update.min_healthy = Span::from_secs(60));
    w.declare("web", change);
    w.step();
    w.obey();
    // web:0 is changed; the worker of web:2 and web:5 is lost.
    w.lose("w3");
    let planned = w.step();
    assert_eq!(planned, ["move web:2 w3 w1 lost", "move web:5 w3 w2 lost"]);
    assert_eq!(revisions(&w, 6), [2, 1, 1, 1, 1, 1]);
    w.lose("w1");
    let planned = w.step();
    assert!(planned.contains(&"move web:0 w1 w2 r2 lost".to_owned()), "{planned:?}");
}

#[test]
fn a_lost_worker_does_not_keep_a_rollout_from_its_end() {
    let mut w = running(3, |s| {
        s.on_worker_loss = dsbus_schema::program::OnWorkerLoss::Stay;
    });
    w.lose("w3");
    w.declare("web", change);
    assert_eq!(w.settle(), ["update web:0 run r2", "update web:1 run r2", "rollout web DONE"]);
    w.join("w3");
    assert_eq!(w.settle(), ["update web:2 run r2"]);
}

#[test]
fn a_oneshot_that_runs_is_left_alone() {
    let mut w = running(2, |s| s.kind = Kind::Oneshot);
    w.end("web:0", 0);
    w.settle();
    w.tell("web:1", State::Starting);
    w.declare("web", change);
    // The one that has ended begins anew as something else.
    assert_eq!(w.settle(), ["update web:0 run r2"]);
    w.end("web:1", 0);
    let planned = w.step();
    assert_eq!(planned, ["update web:1 run r2"]);
    w.end("web:0", 0);
    w.end("web:1", 0);
    assert!(w.settle().contains(&"rollout web DONE".to_owned()));
}

#[test]
fn stopped_instances_are_changed_at_once() {
    let mut w = running(3, |_| {});
    w.command("web", |g| g.run = false);
    w.settle();
    w.declare("web", change);
    assert_eq!(w.step().len(), 3);
    assert_eq!(w.step(), ["rollout web DONE"]);
    assert_eq!((revisions(&w, 3), state(&w)), (vec![2, 2, 2], None));
}

#[test]
fn what_no_declaration_runs_waits_for_the_canaries_too() {
    let mut w = running(3, |s| s.update.canary = 1);
    w.declare("web", |s| s.autostart = false);
    w.settle();
    assert_eq!(revisions(&w, 3), [2, 2, 2], "it needs no new child");
    w.declare("web", change);
    assert_eq!(w.settle(), ["update web:0 stop r3"]);
    w.command_one("web:1", |g| (g.run, g.starts) = (true, 1));
    assert_eq!(w.settle(), ["update web:1 run r2"]);
    w.edit("web", |p| p.rollout.as_mut().unwrap().promoted = true);
    w.settle();
    assert_eq!((revisions(&w, 3), state(&w)), (vec![3, 3, 3], None));
}

#[test]
fn what_no_declaration_runs_waits_while_a_rollout_is_paused_or_has_failed() {
    for stands in [RolloutState::Paused, RolloutState::Failed] {
        let mut w = running(3, |_| {});
        w.declare("web", |s| s.autostart = false);
        w.settle();
        w.declare("web", change);
        w.edit("web", |p| p.rollout.as_mut().unwrap().state = stands);
        assert_eq!((w.settle(), revisions(&w, 3)), (nothing(), vec![2, 2, 2]), "{stands:?}");
    }
}

#[test]
fn a_rolling_restart_goes_one_by_one_and_another_one_everywhere_at_once() {
    for (rolling, at_once) in [(true, 1), (false, 3)] {
        let mut w = running(3, |s| s.update.max_unavailable = 0);
        w.edit("web", |p| p.spec.update.max_surge = 1);
        w.settle();
        w.command("web", |g: &mut Goal| {
            (g.run, g.restarts, g.rolling) = (true, 1, rolling);
            g.arguments = Some(Arguments { words: vec!["-v".to_owned()], of: 1 });
        });
        let told = |w: &World| {
            let placed = (0..3).map(|i| w.placed(&format!("web:{i}")).unwrap());
            placed.filter(|placed| placed.arguments == ["-v"]).count()
        };
        assert_eq!(w.step().len(), at_once);
        assert_eq!(told(&w), at_once, "arguments come with their restart, and not before");
        assert_eq!(w.step(), nothing());
        w.settle();
        assert!((0..3).all(|i| w.placed(&format!("web:{i}")).unwrap().wanted.restarts == 1));
        assert_eq!(told(&w), 3);
    }
}

#[test]
fn an_exclusive_program_changes_without_a_second_copy() {
    let mut w = running(1, |s| s.exclusive = true);
    let epoch = w.epoch("web:0");
    w.declare("web", change);
    assert_eq!(w.settle(), ["update web:0 run r2", "rollout web DONE"]);
    assert_eq!(w.epoch("web:0"), epoch, "a change on the same worker raises the revision only");
    let placed = w.view.placed(&instance("web:0")).unwrap().worker.clone();
    w.want_worker(placed.as_str(), |goal| goal.draining = true);
    assert_eq!(w.step(), ["update web:0 stop r2"]);
    assert_eq!(w.step(), nothing(), "until nothing of it runs");
    w.obey();
    assert_eq!(w.step(), ["move web:0 w1 w2 r2 lost"], "guarded by the lease of that very run");
}
