use dsbus_client::{Access, Credentials, Secret, Signer, Write};
use dsbus_schema::call::Hold;
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Incarnation, ProgramId};
use dsbus_schema::lenient::Span;
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::placement::{Rest, RestState};
use dsbus_schema::program::ProgramSpec;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

mod earlier;

fn worker() -> WorkerName {
    WorkerName::parse("w1").unwrap()
}

fn name(index: u32) -> InstanceId {
    format!("web:{index}").parse().unwrap()
}

fn placement(epoch: u64, seconds: u64) -> Placement {
    let touch_timeout = Some(Span::from_secs(seconds));
    let id = ProgramId(Uuid::from_u128(1));
    let wanted = Wanted { run: true, ..Wanted::default() };
    let spec = ProgramSpec { touch_timeout, ..ProgramSpec::default() };
    Placement::new(id, 1, Epoch(epoch), wanted, spec)
}

fn item(key: &str, seq: u64, value: Value) -> Item {
    let time = Timestamp::from_unix_nanos(0);
    Item::Entry(Entry {
        key: key.to_owned(),
        seq,
        value,
        time,
        by: None,
        note: bytes::Bytes::new(),
        seal: None,
    })
}

fn put(key: &str, seq: u64, body: &impl serde::Serialize) -> Item {
    item(key, seq, Value::Put(serde_json::to_vec(body).unwrap().into()))
}

#[test]
fn placements_come_change_and_go() {
    let mut p = Placements::new(worker());
    let (one, two) = (placement(3, 5), Placement { revision: 2, ..placement(3, 5) });
    assert_eq!(p.take(put("w1.web.0", 1, &one)), Some(Change::Placed(name(0))));
    assert_eq!(p.take(put("w1.web.0", 1, &one)), None, "delivered twice");
    assert_eq!(p.take(put("w1.web.0", 2, &two)), Some(Change::Placed(name(0))));
    assert_eq!(p.placed()[&name(0)].revision, 2);
    assert_eq!(p.take(Item::CaughtUp), Some(Change::CaughtUp));
    let gone = item("w1.web.0", 3, Value::Deleted);
    assert_eq!(p.take(gone.clone()), Some(Change::Unplaced(name(0))));
    assert_eq!(p.take(gone), None);
    assert!(p.placed().is_empty());
}

fn signer() -> Signer {
    let seed = Secret::new(nkeys::KeyPair::new_user().seed().unwrap());
    let credentials = Credentials::Jwt { jwt: Secret::new(""), seed };
    Signer::of(&Access { credentials, ..Access::default() }).unwrap().unwrap()
}

/// What that signer wrote of web:0, or took away, after `after`.
fn signed(by: &Signer, seq: u64, body: Option<&Placement>, (epoch, after): (u64, u64)) -> Item {
    let write = match body {
        Some(body) => Write::put("w1.web.0", body).unwrap(),
        None => Write::delete("w1.web.0"),
    };
    let write = write.stamp(Epoch(epoch), after);
    let Item::Entry(entry) =
        item("w1.web.0", seq, write.body.clone().map_or(Value::Deleted, Value::Put))
    else {
        unreachable!()
    };
    Item::Entry(Entry { seal: by.seal(&FleetName::default(), &write), ..entry })
}

fn listed(signers: &[&Signer]) -> Signers {
    let lines: Vec<&str> = signers.iter().map(|signer| signer.public()).collect();
    Signers::parse(&lines.join("\n")).unwrap()
}

#[test]
fn what_no_scheduler_signed_changes_nothing() {
    let (ours, other) = (signer(), signer());
    let mut p = Placements::new(worker()).signed_by(FleetName::default(), listed(&[&ours]));
    let refused = |change: Option<Change>| match change {
        Some(Change::Refused { name, why, .. }) => (name, why),
        other => panic!("{other:?}"),
    };
    let real = placement(5, 15);
    // Before anything was placed, and then over what is placed.
    for round in 0..2 {
        let unsigned = [
            put("w1.web.0", 8 + round * 20, &real),
            put("w1.web.0", 9 + round * 20, &serde_json::json!({ "stream": "S", "seq": 4 })),
            item("w1.web.0", 10 + round * 20, Value::Deleted),
            item("w1.web.0", 11 + round * 20, Value::Copied),
            signed(&other, 12 + round * 20, Some(&placement(9, 5)), (9, 8)),
            signed(&other, 13 + round * 20, None, (9, 8)),
        ];
        for forged in unsigned {
            let (of, _) = refused(p.take(forged));
            assert_eq!(of, name(0));
            assert_eq!(p.placed().contains_key(&name(0)), round == 1);
            assert_eq!(
                p.unknown().contains(&name(0)),
                round == 0,
                "whether it is here is not known"
            );
        }
        assert!(p.meets_strangers(), "the last one is signed");
        let why = format!(
            "what stands on the bus of web:0: its signer {} is none of ours",
            other.public()
        );
        assert_eq!(p.distrusts(), [why]);
        let back = signed(&ours, 20 + round * 20, Some(&real), (5, 19 + round * 20));
        assert_eq!(p.take(back), (round == 0).then(|| Change::Placed(name(0))));
        assert!(p.unknown().is_empty() && !p.meets_strangers() && !p.doubts(15));
        assert!(p.distrusts().is_empty());
    }
    assert_eq!(p.placed()[&name(0)], real);
}

#[test]
fn what_was_true_once_is_refused_when_it_is_written_again() {
    let ours = signer();
    let mut p = Placements::new(worker()).signed_by(FleetName::default(), listed(&[&ours]));
    let (stopped, runs) = (placement(5, 5), Placement { revision: 2, ..placement(5, 5) });
    let (first, gone) = (signed(&ours, 8, Some(&stopped), (5, 4)), signed(&ours, 10, None, (5, 9)));
    assert!(matches!(p.take(first.clone()), Some(Change::Placed(_))));
    assert!(matches!(p.take(signed(&ours, 9, Some(&runs), (5, 8))), Some(Change::Placed(_))));
    let again = |item: &Item, seq| match item.clone() {
        Item::Entry(entry) => Item::Entry(Entry { seq, ..entry }),
        other => other,
    };
    let older =
        |change| matches!(change, Some(Change::Refused { why, .. }) if why.contains("older"));
    assert!(older(p.take(again(&first, 10))), "the same epoch, and an older word");
    assert_eq!(p.placed()[&name(0)].revision, 2);
    assert_eq!(p.take(gone.clone()), Some(Change::Unplaced(name(0))));
    assert!(older(p.take(again(&first, 12))));
    assert!(p.placed().is_empty());
    let anew = Placement { epoch: Epoch(13), ..runs };
    assert!(matches!(p.take(signed(&ours, 13, Some(&anew), (13, 12))), Some(Change::Placed(_))));
    assert!(older(p.take(again(&gone, 14))), "a tombstone of an earlier epoch");
    assert_eq!(p.placed()[&name(0)].epoch, Epoch(13));
    // Also where what it followed is not known, an epoch is.
    assert!(older(p.take(signed(&ours, 16, None, (12, 14)))));
    // It cannot have followed what is younger than itself.
    assert!(older(p.take(signed(&ours, 16, None, (13, 16)))));
}

#[test]
fn a_new_signer_counts_once_he_is_named_and_two_do_at_once() {
    let (old, new) = (signer(), signer());
    let mut p = Placements::new(worker()).signed_by(FleetName::default(), listed(&[&old]));
    assert!(p.take(signed(&old, 5, Some(&placement(2, 5)), (2, 1))).is_some());
    let by_new = signed(&new, 8, Some(&placement(6, 5)), (6, 5));
    assert!(matches!(p.take(by_new.clone()), Some(Change::Refused { .. })));
    assert_eq!(p.trust(listed(&[&old])), [], "nothing has changed");
    assert_eq!((p.still_strange().len(), p.still_strange().len()), (1, 0), "told once");
    let again = p.trust(listed(&[&old, &new]));
    assert_eq!(again.len(), 1);
    let change = p.take(Item::Entry(again.into_iter().next().unwrap()));
    assert_eq!(change, Some(Change::Placed(name(0))));
    let by_old = signed(&old, 9, Some(&Placement { revision: 2, ..placement(6, 5) }), (6, 8));
    assert_eq!(p.take(by_old), Some(Change::Placed(name(0))));
    assert_eq!(p.trust(listed(&[&new])), []);
    let by_old = signed(&old, 10, None, (6, 9));
    assert!(matches!(p.take(by_old), Some(Change::Refused { .. })), "he counts no more");
}

#[test]
fn exclusive_instances_that_are_doubtful_are_told_by_their_lease() {
    let ours = signer();
    let mut p = Placements::new(worker()).signed_by(FleetName::default(), listed(&[&ours]));
    for (exclusive, seq) in [(false, 5), (true, 15)] {
        let spec = ProgramSpec { exclusive, ..placement(1, 15).spec };
        let placed = Placement { spec, ..placement(1, 15) };
        assert!(p.take(signed(&ours, seq, Some(&placed), (1, seq - 1))).is_some());
        assert!(!p.doubts(15));
        assert!(p.take(item("w1.web.0", seq + 1, Value::Deleted)).is_some());
        assert_eq!((p.doubts(15), p.doubts(5)), (exclusive, false));
    }
    // It may live by any of them.
    assert!(p.take(put("w1.web.1", 30, &placement(1, 5))).is_some());
    assert!(p.doubts(15) && p.doubts(5));
}

#[test]
fn an_outdated_epoch_is_refused() {
    let mut p = Placements::new(worker());
    assert!(p.take(put("w1.web.0", 1, &placement(7, 5))).is_some());
    assert!(matches!(p.take(put("w1.web.0", 2, &placement(6, 5))), Some(Change::Odd { .. })));
    assert_eq!(p.placed()[&name(0)].epoch, Epoch(7));
    assert!(p.take(item("w1.web.0", 3, Value::Deleted)).is_some());
    assert!(matches!(p.take(put("w1.web.0", 4, &placement(6, 5))), Some(Change::Odd { .. })));
    // A stream that began anew may have gone back in time.
    assert_eq!(p.take(Item::Reset), Some(Change::Reset));
    assert!(matches!(p.take(put("w1.web.0", 1, &placement(6, 5))), Some(Change::Odd { .. })));
    assert_eq!(p.take(put("w1.web.0", 2, &placement(8, 5))), Some(Change::Placed(name(0))));
}

#[test]
fn silence_ends_no_placement_but_an_exclusive_one() {
    let mut p = Placements::new(worker());
    let mut exclusive = placement(9, 5);
    exclusive.spec.exclusive = true;
    for (key, seq, placement) in [
        ("w1.web.0", 1, placement(7, 5)),
        ("w1.web.1", 2, exclusive),
        ("w1.web.2", 3, placement(8, 5)),
    ] {
        assert!(p.take(put(key, seq, &placement)).is_some());
    }
    assert_eq!(p.take(Item::CaughtUp), Some(Change::CaughtUp));
    assert_eq!(p.take(Item::Reset), Some(Change::Reset));
    // A tombstone of before what runs here is no word about it; one that names its epoch is.
    assert!(matches!(p.take(item("w1.web.0", 5, Value::Deleted)), Some(Change::Odd { .. })));
    assert_eq!(p.take(item("w1.web.2", 8, Value::Deleted)), Some(Change::Unplaced(name(2))));
    assert!(p.adrift().is_empty(), "all of it may still be named");
    assert_eq!(p.take(Item::CaughtUp), Some(Change::CaughtUp));
    let adrift: Vec<_> = p.adrift().keys().cloned().collect();
    assert_eq!((adrift, p.unknown().len()), (vec![name(0)], 1));
    let inventory = p.inventory(None, |_| Some(5));
    let holds: Vec<_> = inventory.instances.iter().map(|held| (held.hold, held.epoch)).collect();
    assert_eq!(holds, [(Hold::Adrift, Epoch(7)), (Hold::LetGo, Epoch(9))]);
    assert_eq!(p.inventory(Some(&name(0)), |_| None).instances.len(), 1);
    // What comes now is new, and counts.
    assert_eq!(p.take(item("w1.web.0", 6, Value::Deleted)), Some(Change::Unplaced(name(0))));
    assert!(p.adrift().is_empty());
}

#[test]
fn what_the_supervisor_has_is_adrift_until_it_is_named() {
    let mut p = Placements::new(worker());
    for index in 0..3 {
        p.held(name(index), placement(7, 5));
    }
    assert_eq!(p.take(put("w1.web.0", 9, &placement(7, 5))), Some(Change::Placed(name(0))));
    assert_eq!(p.take(item("w1.web.1", 10, Value::Deleted)), Some(Change::Unplaced(name(1))));
    assert!(matches!(p.take(put("w1.web.2", 3, &placement(2, 5))), Some(Change::Odd { .. })));
    assert_eq!(p.take(Item::CaughtUp), Some(Change::CaughtUp));
    assert_eq!(p.adrift().keys().collect::<Vec<_>>(), [&name(2)]);
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    let mut p = Placements::new(worker());
    assert!(p.take(put("w1.web.0", 1, &placement(7, 5))).is_some());
    for (key, value) in
        [("w1.web.0", "{}"), ("w1.web.1", "nonsense"), ("w1.web", "{}"), ("w1.a.b.c.d", "{}")]
    {
        let change = p.take(item(key, 9, Value::Put(value.into())));
        assert!(matches!(change, Some(Change::Odd { .. })), "{key}");
    }
    assert_eq!(p.take(put("w2.web.0", 9, &placement(8, 5))), None, "another worker's");
    assert_eq!(p.placed().len(), 1);
}

#[test]
fn leases_are_one_for_each_distinct_timeout_and_the_presence() {
    let mut p = Placements::new(worker());
    let classes = |p: &Placements| p.classes().into_iter().collect::<Vec<_>>();
    assert_eq!(classes(&p), [5]);
    for (index, seconds) in [(0, 5), (1, 15), (2, 15), (3, 2)] {
        let key = format!("w1.web.{index}");
        assert!(p.take(put(&key, 1, &placement(1, seconds))).is_some());
    }
    assert_eq!(classes(&p), [2, 5, 15]);
    assert!(p.take(item("w1.web.3", 2, Value::Deleted)).is_some());
    assert_eq!(classes(&p), [5, 15]);
}

#[test]
fn touches_are_told_apart() {
    let mut p = Placements::new(worker());
    let touch = Touch {
        machine: "m".into(),
        boot: Uuid::nil(),
        directory: "/d".into(),
        host: "h".into(),
        incarnation: Incarnation(Uuid::from_u128(1)),
        attempt: 3,
        sent: BootTime(9),
    };
    let mut told = |item| match p.take(item) {
        Some(Change::Touched(5, seen)) => seen,
        other => panic!("{other:?}"),
    };
    let seen = told(put("w1._touch.5", 1, &touch));
    assert_eq!(seen, Seen { seq: 1, touch: Some(touch) });
    for gone in [Value::Expired, Value::Deleted] {
        assert_eq!(told(item("w1._touch.5", 2, gone)), Seen { seq: 2, touch: None });
    }
    let strange = told(item("w1._touch.5", 3, Value::Put("?".into())));
    assert!(strange.touch.is_some(), "somebody lives there");
    assert_eq!(p.touches()[&5].seq, 3);
}

proptest! {
    /// Told only the changes, a supervisor has what the fold has.
    #[test]
    fn the_changes_lead_to_the_fold(steps in prop::collection::vec((0u32..4, 0u64..5), 0..60)) {
        let mut p = Placements::new(worker());
        let mut told = BTreeMap::new();
        for (seq, (index, epoch)) in steps.into_iter().enumerate() {
            let (key, seq) = (format!("w1.web.{index}"), seq as u64);
            let change = p.take(match epoch {
                0 => item(&key, seq, Value::Deleted),
                _ => put(&key, seq, &placement(epoch, 5)),
            });
            match change {
                Some(Change::Placed(name)) => {
                    let placement = p.placed()[&name].clone();
                    told.insert(name, placement);
                }
                Some(Change::Unplaced(name)) => { told.remove(&name); }
                _ => {}
            }
            prop_assert_eq!(&told, p.placed());
        }
    }
}
