use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Incarnation, ProgramId};
use dsbus_schema::lenient::Span;
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::program::ProgramSpec;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

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

#[test]
fn an_outdated_epoch_is_refused() {
    let mut p = Placements::new(worker());
    assert!(p.take(put("w1.web.0", 1, &placement(7, 5))).is_some());
    assert!(matches!(p.take(put("w1.web.0", 2, &placement(6, 5))), Some(Change::Odd { .. })));
    assert_eq!(p.placed()[&name(0)].epoch, Epoch(7));
    assert!(p.take(item("w1.web.0", 3, Value::Deleted)).is_some());
    assert!(matches!(p.take(put("w1.web.0", 4, &placement(6, 5))), Some(Change::Odd { .. })));
    // A stream that began anew may begin its epochs anew.
    assert_eq!(p.take(Item::Reset), Some(Change::Reset));
    assert_eq!(p.take(put("w1.web.0", 1, &placement(1, 5))), Some(Change::Placed(name(0))));
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
