//! Reports become events and status entries.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_client::{Bus, Value, Write};
use dsbus_harness::{Cluster, DEADLINE, NatsServer, wait_for_async};
use dsbus_schema::call::Channel;
use dsbus_schema::event::{Fact, OUTPUT_BYTES_MAX, OutputFact, OutputKind, WorkerChange};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_schema::storage::{Bucket, instance_key};
use dsbus_supervisor::protocol::{ProcessEvent, Report, Reported};
use uuid::Uuid;

use crate::fleet::{Fleet, events, name, options_of, placement, worker};
use crate::orders::fact;
use crate::supervisor::{Supervisor, hello};

fn status(epoch: u64, seq: u64) -> Status {
    Status {
        id: placement(epoch, 5).id,
        epoch: Epoch(epoch),
        revision: 1,
        wanted: Wanted::default(),
        state: State::Running,
        rests: false,
        since: Timestamp::from_unix_nanos(0),
        pid: None,
        restarts: 0,
        exit: None,
        usage: None,
        note: None,
        reason: None,
        spawnerr: None,
        refused: None,
        stderr_line: None,
        stdout_logfile: None,
        stderr_logfile: None,
        seq,
        event: None,
        incarnation: Incarnation(Uuid::from_u128(1)),
    }
}

/// Report `number`, event `seq` of instance `index`.
fn report(number: u64, index: u32, seq: u64) -> Report {
    let event = ProcessEvent {
        id: Uuid::from_u128(number.into()),
        time: Timestamp::from_unix_nanos(0),
        fact: fact(name(index), 1, seq),
    };
    let status = Box::new(status(1, seq));
    let what = Reported::Instance { name: name(index), status, event: Some(Box::new(event)) };
    Report { number, what }
}

/// The same, as an earlier incarnation told it.
fn of_earlier(mut report: Report) -> Report {
    if let Reported::Instance { status, .. } = &mut report.what {
        status.incarnation = Incarnation(Uuid::from_u128(0));
    }
    report
}

async fn stands(fleet: &Fleet, index: u32) -> Option<Status> {
    let key = instance_key(&worker(), &name(index));
    fleet.look(Bucket::Status, &key).await?.json().unwrap()
}

/// The seqs of an instance's events, in the order in which they were stored.
async fn seqs(fleet: &Fleet, at_least: usize, index: u32) -> Vec<u64> {
    let events = fleet.events(at_least).await.into_iter();
    let of = events.filter_map(|event| match event.data {
        Fact::Process(fact) if fact.name == name(index) => Some(fact.seq),
        _ => None,
    });
    of.collect()
}

#[tokio::test]
async fn reports_are_published_in_order_once_and_the_last_status_stands() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut first = Supervisor::start(&fleet, hello(directory.path(), 1));
    let reports: Vec<_> =
        (0..300u32).map(|n| report(u64::from(n) + 1, n % 10, u64::from(n / 10) + 1)).collect();
    for report in &reports {
        first.report(report.clone());
    }
    first.done(300).await;
    for index in 0..10 {
        assert_eq!(stands(&fleet, index).await.unwrap().seq, 30);
    }
    // The supervisor never heard of it, and tells the next agent the same.
    first.agent.abort();
    let mut again = hello(directory.path(), 1);
    again.generation = 2;
    let mut second = Supervisor::start(&fleet, again);
    for report in &reports {
        second.report(report.clone());
    }
    second.report(report(301, 0, 31));
    second.done(301).await;
    assert_eq!(seqs(&fleet, 301, 0).await, (1..=31).collect::<Vec<_>>());
    assert_eq!(seqs(&fleet, 301, 9).await, (1..=30).collect::<Vec<_>>());
    assert_eq!(stands(&fleet, 0).await.unwrap().seq, 31);
}

#[tokio::test]
async fn what_an_earlier_incarnation_reported_becomes_events_and_no_status() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    for seq in 1..=5 {
        supervisor.report(of_earlier(report(seq * 2, 0, seq)));
        supervisor.report(of_earlier(report(seq * 2 + 1, 1, seq)));
    }
    supervisor.report(report(20, 0, 6));
    supervisor.done(20).await;
    assert_eq!(seqs(&fleet, 11, 0).await, (1..=6).collect::<Vec<_>>());
    assert_eq!(seqs(&fleet, 11, 1).await, (1..=5).collect::<Vec<_>>());
    assert_eq!((stands(&fleet, 0).await.unwrap().seq, stands(&fleet, 1).await), (6, None));
    // Nor when all that is known is written once more.
    fleet
        .bus
        .write(Bucket::Status, Write::delete(instance_key(&worker(), &name(0))))
        .await
        .unwrap();
    let mut fleet = fleet;
    fleet.server.restart();
    wait_for_async("the status", DEADLINE, async || {
        let entry =
            fleet.bus.get(Bucket::Status, &instance_key(&worker(), &name(0))).await.ok()??;
        entry.json::<Status>().unwrap()
    })
    .await;
    assert_eq!(stands(&fleet, 1).await, None);
}

#[tokio::test]
async fn a_cluster_that_loses_one_node_after_the_other_has_every_event() {
    let mut cluster = Cluster::start(3);
    let options = options_of(cluster.urls());
    let bus = Bus::connect(options.clone()).await.unwrap();
    wait_for_async("the buckets", DEADLINE, async || bus.provision(None).await.ok()).await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start_on(options, hello(directory.path(), 1));
    let mut number = 0;
    // So many events of each of ten instances at a time.
    let mut tell = |supervisor: &Supervisor, seqs: std::ops::RangeInclusive<u64>| {
        for (seq, index) in seqs.flat_map(|seq| (0..10).map(move |index| (seq, index))) {
            number += 1;
            supervisor.report(report(number, index, seq));
        }
        number
    };
    let through = tell(&supervisor, 1..=10);
    supervisor.done(through).await;
    let mut told = 10;
    // The leader first: what is on its way may be stored and not acknowledged.
    for _ in 0..2 {
        tell(&supervisor, told + 1..=told + 30);
        let node = cluster.leader("DSBUS_EVENTS");
        cluster.nodes[node].kill();
        let through = tell(&supervisor, told + 31..=told + 60);
        told += 60;
        supervisor.done(through).await;
        cluster.nodes[node].restart();
        cluster.leader("DSBUS_EVENTS");
    }
    let mut found: BTreeMap<InstanceId, Vec<u64>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for event in events(&bus, usize::try_from(number).unwrap()).await {
        // Readers drop by id what was stored twice.
        if let (true, Fact::Process(fact)) = (ids.insert(event.id), event.data) {
            found.entry(fact.name).or_default().push(fact.seq);
        }
    }
    let expected: Vec<u64> = (1..=told).collect();
    assert!(found.len() == 10 && found.values().all(|seqs| *seqs == expected), "{found:?}");
}

#[tokio::test]
async fn an_instance_that_is_gone_leaves_no_status_and_a_newer_epoch_stays() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.report(report(1, 0, 1));
    supervisor.done(1).await;
    let gone = |number, index| Report {
        number,
        what: Reported::Gone { name: name(index), epoch: Epoch(1) },
    };
    supervisor.report(gone(2, 0));
    supervisor.done(2).await;
    let key = instance_key(&worker(), &name(0));
    let left = fleet.look(Bucket::Status, &key).await.unwrap();
    assert_eq!(left.value, Value::Deleted);
    let key = instance_key(&worker(), &name(1));
    let newer = Write::put(key, &status(2, 1)).unwrap();
    fleet.bus.write(Bucket::Status, newer).await.unwrap();
    supervisor.report(report(3, 1, 8));
    supervisor.report(gone(4, 1));
    supervisor.done(4).await;
    assert_eq!(stands(&fleet, 1).await, Some(status(2, 1)));
    // A removed one may come back.
    supervisor.report(report(5, 0, 2));
    supervisor.done(5).await;
    assert_eq!(stands(&fleet, 0).await, Some(status(1, 2)));
}

#[tokio::test]
async fn what_happens_while_the_bus_is_away_is_told_when_it_is_back() {
    let mut fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.report(report(1, 0, 1));
    supervisor.report(report(2, 1, 1));
    supervisor.done(2).await;
    fleet.server.stop();
    (3..=20).for_each(|number| supervisor.report(report(number, 0, number)));
    fleet.server.restart();
    supervisor.done(20).await;
    let expected: Vec<u64> = [1].into_iter().chain(3..=20).collect();
    assert_eq!(seqs(&fleet, 20, 0).await, expected);
    assert_eq!(stands(&fleet, 0).await.unwrap().seq, 20);
    // Whatever somebody did to the status of the other one, it is mended at the next reconnect.
    let key = instance_key(&worker(), &name(1));
    fleet.bus.write(Bucket::Status, Write::delete(key)).await.unwrap();
    fleet.server.restart();
    wait_for_async("the status", DEADLINE, async || {
        let key = instance_key(&worker(), &name(1));
        let entry = fleet.bus.get(Bucket::Status, &key).await.ok()??;
        entry.json::<Status>().unwrap()
    })
    .await;
}

#[tokio::test]
async fn an_event_that_no_server_takes_is_dropped_and_told_and_holds_up_nothing() {
    let fleet = Fleet::start_on(NatsServer::start_with("max_payload: 65536")).await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.report(report(1, 0, 1));
    let text = "\u{1}".repeat(OUTPUT_BYTES_MAX);
    let output = OutputFact {
        name: name(0),
        id: placement(1, 5).id,
        group: None,
        process: None,
        worker: worker(),
        epoch: Epoch(1),
        pid: 1,
        channel: Channel::Stdout,
        output: OutputKind::Log,
        text,
    };
    let (id, time) = (Uuid::from_u128(2), Timestamp::from_unix_nanos(7));
    let what = Reported::Event { id, time, fact: Box::new(Fact::Output(output)) };
    supervisor.report(Report { number: 2, what });
    supervisor.report(report(3, 0, 2));
    supervisor.done(3).await;
    assert_eq!(seqs(&fleet, 4, 0).await, [1, 2]);
    // The start of the worker is the fourth.
    let facts = fleet.events(4).await.into_iter().filter_map(|event| match event.data {
        Fact::Worker(fact) if fact.change == WorkerChange::EventsDropped => fact.dropped,
        _ => None,
    });
    let dropped: Vec<_> = facts.map(|dropped| (dropped.events, dropped.kinds)).collect();
    assert_eq!(dropped, [(1, BTreeMap::from([("output".to_owned(), 1)]))]);
}
