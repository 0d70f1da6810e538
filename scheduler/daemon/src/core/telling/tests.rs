//! Who is to tell what is folded.

use dsbus_client::Value;
use dsbus_schema::ids::FleetName;
use dsbus_schema::touch::SchedulerTouch;
use serde_json::json;
use uuid::Uuid;

use super::super::tests::{entry, placement, put};
use super::*;
use crate::core::{Bucket, Core};
use crate::tell::Check;

const START: BootTime = BootTime(1_000_000_000_000);

fn at(seconds: u64) -> BootTime {
    START + Duration::from_secs(seconds)
}

fn by(scheduler: &str, entry: Entry) -> Entry {
    Entry { by: Some(scheduler.to_owned()), ..entry }
}

fn touch(scheduler: &str, run: u128, seq: u64, change: impl FnOnce(&mut SchedulerTouch)) -> Entry {
    let mut touch = SchedulerTouch {
        host: "h".to_owned(),
        pid: 1,
        attempt: seq,
        run: Uuid::from_u128(run),
        ready: true,
        leaving: false,
        untold: 0,
    };
    change(&mut touch);
    let body = serde_json::to_value(touch).unwrap();
    by(scheduler, put(&format!("_scheduler.{scheduler}"), seq, &body))
}

fn marker(scheduler: &str, seq: u64) -> Entry {
    entry(&format!("_scheduler.{scheduler}"), seq, Value::Expired)
}

/// s1, which knows that s2 lives, and has told that both joined.
fn s1() -> Core {
    let mut core = Core::new(FleetName::default(), "s1");
    for bucket in Bucket::STATE {
        core.caught_up(bucket);
    }
    for (n, scheduler) in ["s1", "s2"].into_iter().enumerate() {
        let joins = touch(scheduler, n as u128 + 1, n as u64 + 1, |_| {});
        core.fold(Bucket::Fleet, &joins, START - Duration::from_secs(60)).unwrap();
    }
    core.fold(Bucket::Fleet, &touch("s2", 2, 3, |_| {}), at(0)).unwrap();
    assert_eq!(told(&mut core), ["JOINED s1"], "s2 tells for itself");
    core
}

/// What is due.
fn told(core: &mut Core) -> Vec<String> {
    let word = |told: &Told| match &told.fact {
        Fact::Scheduler(fact) => fact.scheduler.clone(),
        other => other.instance().map(ToString::to_string).unwrap_or_default(),
    };
    let told = core.take_told();
    told.iter().map(|told| format!("{} {}", told.fact.type_name(), word(told))).collect()
}

fn fold(core: &mut Core, entry: &Entry, seconds: u64) -> Vec<String> {
    core.fold(Bucket::Fleet, entry, at(seconds)).unwrap();
    told(core)
}

fn placing(scheduler: &str, index: u64, seq: u64) -> Entry {
    by(scheduler, put(&format!("w1.web.{index}"), seq, &placement(seq, 5)))
}

#[test]
fn who_writes_tells_and_the_others_do_when_it_is_gone() {
    let mut core = s1();
    assert_eq!(fold(&mut core, &placing("s1", 0, 10), 1), ["PLACED web:0"]);
    assert_eq!(fold(&mut core, &placing("s2", 1, 11), 1), [""; 0]);
    assert_eq!(fold(&mut core, &placing("s9", 2, 12), 1), ["PLACED web:2"], "nobody knows it");
    let old = put("w1.web.3", 13, &placement(13, 5));
    assert_eq!(fold(&mut core, &old, 1), [""; 0], "an older scheduler tells for itself");
    assert_eq!(fold(&mut core, &marker("s2", 14), 6), ["PLACED web:1"]);
    assert_eq!(fold(&mut core, &placing("s2", 4, 15), 6), ["PLACED web:4"], "it came late");
}

/// Simulated: the writer died before it told, and whoever wrote over the placement died before that
/// was noticed, so that nobody was left who had seen it.
#[test]
fn who_writes_over_a_placement_tells_at_once_what_is_kept_of_it() {
    let mut core = s1();
    fold(&mut core, &placing("s2", 0, 10), 1);
    let mut stopped = placement(10, 5);
    stopped["wanted"]["run"] = json!(false);
    let over = |seq| put("w1.web.0", seq, &stopped);
    assert_eq!(fold(&mut core, &by("s3", over(11)), 1), [""; 0], "who wrote it tells");
    assert_eq!(fold(&mut core, &by("s1", over(12)), 1), ["PLACED web:0"]);
    assert_eq!(fold(&mut core, &marker("s2", 14), 6), [""; 0], "once");
}

#[test]
fn what_a_scheduler_says_it_has_told_is_told_by_nobody_else() {
    let mut core = s1();
    fold(&mut core, &placing("s2", 0, 10), 1);
    assert_eq!(fold(&mut core, &touch("s2", 2, 11, |t| t.untold = 1), 60), [""; 0]);
    fold(&mut core, &placing("s2", 1, 12), 61);
    fold(&mut core, &touch("s2", 2, 13, |_| {}), 62);
    assert_eq!(fold(&mut core, &marker("s2", 14), 70), ["PLACED web:1"]);
}

#[test]
fn what_is_too_old_to_be_told_by_another_one_is_counted() {
    for gone in [
        marker("s2", 12),
        touch("s2", 3, 12, |t| t.ready = false),
        touch("s2", 2, 12, |t| (t.leaving, t.untold) = (true, 1)),
    ] {
        let mut core = s1();
        fold(&mut core, &placing("s2", 0, 10), 1);
        fold(&mut core, &touch("s2", 2, 11, |t| t.untold = 3), 541);
        core.fold(Bucket::Fleet, &gone, at(542)).unwrap();
        let told = core.take_told();
        let count = told.iter().find_map(|told| match &told.fact {
            Fact::Scheduler(fact) if fact.change == SchedulerChange::EventsDropped => {
                Some((fact.scheduler.as_str(), fact.count))
            }
            _ => None,
        });
        assert_eq!(count, Some(("s2", Some(1))), "{gone:?}");
    }
}

#[test]
fn a_scheduler_that_does_not_come_back_is_lost() {
    let mut core = s1();
    fold(&mut core, &marker("s2", 10), 10);
    core.judge_schedulers(at(14));
    assert_eq!(told(&mut core), [""; 0]);
    assert_eq!(fold(&mut core, &touch("s2", 2, 11, |_| {}), 14), [""; 0], "the bus was away");
    core.judge_schedulers(at(30));
    assert_eq!(told(&mut core), [""; 0]);
    fold(&mut core, &marker("s2", 12), 40);
    core.judge_schedulers(at(45));
    assert_eq!(told(&mut core), ["LOST s2"]);
    core.judge_schedulers(at(60));
    assert_eq!(told(&mut core), [""; 0], "once");
    fold(&mut core, &touch("s2", 2, 13, |_| {}), 61);
    // What s2 tells is kept in mind like all else.
    assert_eq!(fold(&mut core, &marker("s2", 14), 62), ["JOINED s2"], "it was back");
}

#[test]
fn a_scheduler_that_leaves_is_not_lost() {
    let mut core = s1();
    fold(&mut core, &placing("s2", 0, 10), 1);
    let leaves = touch("s2", 2, 11, |t| t.leaving = true);
    assert_eq!(fold(&mut core, &leaves, 2), ["PLACED web:0", "LEFT s2"]);
    assert_eq!(fold(&mut core, &marker("s2", 12), 8), [""; 0]);
    core.judge_schedulers(at(60));
    assert_eq!(told(&mut core), [""; 0]);
}

#[test]
fn another_run_of_the_same_name_means_that_the_one_before_is_lost() {
    let mut core = s1();
    fold(&mut core, &placing("s2", 0, 10), 1);
    let again = touch("s2", 3, 12, |t| t.ready = false);
    fold(&mut core, &touch("s2", 2, 11, |t| t.untold = 1), 60);
    assert_eq!(fold(&mut core, &again, 61), ["PLACED web:0", "LOST s2"], "it has told nothing yet");
    fold(&mut core, &touch("s2", 3, 13, |_| {}), 62);
    assert_eq!(fold(&mut core, &marker("s2", 14), 69), ["JOINED s2"]);
}

#[test]
fn what_was_there_at_the_beginning_is_told_if_its_writer_is_gone() {
    let mut core = Core::new(FleetName::default(), "s3");
    let late = |seconds: i128, entry: Entry| Entry {
        time: Timestamp::from_unix_nanos(seconds * 1_000_000_000),
        ..entry
    };
    let entries = [
        late(100, placing("s1", 0, 10)),
        late(500, placing("s1", 1, 11)),
        late(501, placing("s2", 2, 12)),
        late(502, placing("s3", 3, 13)),
        late(503, marker("s1", 14)),
        late(900, touch("s2", 2, 15, |_| {})),
    ];
    for entry in &entries {
        core.fold(Bucket::Fleet, entry, at(0)).unwrap();
    }
    for bucket in Bucket::STATE {
        core.caught_up(bucket);
    }
    assert_eq!(told(&mut core), [""; 0], "not before all is known");
    let (programs, _) = core.take_past(at(1)).unwrap();
    assert_eq!(programs, []);
    let due = core.take_told();
    assert!(due.iter().all(|told| told.check == Check::Instance));
    let due: Vec<String> = due.iter().map(|t| t.fact.instance().unwrap().to_string()).collect();
    assert_eq!(due, ["web:1", "web:3"], "not what is old, and s2 lives");
    assert_eq!(fold(&mut core, &marker("s2", 16), 6), ["PLACED web:2"]);
    assert!(core.take_past(at(7)).is_none(), "once");
}

#[test]
fn whoever_starts_alone_tells_who_is_lost() {
    let mut core = Core::new(FleetName::default(), "s2");
    core.fold(Bucket::Fleet, &marker("s1", 14), at(0)).unwrap();
    for bucket in Bucket::STATE {
        core.caught_up(bucket);
    }
    core.take_past(at(1)).unwrap();
    let due = core.take_told();
    assert!(matches!(due[0].check, Check::LikeSince(_)), "unless somebody told that it left");
    let mut core = Core::new(FleetName::default(), "s2");
    core.former(&touch("s2", 7, 3, |_| {}));
    assert_eq!(told(&mut core), ["LOST s2"], "its own former run");
    core.former(&touch("s2", 7, 3, |t| t.leaving = true));
    assert_eq!(told(&mut core), [""; 0]);
}

#[test]
fn a_removal_says_why_and_a_move_is_one_event() {
    let mut core = s1();
    fold(&mut core, &placing("s1", 0, 10), 1);
    let gone = by("s1", entry("w1.web.0", 11, Value::Deleted));
    assert_eq!(fold(&mut core, &gone, 1), [""; 0], "of a move the place elsewhere tells");
    let words = json!({"id": Uuid::nil(), "epoch": 10, "reason": "numprocs was lowered"});
    let note = words.to_string().into();
    let removed = Entry { note, ..by("s1", entry("w2.web.0", 12, Value::Deleted)) };
    assert_eq!(fold(&mut core, &removed, 1), ["REMOVED web:0"]);
}
