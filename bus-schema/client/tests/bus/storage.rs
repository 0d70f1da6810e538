//! Buckets on a real server: compare-and-set, guards, batches, expiry, and what fails how.

use crate::common::{
    connect, entry, fleet, initial, look, options, raw, set, settle, wait_connected,
};
use dsbus_client::{BATCH_WRITES_MAX, Bus, Entry, Error, Value, Write};
use dsbus_harness::NatsServer;
use dsbus_schema::storage::{Bucket, PROGRAM_HISTORY};

fn put(key: &str, body: &str) -> Write {
    Write::put(key, &body).unwrap()
}

fn body(entry: &Entry) -> String {
    entry.json().unwrap().unwrap()
}

#[tokio::test]
async fn provisioning_twice_and_at_once() {
    let server = NatsServer::start();
    let (a, b) = (connect(&server).await, connect(&server).await);
    assert_eq!(a.provisioned().await, Ok(false));
    assert_eq!(a.get(Bucket::Goals, "web").await, Err(Error::NotProvisioned));
    let (first, second) = tokio::join!(a.provision(None), b.provision(None));
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(a.provision(Some(1)).await, Ok(()));
    assert_eq!(b.provisioned().await, Ok(true));
}

#[tokio::test]
async fn a_foreign_stream_is_refused_with_the_reason() {
    let server = NatsServer::start();
    let config =
        r#"{"name":"KV_dsbus_fleet","subjects":["$KV.dsbus_fleet.>"],"max_msgs_per_subject":5}"#;
    let client = raw(&server).await;
    let made = client.request("$JS.API.STREAM.CREATE.KV_dsbus_fleet", config.into()).await;
    assert!(!String::from_utf8_lossy(&made.unwrap().payload).contains("error"));
    let refused = connect(&server).await.provision(None).await.unwrap_err().to_string();
    assert!(refused.contains("KV_dsbus_fleet"), "{refused}");
    assert!(refused.contains("max_msgs_per_subject is 5, and must be 1"), "{refused}");
}

#[tokio::test]
async fn one_of_two_writers_loses() {
    let (_server, bus) = fleet().await;
    assert_eq!(look(&bus, Bucket::Goals, "web._all").await, Ok(None));
    let first = set(&bus, Bucket::Goals, put("web._all", "a").expect(0)).await.unwrap();
    let lost = set(&bus, Bucket::Goals, put("web._all", "b").expect(0)).await;
    assert_eq!(lost, Err(Error::LostRace { current: Some(first) }));
    let second = set(&bus, Bucket::Goals, put("web._all", "b").expect(first)).await.unwrap();
    let found = look(&bus, Bucket::Goals, "web._all").await.unwrap().unwrap();
    assert_eq!((found.seq, found.key.as_str(), body(&found).as_str()), (second, "web._all", "b"));
    let third = set(&bus, Bucket::Goals, Write::delete("web._all").expect(second)).await.unwrap();
    let found = look(&bus, Bucket::Goals, "web.*").await.unwrap().unwrap();
    assert_eq!((found.seq, found.value), (third, Value::Deleted));
}

#[tokio::test]
async fn the_history_of_a_key_is_read_oldest_first() {
    let (_server, bus) = fleet().await;
    assert_eq!(bus.history(Bucket::Programs, "web").await, Ok(Vec::new()));
    let mut last = 0;
    for n in 0..=u64::from(PROGRAM_HISTORY) {
        let write = put("web", &n.to_string()).expect(last);
        last = set(&bus, Bucket::Programs, write).await.unwrap();
        // What is written to other keys, and to keys that begin alike, is none of it.
        set(&bus, Bucket::Programs, put("web2", "x")).await.unwrap();
    }
    set(&bus, Bucket::Programs, Write::delete("web").expect(last)).await.unwrap();
    let kept = bus.history(Bucket::Programs, "web").await.unwrap();
    assert_eq!(kept.len(), usize::from(PROGRAM_HISTORY));
    assert!(kept.windows(2).all(|w| w[0].seq < w[1].seq) && kept.iter().all(|e| e.key == "web"));
    let (tombstone, bodies) = kept.split_last().unwrap();
    assert_eq!(tombstone.value, Value::Deleted);
    let numbers: Vec<u64> = bodies.iter().map(|e| body(e).parse().unwrap()).collect();
    assert_eq!(numbers, (2..=u64::from(PROGRAM_HISTORY)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_guard_sees_every_key_of_its_pattern() {
    let (_server, bus) = fleet().await;
    let guard = "*.web.0";
    let place = |worker: &str, seq| put(&format!("{worker}.web.0"), worker).guard(guard, seq);
    let first = set(&bus, Bucket::Fleet, place("w1", 0)).await.unwrap();
    let lost = set(&bus, Bucket::Fleet, place("w2", 0)).await;
    assert_eq!(lost, Err(Error::LostRace { current: Some(first) }));
    let gone = Write::delete("w1.web.0").guard(guard, first);
    let tombstone = set(&bus, Bucket::Fleet, gone).await.unwrap();
    assert!(matches!(
        set(&bus, Bucket::Fleet, place("w2", first)).await,
        Err(Error::LostRace { .. })
    ));
    set(&bus, Bucket::Fleet, place("w2", tombstone)).await.unwrap();
    assert_eq!(look(&bus, Bucket::Fleet, guard).await.unwrap().unwrap().key, "w2.web.0");
}

#[tokio::test]
async fn a_batch_happens_as_a_whole_or_not_at_all() {
    let (_server, bus) = fleet().await;
    let touch = set(&bus, Bucket::Fleet, put("w1._touch.5", "touch")).await.unwrap();
    let old = set(&bus, Bucket::Fleet, put("w1.web.0", "old").guard("*.web.0", 0)).await.unwrap();
    let moved = |touch| {
        vec![
            Write::delete("w1.web.0").guard("*.web.0", old),
            put("w2.web.0", "new").guard("w1._touch.5", touch),
        ]
    };
    let newer = set(&bus, Bucket::Fleet, put("w1._touch.5", "touch")).await.unwrap();
    // The lost worker touched again: the guard on a key that the batch does not write refuses it.
    let refused = bus.batch(Bucket::Fleet, moved(touch)).await;
    assert!(matches!(refused, Err(Error::LostRace { .. })), "{refused:?}");
    assert_eq!(body(&look(&bus, Bucket::Fleet, "w1.web.0").await.unwrap().unwrap()), "old");
    assert_eq!(look(&bus, Bucket::Fleet, "w2.web.0").await, Ok(None));
    let last = bus.batch(Bucket::Fleet, moved(newer)).await.unwrap();
    let (gone, new) = (
        look(&bus, Bucket::Fleet, "w1.web.0").await.unwrap().unwrap(),
        look(&bus, Bucket::Fleet, "w2.web.0").await.unwrap().unwrap(),
    );
    assert_eq!((gone.value.clone(), gone.seq), (Value::Deleted, last - 1));
    assert_eq!((body(&new).as_str(), new.seq), ("new", last));
}

#[tokio::test]
async fn batches_have_limits() {
    let (_server, bus) = fleet().await;
    let writes = |n: usize| (0..n).map(|i| put(&format!("p{i}._all"), "x")).collect::<Vec<_>>();
    assert!(matches!(bus.batch(Bucket::Goals, writes(0)).await, Err(Error::Malformed { .. })));
    assert_eq!(bus.batch(Bucket::Goals, writes(1)).await, Ok(1));
    let full = BATCH_WRITES_MAX;
    assert_eq!(bus.batch(Bucket::Goals, writes(full)).await, Ok(full as u64 + 1));
    let too_many = bus.batch(Bucket::Goals, writes(full + 1)).await;
    assert!(matches!(too_many, Err(Error::Malformed { .. })));
}

#[tokio::test]
async fn an_expired_key_leaves_a_marker_that_blocks_a_new_one() {
    let (_server, bus) = fleet().await;
    let mut watch = bus.watch(Bucket::Fleet, "w1.>", "t");
    assert_eq!(initial(&mut watch).await, []);
    let seq = set(&bus, Bucket::Fleet, put("w1._touch.1", "x").ttl(1).expect(0)).await.unwrap();
    let seen = entry(&mut watch).await;
    assert_eq!((seen.seq, body(&seen).as_str()), (seq, "x"));
    let marker = entry(&mut watch).await;
    assert_eq!((marker.key.as_str(), &marker.value), ("w1._touch.1", &Value::Expired));
    assert_eq!(marker.json::<String>(), Ok(None));
    assert_eq!(look(&bus, Bucket::Fleet, "w1._touch.1").await.unwrap().unwrap(), marker);
    let blocked = set(&bus, Bucket::Fleet, put("w1._touch.1", "y").ttl(1).expect(0)).await;
    assert_eq!(blocked, Err(Error::LostRace { current: Some(marker.seq) }));
    let over = put("w1._touch.1", "y").ttl(60).expect(marker.seq);
    assert!(set(&bus, Bucket::Fleet, over).await.is_ok());
}

#[tokio::test]
async fn nothing_is_kept_for_later_while_disconnected() {
    let (mut server, bus) = fleet().await;
    server.stop();
    wait_connected(&bus, false).await;
    let late = || put("late._all", "x");
    assert_eq!(set(&bus, Bucket::Goals, late()).await, Err(Error::Disconnected));
    let batch = bus.batch(Bucket::Goals, vec![late(), put("late.0", "x")]).await;
    assert_eq!(batch, Err(Error::Disconnected));
    assert_eq!(look(&bus, Bucket::Goals, "late.>").await, Err(Error::Disconnected));
    server.restart();
    wait_connected(&bus, true).await;
    // What was written first has the first sequence: nothing came before it.
    assert_eq!(set(&bus, Bucket::Goals, put("next._all", "x")).await, Ok(1));
    assert_eq!(look(&bus, Bucket::Goals, "late.>").await, Ok(None));
}

#[tokio::test]
async fn a_denied_write_says_so() {
    let server = NatsServer::start_with(
        r#"authorization { users: [
            { user: a, password: a },
            { user: v, password: v, permissions: { publish: ["$JS.API.>"], subscribe: ">" } }
        ] }"#,
    );
    let url = |user: &str| vec![server.url().replace("//", &format!("//{user}:{user}@"))];
    Bus::connect(options(url("a"))).await.unwrap().provision(None).await.unwrap();
    let viewer = Bus::connect(options(url("v"))).await.unwrap();
    assert_eq!(viewer.provision(None).await, Ok(()));
    let denied = viewer.write(Bucket::Goals, put("web._all", "x")).await;
    let what = "publish to $KV.dsbus_goals.web._all".to_owned();
    assert_eq!(denied, Err(Error::Denied { what: what.clone() }));
    let writes = vec![put("web._all", "x"), put("web.0", "x")];
    let denied = viewer.batch(Bucket::Goals, writes).await;
    assert!(matches!(&denied, Err(Error::Denied { .. })), "{denied:?}");
    assert_eq!(viewer.get(Bucket::Goals, ">").await, Ok(None));
}

#[tokio::test]
async fn an_entry_forged_by_a_reply_says_nothing_and_can_be_written_over() {
    let (server, bus) = fleet().await;
    set(&bus, Bucket::Goals, put("mine._all", "forged")).await.unwrap();
    let mut watch = bus.watch(Bucket::Goals, "*._all", "t");
    assert_eq!(initial(&mut watch).await.len(), 1);
    let get = "$JS.API.DIRECT.GET.KV_dsbus_goals.$KV.dsbus_goals.mine._all";
    let client = raw(&server).await;
    client.publish_with_reply(get, "$KV.dsbus_goals.theirs._all", "".into()).await.unwrap();
    settle(&client).await;
    let seen = entry(&mut watch).await;
    assert_eq!((seen.key.as_str(), &seen.value), ("theirs._all", &Value::Copied));
    assert!(seen.json::<serde_json::Value>().is_err(), "{seen:?}");
    let forged = look(&bus, Bucket::Goals, "theirs._all").await.unwrap().unwrap();
    assert_eq!((forged.seq, &forged.value), (seen.seq, &Value::Copied));
    // Its sequence is known, so that the truth can be written in its place.
    let truth = put("theirs._all", "x").expect(seen.seq);
    let written = set(&bus, Bucket::Goals, truth).await.unwrap();
    assert!(written > seen.seq);
}

#[tokio::test]
async fn a_verb_that_finds_no_server_says_where_it_looked() {
    let mut server = NatsServer::start();
    server.stop();
    let url = server.url().replace("//", "//ann:secret@");
    let mut options = options(vec![url]);
    options.wait = false;
    let error = Bus::connect(options).await.unwrap_err();
    assert!(matches!(&error, Error::NoBus { url, .. } if *url == server.url()), "{error}");
}
