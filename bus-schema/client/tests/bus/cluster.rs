//! A real three-node cluster, whose leader dies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsbus_client::{BATCH_WRITES_MAX, Bus, ConnectOptions, Error, Item, Watch, Write};
use dsbus_harness::{Cluster, wait_for_async};
use dsbus_schema::storage::Bucket;

use crate::common::{fleet, initial, options, provision, raw};

/// An election takes up to 9 s; a machine that builds meanwhile takes its time.
pub(crate) const ELECTION_MAX: Duration = Duration::from_secs(60);

fn put(key: &str, body: &str) -> Write {
    Write::put(key, &body).unwrap()
}

/// A connection whose first choice is node `first`.
pub(crate) async fn connect(cluster: &Cluster, first: usize) -> Bus {
    let mut urls = cluster.urls();
    urls.rotate_left(first);
    let bus = Bus::connect(options(urls)).await.unwrap();
    provision(&bus).await;
    bus
}

async fn next(watch: &mut Watch) -> Item {
    tokio::time::timeout(ELECTION_MAX, watch.next()).await.expect("an item")
}

/// Writes until it is acknowledged, each time under a key of its own.
async fn write(bus: &Bus, number: &AtomicU64) -> u64 {
    wait_for_async("an acknowledged write", ELECTION_MAX, async || {
        let key = format!("w1.web.{}", number.fetch_add(1, Ordering::Relaxed));
        bus.write(Bucket::Status, put(&key, "x")).await.ok()
    })
    .await
}

/// The sequence of the placement that two write.
async fn standing(bus: &Bus) -> u64 {
    wait_for_async("what stands there", ELECTION_MAX, async || {
        let found = bus.get(Bucket::Fleet, "w1.web.0").await.ok()?;
        Some(found.map_or(0, |entry| entry.seq))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_keep_three_replicas_and_tell_the_loser() {
    let cluster = Cluster::start(3);
    let buses = [connect(&cluster, 0).await, connect(&cluster, 1).await];
    let client = raw(&cluster.nodes[2]).await;
    let info = client.request("$JS.API.STREAM.INFO.KV_dsbus_fleet", "".into()).await.unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.payload).unwrap();
    assert_eq!(info["config"]["num_replicas"], 3);
    let (mut current, mut round, mut unsure, mut tries) = (0, 0, false, 0);
    while round < 50 {
        tries += 1;
        assert!(tries <= 100, "round {round}: both are hardly ever answered");
        let write = |bus: &Bus| {
            let (bus, body) = (bus.clone(), round.to_string());
            async move {
                bus.write(Bucket::Fleet, put("w1.web.0", &body).guard("*.web.0", current)).await
            }
        };
        let (a, b) = tokio::join!(write(&buses[0]), write(&buses[1]));
        current = match (a, b) {
            (Ok(seq), Err(Error::LostRace { .. })) | (Err(Error::LostRace { .. }), Ok(seq)) => {
                (round, unsure) = (round + 1, false);
                seq
            }
            // On a busy machine an answer may come too late, or from nobody: what was written is
            // looked up then, and may still be written after that.
            (Err(Error::Timeout | Error::NoResponders | Error::Api { .. }), _)
            | (_, Err(Error::Timeout | Error::NoResponders | Error::Api { .. })) => {
                unsure = true;
                standing(&buses[0]).await
            }
            (Err(Error::LostRace { .. }), Err(Error::LostRace { .. })) if unsure => {
                standing(&buses[0]).await
            }
            other => panic!("round {round}: {other:?}"),
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_go_on_after_the_death_of_the_leader() {
    let mut cluster = Cluster::start(3);
    let buses =
        [connect(&cluster, 0).await, connect(&cluster, 1).await, connect(&cluster, 2).await];
    let mut watches: Vec<Watch> =
        buses.iter().map(|bus| bus.watch(Bucket::Status, ">", "t")).collect();
    for watch in &mut watches {
        assert_eq!(initial(watch).await, []);
    }
    let leader = cluster.leader(&Bucket::Status.stream(buses[0].fleet()));
    let writer = &buses[(leader + 1) % 3];
    let number = AtomicU64::new(0);
    for _ in 0..10 {
        write(writer, &number).await;
    }
    cluster.nodes[leader].kill();
    let mut last = 0;
    for _ in 0..10 {
        last = write(writer, &number).await;
    }
    // Every watch: also the one whose own connection died.
    for watch in &mut watches {
        for seq in 1..=last {
            match next(watch).await {
                Item::Entry(entry) => assert_eq!(entry.seq, seq),
                other => panic!("{other:?} instead of entry {seq}"),
            }
        }
    }
    cluster.nodes[leader].restart();
    // What was not acknowledged may be stored as well, before it.
    let seq = write(writer, &number).await;
    for watch in &mut watches {
        for wanted in last + 1..=seq {
            assert!(matches!(next(watch).await, Item::Entry(entry) if entry.seq == wanted));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_finds_the_servers_that_answer() {
    let cluster = Cluster::start(3);
    cluster.nodes[1].pause();
    // It begins with any of the three: so often that it once begins with the frozen one.
    for _ in 0..20 {
        let verb = ConnectOptions { wait: false, ..options(cluster.urls()) };
        Bus::connect(verb).await.unwrap();
    }
    cluster.nodes[1].resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_holds_many_guards_with_wildcards() {
    let (_server, bus) = fleet().await;
    many_moves(&bus).await;
    let cluster = Cluster::start(3);
    many_moves(&connect(&cluster, 0).await).await;
}

/// Five hundred moves away from one lost worker are one batch, each guarded by all placements of its
/// instance, and all of them by one guard on the lost worker's touch.
async fn many_moves(bus: &Bus) {
    let touch = put("w1._touch.5", "touch");
    let touched = bus.write(Bucket::Fleet, touch.clone()).await.unwrap();
    let places = (0..BATCH_WRITES_MAX).map(|n| put(&format!("w1.web.{n}"), "old")).collect();
    let last = bus.batch(Bucket::Fleet, places).await.unwrap();
    let moves = |first: u64, count: u64| {
        let mut all: Vec<Write> = (first..first + count)
            .flat_map(|n| {
                let guard = last + 1 - BATCH_WRITES_MAX as u64 + n;
                [
                    Write::delete(format!("w1.web.{n}")).guard(&format!("*.web.{n}"), guard),
                    put(&format!("w2.web.{n}"), "new"),
                ]
            })
            .collect();
        all[1] = all[1].clone().guard("w1._touch.5", touched);
        all
    };
    let half = BATCH_WRITES_MAX as u64 / 2;
    assert_eq!(bus.batch(Bucket::Fleet, moves(0, half)).await, Ok(last + 2 * half));
    // One of them was moved by somebody else: none is, of this batch.
    bus.write(Bucket::Fleet, put("w3.web.700", "theirs")).await.unwrap();
    let refused = bus.batch(Bucket::Fleet, moves(half, half)).await;
    assert!(matches!(refused, Err(Error::LostRace { .. })), "{refused:?}");
    assert_eq!(bus.get(Bucket::Fleet, "w2.web.600").await, Ok(None));
    // Its first part has no such move; and after another touch no part happens.
    bus.batch(Bucket::Fleet, moves(half, 100)).await.unwrap();
    bus.write(Bucket::Fleet, touch).await.unwrap();
    let refused = bus.batch(Bucket::Fleet, moves(half + 100, 50)).await;
    assert!(matches!(refused, Err(Error::LostRace { .. })), "{refused:?}");
}
