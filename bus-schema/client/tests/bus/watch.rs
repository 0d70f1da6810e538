//! Watches on a real server: complete, in order, without repeats, whatever happens to the server.

use std::fs;

use crate::common::{
    breakable, connect, copy, entry, fleet, initial, next, provision, raw, set, wait_connected,
};
use dsbus_client::{Bus, Item, Value, WATCH_QUEUE_MAX, Write};
use dsbus_harness::{DEADLINE, NatsServer, wait_for_async};
use dsbus_schema::storage::Bucket;

fn put(key: &str, body: &str) -> Write {
    Write::put(key, &body).unwrap()
}

#[tokio::test]
async fn an_empty_bucket_is_caught_up_with() {
    let (_server, bus) = fleet().await;
    let mut watch = bus.watch(Bucket::Status, ">", "t");
    assert_eq!(initial(&mut watch).await, []);
    let seq = set(&bus, Bucket::Status, put("w1.web.0", "x")).await.unwrap();
    let seen = entry(&mut watch).await;
    assert_eq!((seen.seq, seen.key.as_str()), (seq, "w1.web.0"));
}

#[tokio::test]
async fn the_last_entries_come_first_and_others_not() {
    let (_server, bus) = fleet().await;
    for body in ["a", "b"] {
        for key in ["w1.web.0", "w2.web.0", "w1.web.1"] {
            set(&bus, Bucket::Fleet, put(key, body)).await.unwrap();
        }
    }
    set(&bus, Bucket::Fleet, Write::delete("w1.web.1")).await.unwrap();
    let mut watch = bus.watch(Bucket::Fleet, "w1.>", "a name.with dots");
    let seen = initial(&mut watch).await;
    let keys: Vec<_> = seen.iter().map(|e| (e.key.as_str(), e.seq)).collect();
    assert_eq!(keys, [("w1.web.0", 4), ("w1.web.1", 7)]);
    assert_eq!(seen[0].json::<String>(), Ok(Some("b".to_owned())));
    assert_eq!(seen[1].value, Value::Deleted);
    // Nobody said anything to w1 since.
    set(&bus, Bucket::Fleet, put("w2.web.0", "c")).await.unwrap();
    let seq = set(&bus, Bucket::Fleet, put("w1.web.0", "c")).await.unwrap();
    assert_eq!(entry(&mut watch).await.seq, seq);
}

#[tokio::test]
async fn the_last_revision_of_many_is_the_state() {
    let (_server, bus) = fleet().await;
    for body in ["a", "b", "c"] {
        set(&bus, Bucket::Programs, put("web", body)).await.unwrap();
    }
    let seen = initial(&mut bus.watch(Bucket::Programs, ">", "t")).await;
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].json::<String>(), Ok(Some("c".to_owned())));
}

#[tokio::test]
async fn a_slow_reader_misses_nothing() {
    let (_server, bus) = fleet().await;
    let mut watch = bus.watch(Bucket::Goals, ">", "t");
    assert_eq!(initial(&mut watch).await, []);
    let total = 3 * WATCH_QUEUE_MAX;
    for batch in (0..total).collect::<Vec<_>>().chunks(1000) {
        let writes = batch.iter().map(|i| put(&format!("p{i}._all"), &"x".repeat(2000)));
        bus.batch(Bucket::Goals, writes.collect()).await.unwrap();
    }
    for i in 1..=total as u64 {
        assert_eq!(entry(&mut watch).await.seq, i);
    }
}

/// Writes numbered keys until told to end; each attempt has a key of its own, so that every stored
/// one is the last of its key. Returns the sequences that were acknowledged.
async fn write_until(bus: &Bus, mut end: tokio::sync::oneshot::Receiver<()>) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for i in 0.. {
        if let Ok(seq) = bus.write(Bucket::Status, put(&format!("w1.web.{i}"), "x")).await {
            acknowledged.push(seq);
        }
        let pause = tokio::time::sleep(std::time::Duration::from_millis(5));
        tokio::select! {
            _ = &mut end => break,
            () = pause => {}
        }
    }
    acknowledged
}

async fn survives(disturb: impl AsyncFnOnce(&mut NatsServer)) {
    let (mut server, bus) = fleet().await;
    let writer = connect(&server).await;
    let mut watch = bus.watch(Bucket::Status, ">", "t");
    assert_eq!(initial(&mut watch).await, []);
    let (end, ended) = tokio::sync::oneshot::channel();
    let writing = tokio::spawn(async move { write_until(&writer, ended).await });
    for i in 1..=20 {
        assert_eq!(entry(&mut watch).await.seq, i);
    }
    disturb(&mut server).await;
    // It goes on by itself: no gap, no repeat, no reset.
    let from = 21;
    for i in from..from + 200 {
        assert_eq!(entry(&mut watch).await.seq, i);
    }
    end.send(()).unwrap();
    let last = *writing.await.unwrap().last().unwrap();
    for i in from + 200..=last {
        assert_eq!(entry(&mut watch).await.seq, i);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_is_survived() {
    survives(async |server| server.restart()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_server_is_survived() {
    survives(async |server| {
        server.kill();
        server.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_survived() {
    survives(async |server| {
        server.pause();
        // Longer than the watch waits for a heartbeat.
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        server.resume();
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_is_taken_away_is_replaced() {
    let (server, bus) = fleet().await;
    let client = raw(&server).await;
    let mut watch = bus.watch(Bucket::Goals, ">", "t");
    assert_eq!(initial(&mut watch).await, []);
    let names = client.request("$JS.API.CONSUMER.NAMES.KV_dsbus_goals", "".into()).await.unwrap();
    let names: serde_json::Value = serde_json::from_slice(&names.payload).unwrap();
    let name = names["consumers"][0].as_str().unwrap();
    assert!(name.starts_with("t-"), "{name}");
    client
        .request(format!("$JS.API.CONSUMER.DELETE.KV_dsbus_goals.{name}"), "".into())
        .await
        .unwrap();
    for key in ["a._all", "b._all"] {
        let seq = set(&bus, Bucket::Goals, put(key, "x")).await.unwrap();
        assert_eq!(entry(&mut watch).await.seq, seq);
    }
}

#[tokio::test]
async fn a_stream_made_anew_is_told_and_read_anew() {
    let (server, bus) = fleet().await;
    let client = raw(&server).await;
    for key in ["a._all", "b._all", "c._all"] {
        set(&bus, Bucket::Goals, put(key, "x")).await.unwrap();
    }
    let mut watch = bus.watch(Bucket::Goals, ">", "t");
    assert_eq!(initial(&mut watch).await.len(), 3);
    client.request("$JS.API.STREAM.DELETE.KV_dsbus_goals", "".into()).await.unwrap();
    provision(&bus).await;
    set(&bus, Bucket::Goals, put("d._all", "x")).await.unwrap();
    assert_eq!(next(&mut watch).await, Item::Reset);
    // The fourth key may be there already, or come later.
    let mut seen = initial(&mut watch).await;
    if seen.is_empty() {
        seen.push(entry(&mut watch).await);
    }
    assert_eq!(seen.iter().map(|e| (e.key.as_str(), e.seq)).collect::<Vec<_>>(), [("d._all", 1)]);
    // Also when the new one has come further than the old one ever was.
    client.request("$JS.API.STREAM.DELETE.KV_dsbus_goals", "".into()).await.unwrap();
    provision(&bus).await;
    for key in ["e._all", "f._all", "g._all"] {
        set(&bus, Bucket::Goals, put(key, "x")).await.unwrap();
    }
    assert_eq!(next(&mut watch).await, Item::Reset);
    let mut seen = initial(&mut watch).await;
    while seen.len() < 3 {
        seen.push(entry(&mut watch).await);
    }
    assert_eq!(seen[2].key, "g._all");
}

#[tokio::test]
async fn a_watch_may_begin_before_the_buckets_are_there() {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    let mut watch = bus.watch(Bucket::Goals, ">", "t");
    bus.provision(None).await.unwrap();
    assert_eq!(initial(&mut watch).await, []);
}

#[tokio::test]
async fn a_dropped_watch_leaves_no_consumer() {
    let (server, bus) = fleet().await;
    let mut watch = bus.watch(Bucket::Goals, ">", "t");
    assert_eq!(initial(&mut watch).await, []);
    drop(watch);
    let client = raw(&server).await;
    wait_for_async("no consumer", DEADLINE, async || {
        let names =
            client.request("$JS.API.CONSUMER.NAMES.KV_dsbus_goals", "".into()).await.ok()?;
        let names: serde_json::Value = serde_json::from_slice(&names.payload).ok()?;
        names["consumers"].as_array().is_none_or(Vec::is_empty).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_forced_reconnect_is_noticed() {
    let (_server, bus) = fleet().await;
    let mut watch = bus.watch(Bucket::Goals, ">", "t");
    assert_eq!(initial(&mut watch).await, []);
    let mut connections = bus.connections();
    connections.mark_unchanged();
    bus.reconnect().await;
    tokio::time::timeout(DEADLINE, connections.changed()).await.unwrap().unwrap();
    wait_connected(&bus, true).await;
    let seq = wait_for_async("a write", DEADLINE, async || {
        bus.write(Bucket::Goals, put("a._all", "x").expect(0)).await.ok()
    })
    .await;
    assert_eq!(entry(&mut watch).await.seq, seq);
}

/// Reads what was written, loses its last two entries, and writes `after` meanwhile; gives what is read then.
async fn read_after_an_old_copy(after: [&str; 3]) -> Vec<(String, u64)> {
    let (mut server, bus) = fleet().await;
    let write = async |key: &str| {
        let key = format!("w1.{key}.0");
        wait_for_async("a write", DEADLINE, async || {
            set(&bus, Bucket::Fleet, put(&key, "x")).await.ok()
        })
        .await
    };
    let stream = Bucket::Fleet.stream(bus.fleet());
    let stored = server.directory().join(format!("store/jetstream/$G/streams/{stream}/msgs"));
    let kept = server.directory().join("kept");
    for key in ["a", "b"] {
        write(key).await;
    }
    server.stop();
    copy(&stored, &kept);
    server.restart();
    wait_connected(&bus, true).await;
    let (proxy, broken) = breakable(&server).await;
    for key in ["a", "b"] {
        write(key).await;
    }
    let mut watch = broken.watch(Bucket::Fleet, "w1.>", "t");
    let last = initial(&mut watch).await.last().map(|entry| entry.seq);
    assert_eq!(last, Some(4));
    proxy.cut();
    wait_connected(&broken, false).await;
    server.stop();
    fs::remove_dir_all(&stored).unwrap();
    copy(&kept, &stored);
    server.restart();
    wait_connected(&bus, true).await;
    for key in after {
        write(key).await;
    }
    proxy.heal();
    let mut told = Vec::new();
    loop {
        match next(&mut watch).await {
            Item::Entry(entry) => told.push((entry.key, entry.seq)),
            Item::Reset => told.clear(),
            Item::CaughtUp => return told,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_that_has_grown_to_where_the_stream_was_is_read_anew() {
    let entry = |key: &str, seq| (format!("w1.{key}.0"), seq);
    // Something else stands where something was read.
    let told = read_after_an_old_copy(["c", "d", "e"]).await;
    assert_eq!(told, [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)].map(|(k, s)| entry(k, s)));
    // Nothing does, and what was read is not there.
    let told = read_after_an_old_copy(["c", "c", "c"]).await;
    assert_eq!(told, [entry("a", 1), entry("b", 2), entry("c", 5)]);
}
