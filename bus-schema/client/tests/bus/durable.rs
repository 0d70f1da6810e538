//! Durable consumers on real servers: nothing is lost, and nothing comes twice without a reason.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use dsbus_client::{ACK_WAIT, Begin, Bus, Durable, DurableOptions, Error, Heard, Share};
use dsbus_harness::{Cluster, DEADLINE, wait_for_async};
use dsbus_schema::event::WorkerChange::Started;
use dsbus_schema::subject;

use crate::cluster::{ELECTION_MAX, connect as connect_first};
use crate::common::{connect, fleet, raw, wait_connected};
use crate::events::{event, publish};

pub(crate) fn options(bus: &Bus, share: Share, window: u16) -> DurableOptions {
    DurableOptions {
        name: "t".to_owned(),
        subjects: vec![subject::events(bus.fleet())],
        begin: Begin::All,
        share,
        window: NonZeroU16::new(window).unwrap(),
    }
}

pub(crate) fn one(bus: &Bus) -> Durable {
    bus.durable(options(bus, Share::One, 64))
}

pub(crate) async fn next(durable: &mut Durable) -> Heard {
    tokio::time::timeout(ELECTION_MAX, durable.next()).await.expect("an event").unwrap()
}

/// Sequences and tries of the next `n`, each acknowledged.
pub(crate) async fn take(durable: &mut Durable, n: usize) -> Vec<(u64, u64)> {
    let mut taken = Vec::new();
    for _ in 0..n {
        let heard = next(durable).await;
        taken.push((heard.seq, heard.tries));
        heard.ack();
    }
    taken
}

fn first(seqs: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    seqs.into_iter().map(|seq| (seq, 1)).collect()
}

pub(crate) async fn tell(bus: &Bus, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        publish(bus, "w1", Started, u128::from(number)).await;
    }
}

/// How many events the server has not heard to be done, and the last one up to which all are.
pub(crate) async fn pending(bus: &Bus, client: &async_nats::Client) -> (u64, u64) {
    let stream = dsbus_schema::storage::events_stream(bus.fleet());
    let info =
        client.request(format!("$JS.API.CONSUMER.INFO.{stream}.t"), "".into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.payload).unwrap();
    let floor = info["ack_floor"]["stream_seq"].as_u64().unwrap_or_default();
    (info["num_ack_pending"].as_u64().unwrap_or_default(), floor)
}

#[tokio::test]
async fn a_reader_goes_on_where_the_last_one_ended() {
    let (server, bus) = fleet().await;
    tell(&bus, 1..=300).await;
    let mut reader = one(&bus);
    assert_eq!(take(&mut reader, 200).await, first(1..=200));
    let held = next(&mut reader).await;
    assert_eq!(held.seq, 201);
    drop(held);
    reader.close().await;
    let client = raw(&server).await;
    wait_for_async("what is done", DEADLINE, async || {
        (pending(&bus, &client).await.1 == 200).then_some(())
    })
    .await;
    let mut reader = one(&bus);
    let seqs: Vec<u64> = take(&mut reader, 100).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, (201..=300).collect::<Vec<u64>>(), "in order, also those given back");
}

#[tokio::test]
async fn what_a_reader_died_with_comes_again_first() {
    let (server, bus) = fleet().await;
    tell(&bus, 1..=20).await;
    let other = connect(&server).await;
    let mut dying = one(&other);
    take(&mut dying, 5).await;
    let client = raw(&server).await;
    wait_for_async("what is done", DEADLINE, async || {
        (pending(&bus, &client).await.1 == 5).then_some(())
    })
    .await;
    let held = next(&mut dying).await;
    let mut standing_by = one(&bus);
    // Dropping it leaves nothing behind that speaks for it, as a death does.
    drop((held, dying, other));
    tell(&bus, 21..=30).await;
    let seqs: Vec<u64> = take(&mut standing_by, 25).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, (6..=30).collect::<Vec<u64>>());
}

#[tokio::test]
async fn one_reads_and_others_stand_by() {
    let (server, bus) = fleet().await;
    tell(&bus, 1..=1).await;
    let mut reading = one(&bus);
    assert_eq!(take(&mut reading, 1).await, first([1]));
    let mut standing_by = one(&connect(&server).await);
    tell(&bus, 2..=100).await;
    tokio::select! {
        heard = standing_by.next() => panic!("{heard:?}"),
        taken = take(&mut reading, 99) => assert_eq!(taken, first(2..=100)),
    }
    reading.close().await;
    tell(&bus, 101..=103).await;
    assert_eq!(take(&mut standing_by, 3).await, first(101..=103));
}

#[tokio::test]
async fn many_share_and_each_event_goes_to_one() {
    let (_server, bus) = fleet().await;
    let share = options(&bus, Share::Many, 4);
    let (mut a, mut b) = (bus.durable(share.clone()), bus.durable(share));
    let mut told = 100;
    tell(&bus, 1..=told).await;
    let mut seen = BTreeMap::new();
    let mut by = [0, 0];
    loop {
        if seen.len() == usize::try_from(told).unwrap() {
            if by.iter().all(|n| *n > 0) {
                break;
            }
            // One of them may have come when all were taken.
            assert!(told < 2000, "{by:?}");
            tell(&bus, told + 1..=told + 100).await;
            told += 100;
        }
        let (heard, whose) = tokio::select! {
            heard = next(&mut a) => (heard, 0),
            heard = next(&mut b) => (heard, 1),
        };
        by[whose] += 1;
        assert_eq!(seen.insert(heard.seq, heard.tries), None, "{} came twice", heard.seq);
        heard.ack();
    }
}

#[tokio::test]
async fn what_is_held_does_not_come_again_and_what_is_given_back_does() {
    let (server, bus) = fleet().await;
    tell(&bus, 1..=3).await;
    let mut reader = one(&bus);
    let (held, given) = (next(&mut reader).await, next(&mut reader).await);
    assert_eq!(take(&mut reader, 1).await, first([3]));
    given.back();
    assert_eq!(take(&mut reader, 1).await, [(2, 2)]);
    // The server counts deliveries: for longer than it would wait, there is none more.
    let client = raw(&server).await;
    assert!(tokio::time::timeout(ACK_WAIT * 2, reader.next()).await.is_err());
    assert_eq!(pending(&bus, &client).await, (1, 0));
    held.ack();
    wait_for_async("that all is done", DEADLINE, async || {
        (pending(&bus, &client).await == (0, 3)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_more_are_delivered_than_the_window_holds() {
    let (_server, bus) = fleet().await;
    tell(&bus, 1..=20).await;
    let mut reader = bus.durable(options(&bus, Share::Many, 3));
    let mut held = vec![next(&mut reader).await, next(&mut reader).await, next(&mut reader).await];
    assert!(tokio::time::timeout(Duration::from_secs(1), reader.next()).await.is_err());
    held.remove(0).ack();
    assert_eq!(next(&mut reader).await.seq, 4);
}

#[tokio::test]
async fn what_is_stored_once_it_is_there_is_heard() {
    let (_server, bus) = fleet().await;
    tell(&bus, 1..=5).await;
    let new = DurableOptions { begin: Begin::New, ..options(&bus, Share::One, 8) };
    let mut reader = bus.durable(new);
    tokio::time::timeout(DEADLINE, reader.opened()).await.expect("the consumer is there");
    tell(&bus, 6..=6).await;
    assert_eq!(take(&mut reader, 1).await, first([6]));
}

#[tokio::test]
async fn what_a_slow_reader_leaves_another_one_takes() {
    let (_server, bus) = fleet().await;
    let share = options(&bus, Share::Many, 50);
    let mut slow = bus.durable(share.clone());
    slow.hold(NonZeroU16::new(2).unwrap());
    tell(&bus, 1..=1).await;
    take(&mut slow, 1).await;
    tell(&bus, 2..=40).await;
    let held = [next(&mut slow).await, next(&mut slow).await];
    let mut quick = bus.durable(share);
    // All but what is held, and what was on its way before the limit was known.
    let mut seqs: Vec<u64> = take(&mut quick, 37).await.into_iter().map(|(seq, _)| seq).collect();
    seqs.extend(held.map(|heard| heard.seq));
    seqs.sort_unstable();
    assert_eq!(seqs, (2..=40).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_consumer_that_was_read_by_one_can_be_shared_and_back() {
    let (_server, bus) = fleet().await;
    tell(&bus, 1..=10).await;
    let mut seqs = Vec::new();
    for share in [Share::One, Share::Many, Share::One] {
        let mut reader = bus.durable(options(&bus, share, 8));
        seqs.extend(take(&mut reader, 3).await);
        reader.close().await;
    }
    // What was pulled and not taken was given back.
    let seqs: Vec<u64> = seqs.into_iter().map(|(seq, _)| seq).collect();
    let mut sorted = seqs.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 9, "{seqs:?}");
}

#[tokio::test]
async fn a_server_that_restarts_costs_nothing_and_doubles_nothing() {
    let (mut server, bus) = fleet().await;
    tell(&bus, 1..=50).await;
    let mut reader = one(&bus);
    take(&mut reader, 20).await;
    let held = next(&mut reader).await;
    server.kill();
    wait_connected(&bus, false).await;
    held.ack();
    server.restart();
    wait_connected(&bus, true).await;
    for number in 51..=60 {
        let (source, event) = event(&bus, "w1", Started, number);
        wait_for_async("the stream", DEADLINE, async || {
            bus.publish_event(&source, &event).await.ok()
        })
        .await;
    }
    let seqs: Vec<u64> = take(&mut reader, 39).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, (22..=60).collect::<Vec<u64>>());
    let client = raw(&server).await;
    wait_for_async("that all is done", DEADLINE, async || {
        (pending(&bus, &client).await == (0, 60)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_is_deleted_is_made_anew_where_it_was() {
    let (_server, bus) = fleet().await;
    tell(&bus, 1..=10).await;
    let mut reader = one(&bus);
    assert_eq!(take(&mut reader, 10).await, first(1..=10));
    assert_eq!(bus.forget_durable("t").await, Ok(true));
    assert_eq!(bus.forget_durable("nobody").await, Ok(false));
    tell(&bus, 11..=12).await;
    assert_eq!(take(&mut reader, 2).await, first(11..=12));
}

#[tokio::test]
async fn other_subjects_are_taken_over() {
    let (_server, bus) = fleet().await;
    let mut reader = one(&bus);
    tell(&bus, 1..=2).await;
    take(&mut reader, 2).await;
    reader.close().await;
    let of = |worker: &str| format!("dsbus.default.event.{worker}.>");
    let two = DurableOptions { subjects: vec![of("w2"), of("w3")], ..options(&bus, Share::One, 8) };
    let mut reader = bus.durable(two);
    publish(&bus, "w1", Started, 3).await;
    publish(&bus, "w3", Started, 4).await;
    publish(&bus, "w2", Started, 5).await;
    // Those of the time before it looked again may be of the old subjects.
    let mut seqs = Vec::new();
    while seqs.last() != Some(&5) {
        seqs.extend(take(&mut reader, 1).await.into_iter().map(|(seq, _)| seq));
    }
    assert!(seqs.ends_with(&[4, 5]), "{seqs:?}");
}

#[tokio::test]
async fn what_can_never_work_is_told() {
    let (server, bus) = fleet().await;
    let error_of = async |options| {
        let mut reader = bus.durable(options);
        // As a listener does that takes what is here first.
        let told = async {
            loop {
                assert!(reader.next_here().is_none());
                tokio::select! {
                    biased;
                    told = reader.next() => return told.unwrap_err(),
                    () = tokio::task::yield_now() => {}
                }
            }
        };
        tokio::time::timeout(DEADLINE, told).await.expect("an error")
    };
    let dotted = DurableOptions { name: "a.b".to_owned(), ..options(&bus, Share::One, 8) };
    let error = error_of(dotted).await;
    assert_eq!(error.to_string(), "a.b: must be 1 to 64 letters, digits, _ and -");
    let none = DurableOptions { subjects: Vec::new(), ..options(&bus, Share::One, 8) };
    assert_eq!(error_of(none).await.to_string(), "t: must have at least one subject");
    // Another kind of consumer has the name.
    let config = serde_json::json!({ "name": "t", "durable_name": "t", "ack_policy": "none" });
    let body = serde_json::json!({ "stream_name": "DSBUS_EVENTS", "config": config }).to_string();
    let client = raw(&server).await;
    client.request("$JS.API.CONSUMER.CREATE.DSBUS_EVENTS.t", body.into()).await.unwrap();
    let error = error_of(options(&bus, Share::One, 8)).await;
    assert!(matches!(error, Error::Api { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_leader_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start(3);
    let stream = "DSBUS_EVENTS";
    let bus = connect_first(&cluster, 0).await;
    let leader = cluster.leader(stream);
    // Connected to another node than the one that is killed, and then to that one itself.
    let readers =
        [connect_first(&cluster, (leader + 1) % 3).await, connect_first(&cluster, leader).await];
    let durable = |bus: &Bus, name: &str| {
        bus.durable(DurableOptions { name: name.to_owned(), ..options(bus, Share::One, 64) })
    };
    let mut durables = [durable(&readers[0], "a"), durable(&readers[1], "b")];
    tell(&bus, 1..=20).await;
    for durable in &mut durables {
        assert_eq!(take(durable, 20).await, first(1..=20));
    }
    cluster.nodes[leader].kill();
    let (mut stored, mut number) = (0, 1000);
    while stored < 50 {
        number += 1;
        let (source, event) = event(&bus, "w1", Started, number);
        wait_for_async("an event that is stored", ELECTION_MAX, async || {
            bus.publish_event(&source, &event).await.ok()
        })
        .await;
        stored += 1;
    }
    for durable in &mut durables {
        let mut ids = Vec::new();
        while ids.len() < 50 {
            let heard = next(durable).await;
            ids.push(heard.event.id.as_u128());
            heard.ack();
        }
        assert_eq!(ids, (1001..=1050).collect::<Vec<u128>>());
    }
}
