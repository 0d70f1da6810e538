//! Events on a real server.

use crate::common::{entry, fleet, initial};
use dsbus_client::{Bus, Error, From};
use dsbus_harness::{DEADLINE, wait_for_async};
use dsbus_schema::event::{Event, Fact, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::subject;
use futures::StreamExt;
use uuid::Uuid;

pub(crate) fn event(
    bus: &Bus,
    worker: &str,
    change: WorkerChange,
    number: u128,
) -> (Source, Event) {
    let worker = WorkerName::parse(worker).unwrap();
    let source = Source::Worker(worker.clone());
    let fact =
        Fact::Worker(WorkerFact { worker, change, reason: None, incarnation: None, dropped: None });
    let time = Timestamp::from_unix_nanos(1_790_000_000_000_000_000);
    let event = Event::new(bus.fleet(), &source, Uuid::from_u128(number), time, fact);
    (source, event)
}

pub(crate) async fn publish(bus: &Bus, worker: &str, change: WorkerChange, number: u128) -> Event {
    let (source, event) = event(bus, worker, change, number);
    // A server that is slow to answer is told again: one event is stored once.
    wait_for_async("an event that is stored", DEADLINE, async || {
        match bus.publish_event(&source, &event).await {
            Ok(()) => Some(()),
            Err(Error::Timeout) => None,
            Err(other) => panic!("{other}"),
        }
    })
    .await;
    event
}

#[tokio::test]
async fn the_same_event_is_stored_once() {
    let (_server, bus) = fleet().await;
    let all = subject::events(bus.fleet());
    assert_eq!(bus.last_event(&all).await, Ok(None));
    let first = publish(&bus, "w1", WorkerChange::Started, 1).await;
    publish(&bus, "w1", WorkerChange::Started, 1).await;
    let second = publish(&bus, "w2", WorkerChange::Started, 2).await;
    let seen = initial(&mut bus.watch_events(&all, From::All, "t")).await;
    let ids: Vec<_> = seen.iter().map(|e| e.json::<Event>().unwrap().unwrap().id).collect();
    assert_eq!(ids, [first.id, second.id]);
    assert_eq!(seen[0].key, "dsbus.default.event.w1.worker._._.STARTED");
    assert_eq!(bus.last_event(&all).await, Ok(Some(second)));
    assert_eq!(bus.last_event("dsbus.default.event.w1.>").await, Ok(Some(first)));
}

#[tokio::test]
async fn a_watch_begins_where_it_is_told() {
    let (_server, bus) = fleet().await;
    let all = subject::events(bus.fleet());
    for i in 1..=30 {
        let worker = if i % 3 == 0 { "w3" } else { "w1" };
        publish(&bus, worker, WorkerChange::Started, i).await;
    }
    let w3 = "dsbus.default.event.w3.>";
    for (subject, from, wanted) in [
        (all.as_str(), From::All, (1..=30).collect::<Vec<u64>>()),
        (&all, From::New, vec![]),
        (&all, From::Last(0), vec![]),
        (&all, From::Last(2), vec![29, 30]),
        (&all, From::Last(100), (1..=30).collect()),
        (w3, From::Last(1), vec![30]),
        (w3, From::Last(4), vec![21, 24, 27, 30]),
        (w3, From::Last(100), (1..=10).map(|i| i * 3).collect()),
        (w3, From::Time(Timestamp::from_unix_nanos(0)), (1..=10).map(|i| i * 3).collect()),
        (&all, From::Sequence(29), vec![29, 30]),
        (w3, From::Sequence(25), vec![27, 30]),
        (w3, From::Sequence(31), vec![]),
    ] {
        let seen = initial(&mut bus.watch_events(subject, from, "t")).await;
        let seqs: Vec<_> = seen.iter().map(|e| e.seq).collect();
        assert_eq!(seqs, wanted, "{subject} {from:?}");
    }
}

#[tokio::test]
async fn new_events_come_as_they_happen() {
    let (_server, bus) = fleet().await;
    let all = subject::events(bus.fleet());
    publish(&bus, "w1", WorkerChange::Started, 1).await;
    let mut watch = bus.watch_events(&all, From::New, "t");
    assert_eq!(initial(&mut watch).await, []);
    let mut feed = bus.event_feed(&all).await.unwrap();
    let event = publish(&bus, "w1", WorkerChange::Stopped, 2).await;
    assert_eq!(entry(&mut watch).await.json(), Ok(Some(event.clone())));
    let heard = tokio::time::timeout(DEADLINE, feed.next()).await.unwrap();
    assert_eq!(heard, Some(event));
}
