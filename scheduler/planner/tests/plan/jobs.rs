//! Programs with a schedule, oneshots, and what is disabled.

use dsbus_schema::program::{Kind, MissedRun, Schedule};
use dsbus_schema::state::State;

use crate::world::{World, nothing};

/// A world in which `job` runs every minute; it begins at a full minute.
fn job(missed: MissedRun) -> World {
    let mut w = World::with_workers(2);
    w.declare("job", |s| {
        s.kind = Kind::Oneshot;
        s.schedule = Some(Schedule::new("* * * * *", None, missed).unwrap());
    });
    let now = w.now().wall;
    w.edit("job", |p| p.declared = Some(now));
    w
}

#[test]
fn it_runs_when_it_is_due_and_not_before() {
    let mut w = job(MissedRun::Skip);
    assert_eq!(w.settle(), nothing());
    assert!(w.view.next_wake().is_some(), "time alone makes it due");
    w.seconds += 59;
    assert_eq!(w.settle(), nothing());
    w.seconds += 1;
    assert_eq!(w.settle(), ["fire job Run", "place job:0 w1"]);
    w.end("job:0", 0);
    assert_eq!(w.settle(), ["update job:0 rest r1"]);
    w.seconds += 60;
    assert_eq!(w.settle(), ["fire job Run", "update job:0 run r1"]);
}

#[test]
fn it_is_skipped_while_it_runs_when_it_was_missed_and_when_it_is_stopped() {
    let mut w = job(MissedRun::Skip);
    w.seconds += 60;
    w.settle();
    w.seconds += 60;
    assert_eq!(w.settle(), ["fire job SkipOverlap"]);
    w.end("job:0", 1);
    w.settle();
    w.seconds += 600 + 59;
    assert_eq!(
        w.settle(),
        ["fire job Run"]
            .map(|_| "fire job Run".to_owned())
            .into_iter()
            .chain(["update job:0 run r1".to_owned()])
            .collect::<Vec<_>>(),
        "the last is not late"
    );
    w.end("job:0", 0);
    w.settle();
    w.command("job", |g| g.run = false);
    w.settle();
    w.seconds += 60;
    assert_eq!(w.settle(), ["fire job SkipStopped"]);
}

#[test]
fn a_changed_declaration_waits_for_the_next_run() {
    let mut w = job(MissedRun::Skip);
    w.seconds += 60;
    w.settle();
    w.end("job:0", 0);
    w.settle();
    w.declare("job", |s| s.shell = true);
    let planned = w.settle();
    assert_eq!(planned, ["rollout job DONE"], "there is nothing to wait for");
    assert_eq!(w.placed("job:0").unwrap().revision, 1);
    w.seconds += 60;
    assert_eq!(w.settle(), ["fire job Run", "update job:0 run r2"]);
    // One that was given up waits for it, too.
    w.declare("job", |s| s.max_fail_count = 1);
    w.settle();
    w.tell("job:0", State::Fatal);
    w.settle();
    assert_eq!(w.state("job:0"), State::Fatal);
    w.declare("job", |s| s.shell = false);
    w.settle();
    assert_eq!(w.state("job:0"), State::Fatal);
    w.seconds += 60;
    w.settle();
    assert_eq!(w.state("job:0"), State::Running);
}

#[test]
fn a_run_whose_worker_is_lost_is_run_elsewhere() {
    let mut w = job(MissedRun::Skip);
    w.seconds += 60;
    w.settle();
    w.lose("w1");
    assert_eq!(w.settle(), ["move job:0 w1 w2 lost", "drop job:0 w1"]);
}

#[test]
fn a_finished_run_on_a_lost_worker_runs_elsewhere_the_next_time() {
    let mut w = job(MissedRun::Skip);
    w.seconds += 60;
    w.settle();
    w.end("job:0", 0);
    w.settle();
    w.lose("w1");
    assert_eq!(w.settle(), nothing());
    assert_eq!(w.state("job:0"), State::Exited);
    w.seconds += 60;
    assert_eq!(w.settle(), ["fire job Run", "move job:0 w1 w2 lost", "drop job:0 w1"]);
}

#[test]
fn what_is_disabled_is_stopped_and_does_not_start() {
    let mut w = World::with_workers(1);
    w.declare("web", |s| s.numprocs = 2);
    w.settle();
    w.command("web", |g| (g.run, g.disabled) = (false, true));
    assert_eq!(w.settle().len(), 2);
    // A single start of one copy does not overrule it.
    w.command_one("web:0", |g| (g.run, g.starts) = (true, 1));
    assert!(w.settle().iter().all(|p| p.contains("stop")));
    assert_eq!(w.state("web:0"), State::Stopped);
    w.command("web", |g| (g.run, g.disabled) = (true, false));
    w.settle();
    assert_eq!(w.state("web:0"), State::Running);
}
