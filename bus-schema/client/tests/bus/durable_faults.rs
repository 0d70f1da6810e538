//! Durable consumers when connections, streams, consumers and readers go away.

use std::fs;

use dsbus_client::{ACK_WAIT, Begin, Bus, Durable, DurableOptions, Share};
use dsbus_harness::{DEADLINE, wait_for_async};

use crate::common::{breakable, connect, copy, fleet, provision, raw, wait_connected};
use crate::durable::{next, one, options, pending, take, tell};

async fn seqs(durable: &mut Durable, n: usize) -> Vec<u64> {
    take(durable, n).await.into_iter().map(|(seq, _)| seq).collect()
}

async fn opened(durable: &Durable) {
    tokio::time::timeout(DEADLINE, durable.opened()).await.expect("the consumer is there");
}

/// Waits until so many events are with readers, and all up to `floor` are done.
async fn wait_pending(bus: &Bus, client: &async_nats::Client, count: u64, floor: u64) {
    wait_for_async("what readers hold", DEADLINE, async || {
        (pending(bus, client).await == (count, floor)).then_some(())
    })
    .await;
}

/// Whether something is with readers, or soon will be: a pull that is lost is followed by none.
async fn delivered(bus: &Bus, client: &async_nats::Client) -> bool {
    let some = wait_for_async("what readers hold", DEADLINE, async || {
        (pending(bus, client).await.0 > 0).then_some(())
    });
    tokio::time::timeout(ACK_WAIT / 2, some).await.is_ok()
}

async fn api(client: &async_nats::Client, call: &str, body: &'static str) {
    let answer = client.request(format!("$JS.API.{call}"), body.into()).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(answer["error"], serde_json::Value::Null, "{call}");
}

fn events(bus: &Bus, worker: &str) -> DurableOptions {
    let subjects = vec![format!("dsbus.{}.event.{worker}.>", bus.fleet())];
    DurableOptions { subjects, ..options(bus, Share::One, 64) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broken_connection_lost_comes_in_its_order() {
    let (server, bus) = fleet().await;
    let client = raw(&server).await;
    let (proxy, broken) = breakable(&server).await;
    let mut reader = one(&broken);
    tell(&bus, 1..=5).await;
    assert_eq!(seqs(&mut reader, 5).await, (1..=5).collect::<Vec<u64>>());
    wait_pending(&bus, &client, 0, 5).await;
    let mut upto = 5;
    loop {
        proxy.swallow();
        tell(&bus, upto + 1..=upto + 35).await;
        let is_lost = delivered(&bus, &client).await;
        proxy.cut();
        wait_connected(&broken, false).await;
        proxy.heal();
        tell(&bus, upto + 36..=upto + 55).await;
        assert_eq!(seqs(&mut reader, 55).await, (upto + 1..=upto + 55).collect::<Vec<u64>>());
        if is_lost {
            return;
        }
        // On a busy machine its pull was over before anything came: once more.
        upto += 55;
        assert!(upto < 500, "nothing is ever lost");
        wait_pending(&bus, &client, 0, upto).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_made_anew_is_heard_from_its_begin() {
    let (server, bus) = fleet().await;
    let client = raw(&server).await;
    tell(&bus, 1..=6).await;
    let mut reader = one(&bus);
    take(&mut reader, 5).await;
    let held = next(&mut reader).await;
    api(&client, "STREAM.DELETE.DSBUS_EVENTS", "").await;
    provision(&bus).await;
    tell(&bus, 11..=18).await;
    let mut ids = Vec::new();
    while ids.len() < 8 {
        let heard = next(&mut reader).await;
        ids.push((heard.seq, heard.event.id.as_u128()));
        heard.ack();
    }
    assert_eq!(ids, (1..=8).map(|n| (n, u128::from(n) + 10)).collect::<Vec<_>>());
    // What is done with of the old stream is nothing to the new one.
    held.back();
    wait_pending(&bus, &client, 0, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_after_a_server_lost_its_last_events_is_heard() {
    let (mut server, bus) = fleet().await;
    tell(&bus, 1..=5).await;
    let mut reader = one(&bus);
    assert_eq!(seqs(&mut reader, 5).await, (1..=5).collect::<Vec<u64>>());
    wait_pending(&bus, &raw(&server).await, 0, 5).await;
    let stored = server.directory().join("store/jetstream/$G/streams/DSBUS_EVENTS/msgs");
    let kept = server.directory().join("kept");
    server.stop();
    copy(&stored, &kept);
    server.restart();
    wait_connected(&bus, true).await;
    for number in 6..=9 {
        wait_for_async("the stream", DEADLINE, async || tells(&bus, number).await).await;
    }
    assert_eq!(seqs(&mut reader, 4).await, (6..=9).collect::<Vec<u64>>());
    server.stop();
    fs::remove_dir_all(&stored).unwrap();
    copy(&kept, &stored);
    server.restart();
    wait_connected(&bus, true).await;
    let mut ids = Vec::new();
    for number in 21..=26 {
        wait_for_async("the stream", DEADLINE, async || tells(&bus, number).await).await;
        let heard = next(&mut reader).await;
        ids.push((heard.seq, heard.event.id.as_u128()));
        heard.ack();
    }
    assert_eq!(ids, (6..=11).map(|n| (n, u128::from(n) + 15)).collect::<Vec<_>>());
}

async fn tells(bus: &Bus, number: u128) -> Option<()> {
    let started = dsbus_schema::event::WorkerChange::Started;
    let (source, event) = crate::events::event(bus, "w1", started, number);
    bus.publish_event(&source, &event).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_listener_misses_nothing_when_its_consumer_or_stream_is_made_anew() {
    let (server, bus) = fleet().await;
    let client = raw(&server).await;
    tell(&bus, 1..=5).await;
    let (proxy, broken) = breakable(&server).await;
    let mut reader =
        broken.durable(DurableOptions { begin: Begin::New, ..options(&bus, Share::One, 8) });
    opened(&reader).await;
    let cut = async || {
        proxy.cut();
        wait_connected(&broken, false).await;
    };
    cut().await;
    assert_eq!(bus.forget_durable("t").await, Ok(true));
    tell(&bus, 6..=7).await;
    proxy.heal();
    assert_eq!(seqs(&mut reader, 2).await, [6, 7]);
    // One that never heard anything.
    let new = DurableOptions { begin: Begin::New, ..options(&bus, Share::One, 8) };
    drop(reader);
    let mut reader = broken.durable(DurableOptions { name: "u".to_owned(), ..new });
    opened(&reader).await;
    cut().await;
    api(&client, "STREAM.DELETE.DSBUS_EVENTS", "").await;
    provision(&bus).await;
    tell(&bus, 11..=13).await;
    proxy.heal();
    assert_eq!(seqs(&mut reader, 3).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_back_comes_again_from_a_consumer_that_is_made_anew() {
    let (server, bus) = fleet().await;
    let (proxy, broken) = breakable(&server).await;
    let mut reader = one(&broken);
    tell(&bus, 1..=6).await;
    take(&mut reader, 4).await;
    let held = next(&mut reader).await;
    take(&mut reader, 1).await;
    wait_pending(&bus, &raw(&server).await, 1, 4).await;
    proxy.cut();
    wait_connected(&broken, false).await;
    held.back();
    assert_eq!(bus.forget_durable("t").await, Ok(true));
    tell(&bus, 7..=8).await;
    proxy.heal();
    assert_eq!(seqs(&mut reader, 3).await, [5, 7, 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_reader_had_comes_again_from_a_consumer_that_is_made_anew() {
    let (server, bus) = fleet().await;
    let client = raw(&server).await;
    let (proxy, broken) = breakable(&server).await;
    let share = options(&bus, Share::Many, 8);
    let dying = broken.durable(share.clone());
    opened(&dying).await;
    // It asks for events as soon as it is there.
    wait_for_async("its pull", DEADLINE, async || (waiting(&client).await > 0).then_some(())).await;
    proxy.swallow();
    tell(&bus, 1..=4).await;
    if !delivered(&bus, &client).await {
        // On a busy machine its pull was over before: it asks again, and has them.
        proxy.heal();
        wait_pending(&bus, &client, 4, 0).await;
    }
    proxy.cut();
    drop(dying);
    let mut reader = bus.durable(share);
    tell(&bus, 5..=6).await;
    // On a slow machine some of the first are free again by then, and come before the last.
    let mut heard: std::collections::BTreeSet<u64> =
        seqs(&mut reader, 2).await.into_iter().collect();
    assert_eq!(bus.forget_durable("t").await, Ok(true));
    while heard.len() < 6 {
        heard.extend(seqs(&mut reader, 1).await);
    }
    assert!(heard.iter().eq(&[1, 2, 3, 4, 5, 6]), "{heard:?}");
}

/// How many pulls wait.
async fn waiting(client: &async_nats::Client) -> u64 {
    let info = client.request("$JS.API.CONSUMER.INFO.DSBUS_EVENTS.t", "".into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.payload).unwrap();
    info["num_waiting"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stands_by_takes_no_subjects_from_the_one_that_reads() {
    let (server, bus) = fleet().await;
    let started = dsbus_schema::event::WorkerChange::Started;
    let publish = async |worker: &str, number| {
        crate::events::publish(&bus, worker, started, number).await;
    };
    let mut reading = bus.durable(events(&bus, "w1"));
    publish("w1", 1).await;
    assert_eq!(seqs(&mut reading, 1).await, [1]);
    let other = connect(&server).await;
    let mut standing_by = other.durable(events(&other, "w2"));
    opened(&standing_by).await;
    publish("w1", 2).await;
    publish("w2", 3).await;
    publish("w1", 4).await;
    assert_eq!(seqs(&mut reading, 2).await, [2, 4]);
    assert!(standing_by.next_here().is_none());
    reading.close().await;
    // It sees some time later that it has the consumer; what was stored before is not in it.
    let mut number = 10;
    let heard = loop {
        number += 1;
        publish("w1", number).await;
        publish("w2", number + 1000).await;
        if let Some(heard) = standing_by.next_here() {
            break heard;
        }
        tokio::task::yield_now().await;
        let paused =
            tokio::time::timeout(std::time::Duration::from_millis(100), standing_by.next());
        if let Ok(heard) = paused.await {
            break heard.unwrap();
        }
    };
    assert!(heard.event.id.as_u128() > 1000, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_another_one_replaced_gives_back_what_it_has_not_handed_out() {
    let (server, bus) = fleet().await;
    let client = raw(&server).await;
    tell(&bus, 1..=20).await;
    let mut first = one(&bus);
    assert_eq!(seqs(&mut first, 1).await, [1]);
    wait_pending(&bus, &client, 19, 1).await;
    let mut second = one(&connect(&server).await);
    opened(&second).await;
    wait_for_async("its pull", DEADLINE, async || (waiting(&client).await > 1).then_some(())).await;
    // As after a freeze: nobody has told it. Whoever asks first reads then, which may be itself.
    let unpin = "CONSUMER.UNPIN.DSBUS_EVENTS.t";
    let (mut last, mut heard) = (20, None);
    while heard.is_none() {
        assert!(last < 40, "the second one never reads");
        api(&client, unpin, r#"{"group":"reader"}"#).await;
        last += 1;
        tell(&bus, last..=last).await;
        let waited = tokio::time::timeout(ACK_WAIT * 2, second.next()).await;
        heard = waited.ok().map(Result::unwrap);
    }
    let heard = heard.unwrap();
    assert_eq!(heard.seq, 2);
    heard.ack();
    let rest = usize::try_from(last).unwrap() - 2;
    assert_eq!(seqs(&mut second, rest).await, (3..=last).collect::<Vec<u64>>());
    assert!(first.next_here().is_none());
}

#[tokio::test]
async fn of_several_subjects_what_is_not_meant_is_left_out() {
    let (server, bus) = fleet().await;
    let client = raw(&server).await;
    let started = dsbus_schema::event::WorkerChange::Started;
    for number in 1..=300 {
        let worker = format!("w{}", number % 10);
        crate::events::publish(&bus, &worker, started, number).await;
    }
    let of = |worker: &str| format!("dsbus.default.event.{worker}.>");
    let subjects = vec![of("w3"), of("w7")];
    let mut reader = bus.durable(DurableOptions { subjects, ..options(&bus, Share::One, 8) });
    let wanted: Vec<u64> = (1..=300).filter(|n| n % 10 == 3 || n % 10 == 7).collect();
    assert_eq!(seqs(&mut reader, 60).await, wanted);
    wait_pending(&bus, &client, 0, 300).await;
}
