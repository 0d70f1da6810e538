//! Folding: what the bus delivers, once or twice, in order or after a fresh start.

use dsbus_client::{Signer, Write};
use dsbus_planner::{Now, plan};
use dsbus_schema::moment::Timestamp;
use serde_json::json;

use super::*;

const START: BootTime = BootTime(1_000_000_000_000);

fn at(millis: u64) -> BootTime {
    START + Duration::from_millis(millis)
}

pub(super) fn entry(key: &str, seq: u64, value: Value) -> Entry {
    let (time, note) = (Timestamp::from_unix_nanos(0), bytes::Bytes::new());
    Entry { key: key.to_owned(), seq, value, time, by: None, note, seal: None }
}

pub(super) fn put(key: &str, seq: u64, body: &serde_json::Value) -> Entry {
    entry(key, seq, Value::Put(body.to_string().into()))
}

pub(super) fn placement(epoch: u64, touch_timeout: u64) -> serde_json::Value {
    json!({
        "id": uuid::Uuid::nil(), "revision": 1, "epoch": epoch,
        "wanted": {"run": true}, "spec": {"command": "x", "touch_timeout": touch_timeout}
    })
}

fn worker_record(name: &str) -> serde_json::Value {
    json!({
        "name": name, "machine": "m", "boot": uuid::Uuid::nil(), "directory": "/d", "host": "h",
        "incarnation": uuid::Uuid::nil(), "agent_pid": 1, "supervisor_pid": 2, "version": "0",
        "started": "2026-01-01T00:00:00Z"
    })
}

fn touch(seq: u64) -> Entry {
    put("w1._touch.5", seq, &json!({}))
}

fn fold(core: &mut Core, bucket: Bucket, entry: &Entry, millis: u64) -> Option<News> {
    core.fold(bucket, entry, at(millis)).unwrap()
}

/// A core that touches all the time itself, up to `millis`.
fn core(millis: u64) -> Core {
    let mut core = Core::default();
    for t in (0..=millis).step_by(500) {
        core.judge.own_touch(at(t), at(t + 1));
    }
    fold(&mut core, Bucket::Workers, &put("w1", 1, &worker_record("w1")), 0);
    core
}

#[test]
fn an_own_write_that_comes_again_by_the_watch_changes_nothing() {
    let mut core = core(0);
    fold(&mut core, Bucket::Fleet, &put("w1.web.0", 7, &placement(1, 5)), 0);
    // What was written before it, and is delivered late.
    fold(&mut core, Bucket::Fleet, &entry("w1.web.0", 6, Value::Deleted), 0);
    fold(&mut core, Bucket::Fleet, &put("w1.web.0", 7, &placement(1, 5)), 0);
    assert_eq!(core.view.placements().count(), 1);
    assert_eq!(core.view.guard(&"web:0".parse().unwrap()), 7);
}

#[test]
fn a_tombstone_raises_the_guard() {
    let mut core = core(0);
    fold(&mut core, Bucket::Fleet, &put("w1.web.0", 7, &placement(1, 5)), 0);
    fold(&mut core, Bucket::Fleet, &entry("w1.web.0", 9, Value::Deleted), 0);
    assert!(core.view.placements().next().is_none());
    assert_eq!(core.view.guard(&"web:0".parse().unwrap()), 9);
}

#[test]
fn a_body_that_cannot_be_read_is_named_and_left_out() {
    let mut core = core(0);
    let bad = put("w1.web.0", 7, &json!({"epoch": "x"}));
    let said = core.fold(Bucket::Fleet, &bad, at(0)).unwrap_err().to_string();
    assert!(said.contains("w1.web.0"), "{said}");
    assert!(core.view.placements().next().is_none());
    assert_eq!(core.view.guard(&"web:0".parse().unwrap()), 0, "nothing can be written over it");
}

#[test]
fn a_lease_goes_from_live_over_silent_to_lost_and_back() {
    let mut core = core(20_000);
    fold(&mut core, Bucket::Fleet, &touch(5), 1_000);
    let key: LeaseKey = (WorkerName::parse("w1").unwrap(), 5);
    let life = |core: &Core| core.view.lease_of(&key.0, key.1).unwrap().life;
    assert_eq!(core.judge_all(at(3_000)), (vec![], BTreeSet::new(), false));
    assert_eq!(life(&core), Life::Live);
    let (lost, ask, _) = core.judge_all(at(3_600));
    assert_eq!((lost.len(), ask.len(), life(&core)), (0, 1, Life::Silent));
    assert_eq!(core.judge_all(at(3_650)).1.len(), 0, "asked again only after a while");
    fold(&mut core, Bucket::Fleet, &entry("w1._touch.5", 6, Value::Expired), 6_100);
    for t in [6_150, 6_300, 6_450, 6_600] {
        core.judge_all(at(t));
    }
    assert_eq!(life(&core), Life::Lost);
    assert_eq!(core.view.lease_of(&key.0, key.1).unwrap().seq, 6, "a move stands on the marker");
    let news = fold(&mut core, Bucket::Fleet, &touch(8), 7_000);
    assert_eq!(news, Some(News::Back(key.0.clone(), 8)));
    assert_eq!(life(&core), Life::Live);
}

/// Whether the worker is told as lost or has stopped, and what is told when it is back: it has said
/// that it stops, and the last state of its child is this one.
fn stopped_with(state: &str) -> (bool, Option<News>) {
    let mut core = core(20_000);
    let mut record = worker_record("w1");
    record["stopping"] = true.into();
    fold(&mut core, Bucket::Workers, &put("w1", 2, &record), 500);
    let status = include_str!("../../../../bus-schema/golden/v1/status.json");
    let mut status: serde_json::Value = serde_json::from_str(status).unwrap();
    status["state"] = state.into();
    status["incarnation"] = record["incarnation"].clone();
    fold(&mut core, Bucket::Status, &put("w1.web.0", 3, &status), 600);
    fold(&mut core, Bucket::Fleet, &touch(5), 1_000);
    fold(&mut core, Bucket::Fleet, &entry("w1._touch.5", 6, Value::Expired), 6_100);
    let lost = (6_100..9_000).step_by(50).find(|t| !core.judge_all(at(*t)).0.is_empty());
    assert!(lost.is_some(), "what ran there is placed elsewhere as before");
    let stopped = core.has_stopped(&"w1".parse().unwrap());
    (stopped, fold(&mut core, Bucket::Fleet, &touch(8), 9_000))
}

#[test]
fn nobody_misses_a_worker_that_said_that_it_stops_and_left_no_child() {
    assert_eq!(stopped_with("STOPPED"), (true, None));
    // It died while it stopped.
    let back = News::Back("w1".parse().unwrap(), 8);
    assert_eq!(stopped_with("STOPPING"), (false, Some(back)));
}

#[test]
fn an_answer_is_a_sign_of_life() {
    let mut core = core(20_000);
    fold(&mut core, Bucket::Fleet, &touch(5), 1_000);
    fold(&mut core, Bucket::Fleet, &entry("w1._touch.5", 6, Value::Expired), 6_000);
    for t in (6_000..9_000).step_by(150) {
        let (lost, ..) = core.judge_all(at(t));
        assert!(lost.is_empty());
        core.answered(&WorkerName::parse("w1").unwrap());
    }
}

#[test]
fn a_placement_under_a_lease_that_never_was_is_judged_from_when_it_was_seen() {
    let mut core = core(20_000);
    fold(&mut core, Bucket::Fleet, &put("w1.web.0", 7, &placement(1, 3)), 10_000);
    assert_eq!(core.shortest_lease(), 3);
    let lost_at = (10_000..20_000).step_by(50).find(|t| !core.judge_all(at(*t)).0.is_empty());
    assert_eq!(lost_at, Some(13_000));
}

#[test]
fn it_is_ready_when_all_is_known_and_not_after_a_reset() {
    let mut core = core(0);
    for bucket in Bucket::STATE {
        assert!(!core.ready());
        core.caught_up(bucket);
    }
    assert!(core.ready());
    fold(&mut core, Bucket::Fleet, &put("w1.web.0", 7, &placement(1, 5)), 0);
    core.reset(Bucket::Fleet);
    assert!(!core.ready() && core.view.placements().next().is_none());
    // The bucket begins anew: its sequences, too.
    fold(&mut core, Bucket::Fleet, &put("w1.web.0", 1, &placement(1, 5)), 0);
    assert_eq!(core.view.placements().count(), 1);
    assert!(
        plan(&mut core.view, Now { boot: at(0), wall: Timestamp::from_unix_nanos(0) }).is_empty()
            || core.view.programs().next().is_none()
    );
}

/// Three workers that touched at 1 s; those of `until` go on until then. When each is lost.
fn lost_at(until: &[(&str, u64)]) -> (BTreeMap<String, u64>, Vec<LeaseKey>) {
    let mut core = core(30_000);
    for (seq, (name, _)) in (10..).zip(until) {
        fold(&mut core, Bucket::Workers, &put(name, seq, &worker_record(name)), 0);
    }
    let (mut lost, mut awaited, mut seq) = (BTreeMap::new(), Vec::new(), 100);
    for t in (1_000..29_000).step_by(50) {
        for (name, end) in until {
            seq += 1;
            let key = format!("{name}._touch.5");
            if t <= *end && t % 1_500 == 1_000 {
                fold(&mut core, Bucket::Fleet, &put(&key, seq, &json!({})), t);
            }
            // Each touched at its end for the last time, about.
            if t == end + 5_200 {
                fold(&mut core, Bucket::Fleet, &entry(&key, seq, Value::Expired), t);
            }
        }
        let (now_lost, ..) = core.judge_all(at(t));
        lost.extend(now_lost.into_iter().map(|(worker, _)| (worker.to_string(), t)));
        awaited.extend(core.take_awaited());
    }
    (lost, awaited)
}

#[test]
fn many_that_are_silent_at_once_are_given_their_time_twice() {
    let (lost, awaited) = lost_at(&[("w1", 4_000), ("w2", 28_000), ("w3", 28_000)]);
    assert_eq!(lost, BTreeMap::from([("w1".to_owned(), 9_200)]));
    assert_eq!(awaited, []);
    // The second expires a second after the first, and was overdue before that.
    let (lost, awaited) = lost_at(&[("w1", 4_000), ("w2", 5_500), ("w3", 28_000)]);
    let at_least = |name: &str, t: u64| assert!(lost[name] >= t, "{lost:?}");
    at_least("w1", 4_000 + 10_000);
    at_least("w2", 5_500 + 10_000);
    assert_eq!(awaited.len(), 2, "each is told once: {awaited:?}");
}

#[test]
fn losses_that_are_far_apart_are_not_many() {
    let (lost, awaited) = lost_at(&[("w1", 4_000), ("w2", 13_000), ("w3", 28_000)]);
    assert_eq!(lost.len(), 2);
    assert!(lost["w2"] < 13_000 + 6_000, "{lost:?}");
    assert_eq!(awaited, []);
}

#[test]
fn a_lease_whose_marker_was_missed_is_found_gone() {
    let mut core = core(60_000);
    fold(&mut core, Bucket::Workers, &put("w1", 4, &worker_record("w1")), 0);
    fold(&mut core, Bucket::Fleet, &touch(5), 1_000);
    let lost = |core: &mut Core, times: std::ops::Range<u64>| {
        times.step_by(150).find(|t| !core.judge_all(at(*t)).0.is_empty())
    };
    assert_eq!(lost(&mut core, 3_000..40_000), None, "nothing says that it has expired");
    let key: LeaseKey = (WorkerName::parse("w1").unwrap(), 5);
    assert_eq!(core.unheard(), std::slice::from_ref(&key));
    // What stands there still is no news.
    core.looked(&key, Some(&touch(5)), at(40_000)).unwrap();
    assert_eq!(lost(&mut core, 40_000..41_000), None);
    core.looked(&key, None, at(41_000)).unwrap();
    assert!(lost(&mut core, 41_000..43_000).is_some());
    assert_eq!(core.unheard(), []);
}

/// A signer, and a text that names it.
fn signer() -> Signer {
    use dsbus_client::{Access, Credentials, Secret};
    let seed = Secret::new(nkeys::KeyPair::new_user().seed().unwrap());
    let credentials = Credentials::Jwt { jwt: Secret::new(""), seed };
    Signer::of(&Access { credentials, ..Access::default() }).unwrap().unwrap()
}

/// What that signer wrote after `after`, as it comes from the bus.
fn signed(by: &Signer, key: &str, seq: u64, body: Option<&serde_json::Value>, after: u64) -> Entry {
    let write = match body {
        Some(body) => Write::put(key, body).unwrap(),
        None => Write::delete(key),
    };
    let write = write.stamp(dsbus_schema::ids::Epoch(after + 1), after);
    let entry = crate::writes::entry(&write, seq, Timestamp::from_unix_nanos(0), "s2");
    Entry { seal: by.seal(&FleetName::default(), &write), ..entry }
}

/// A core that counts what these have signed.
fn trusting(signers: &[&Signer]) -> Core {
    let mut core = core(0);
    let lines: Vec<&str> = signers.iter().map(|signer| signer.public()).collect();
    core.set_signers(Signers::parse(&lines.join("\n")).unwrap());
    core
}

fn at_w1(core: &Core) -> Option<u64> {
    core.view.placed(&"web:0".parse().unwrap()).map(|placed| placed.epoch.0)
}

fn repairs(core: &mut Core) -> Vec<(String, bool)> {
    let now = Now { boot: at(0), wall: Timestamp::from_unix_nanos(0) };
    let repair = |action| match action {
        dsbus_planner::Action::Repair { worker, placement, .. } => {
            Some((worker.to_string(), placement.is_some()))
        }
        _ => None,
    };
    plan(&mut core.view, now).into_iter().filter_map(repair).collect()
}

#[test]
fn what_no_scheduler_signed_confuses_nobody_and_is_written_over() {
    let (ours, other) = (signer(), signer());
    let mut core = trusting(&[&ours]);
    fold(&mut core, Bucket::Fleet, &signed(&ours, "w1.web.0", 7, Some(&placement(5, 5)), 4), 0);
    assert_eq!((at_w1(&core), repairs(&mut core)), (Some(5), vec![]));
    let ack = json!({ "stream": "KV_dsbus_fleet", "seq": 12 });
    let copy = Entry { value: Value::Copied, ..entry("w1.web.0", 14, Value::Deleted) };
    let moved = signed(&ours, "w2.web.0", 11, Some(&placement(5, 5)), 4);
    let forged = [
        put("w1.web.0", 8, &ack),
        put("w1.web.0", 9, &placement(99, 5)),
        entry("w1.web.0", 10, Value::Deleted),
        Entry { key: "w1.web.0".to_owned(), ..moved },
        signed(&other, "w1.web.0", 12, Some(&placement(9, 5)), 11),
        // What was true once is written again.
        signed(&ours, "w1.web.0", 13, Some(&placement(2, 5)), 1),
        copy,
    ];
    for entry in &forged {
        let said = core.fold(Bucket::Fleet, entry, at(0)).unwrap_err().to_string();
        assert!(said.contains("w1.web.0") && said.contains("written over"), "{said}");
        assert_eq!(at_w1(&core), Some(5), "what is known stays");
        assert_eq!(core.view.guard(&"web:0".parse().unwrap()), entry.seq, "it can be written over");
        assert_eq!(repairs(&mut core), [("w1".to_owned(), true)]);
    }
    fold(&mut core, Bucket::Fleet, &signed(&ours, "w1.web.0", 15, Some(&placement(5, 5)), 14), 0);
    assert_eq!((at_w1(&core), repairs(&mut core)), (Some(5), vec![]));
}

#[test]
fn a_move_is_two_writes_after_the_same_one() {
    let ours = signer();
    let mut core = trusting(&[&ours]);
    for entry in [
        signed(&ours, "w1.web.0", 7, Some(&placement(5, 5)), 4),
        signed(&ours, "w1.web.0", 8, None, 7),
        signed(&ours, "w2.web.0", 9, Some(&placement(8, 5)), 7),
    ] {
        fold(&mut core, Bucket::Fleet, &entry, 0);
    }
    assert_eq!((at_w1(&core), repairs(&mut core)), (Some(8), vec![]));
    // Its own writes are known before the watch delivers them.
    let write = Write::delete("w2.web.0").stamp(dsbus_schema::ids::Epoch(9), 9);
    let own = crate::writes::entry(&write, 10, Timestamp::from_unix_nanos(0), "me");
    fold(&mut core, Bucket::Fleet, &own, 0);
    assert_eq!(at_w1(&core), None);
}

#[test]
fn what_a_key_signed_that_counts_no_more_is_signed_anew() {
    let (old, new) = (signer(), signer());
    let mut core = trusting(&[&old]);
    let by_new = signed(&new, "w1.web.0", 8, Some(&placement(5, 5)), 7);
    fold(&mut core, Bucket::Fleet, &signed(&old, "w1.web.0", 7, Some(&placement(5, 5)), 4), 0);
    assert!(core.by_stranger(&by_new));
    let both = [old.public(), new.public()].join("\n");
    core.set_signers(Signers::parse(&both).unwrap());
    assert!(!core.by_stranger(&by_new) && repairs(&mut core).is_empty(), "both count");
    core.set_signers(Signers::parse(new.public()).unwrap());
    assert_eq!(repairs(&mut core), [("w1".to_owned(), true)]);
    fold(&mut core, Bucket::Fleet, &by_new, 0);
    assert_eq!((at_w1(&core), repairs(&mut core)), (Some(5), vec![]));
}
