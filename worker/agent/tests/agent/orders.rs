//! Placements become orders.

use dsbus_client::{Bus, Value};
use dsbus_schema::event::{Event, Fact, ProcessFact, Source, WorkerChange};
use dsbus_schema::ids::{Epoch, InstanceId};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::State;
use dsbus_schema::storage::{Bucket, touch_key};
use dsbus_schema::worker::Worker;
use dsbus_supervisor::protocol::{ToAgent, ToSupervisor};
use uuid::Uuid;

use crate::fleet::{Fleet, name, placement, worker};
use crate::supervisor::{Supervisor, hello};

pub(crate) fn fact(name: InstanceId, epoch: u64, seq: u64) -> ProcessFact {
    ProcessFact {
        name,
        id: placement(epoch, 5).id,
        group: None,
        process: None,
        worker: Some(worker()),
        epoch: Epoch(epoch),
        seq,
        revision: 1,
        from: State::Stopped,
        state: State::Running,
        pid: None,
        exit: None,
        usage: None,
        expected: None,
        reason: None,
        spawnerr: None,
        stderr_line: None,
        attempt: None,
    }
}

async fn happened(bus: &Bus, index: u32, epoch: u64, seq: u64) {
    let (source, fact) = (Source::Worker(worker()), Fact::Process(fact(name(index), epoch, seq)));
    let (id, time) = (Uuid::now_v7(), Timestamp::from_unix_nanos(0));
    let event = Event::new(bus.fleet(), &source, id, time, fact);
    dsbus_harness::wait_for_async("an event", dsbus_harness::DEADLINE, async || {
        bus.publish_event(&source, &event).await.ok()
    })
    .await;
}

#[tokio::test]
async fn all_placements_are_ordered_at_the_start_and_events_are_counted_on() {
    let fleet = Fleet::start().await;
    for index in 0..200 {
        fleet.place(index, &placement(7, 5)).await;
    }
    happened(&fleet.bus, 3, 7, 11).await;
    happened(&fleet.bus, 4, 6, 99).await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    let orders = supervisor.sync().await;
    assert_eq!(orders.len(), 200);
    for order in orders {
        let last = order.last.map(|last| (last.epoch, last.seq, last.state));
        let expected = match order.name.index {
            3 => Some((Epoch(7), 11, State::Running)),
            4 => Some((Epoch(6), 99, State::Running)),
            _ => None,
        };
        assert_eq!((last, order.placement), (expected, placement(7, 5)), "{}", order.name);
    }
    supervisor.extended(5, dsbus_schema::moment::BootTime(0)).await;
    let started = fleet.events(3).await.pop().unwrap();
    let Fact::Worker(told) = started.data else { panic!("{started:?}") };
    assert_eq!(told.change, WorkerChange::Started);
    let record = dsbus_harness::wait_for_async("the record", dsbus_harness::DEADLINE, async || {
        let entry = fleet.bus.get(Bucket::Workers, "w1").await.ok()??;
        entry.json::<Worker>().unwrap()
    })
    .await;
    assert_eq!((record.supervisor_pid, record.stopping), (42, false));
}

#[tokio::test]
async fn changes_are_ordered_as_they_come() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    assert_eq!(supervisor.sync().await, []);
    fleet.place(0, &placement(1, 9)).await;
    let placed = |message| match message {
        ToSupervisor::Place { order } => Some(*order),
        _ => None,
    };
    let order = supervisor.hear("a place", placed).await;
    assert_eq!((&order.name, order.last, &order.placement), (&name(0), None, &placement(1, 9)));
    // The first of its kind brings its lease.
    supervisor.extended(9, dsbus_schema::moment::BootTime(0)).await;
    fleet.place(0, &placement(2, 9)).await;
    assert_eq!(supervisor.hear("a change", placed).await.placement.epoch, Epoch(2));
    fleet.unplace(0).await;
    let unplaced = |message| match message {
        ToSupervisor::Unplace { name } => Some(name),
        _ => None,
    };
    assert_eq!(supervisor.hear("an unplace", unplaced).await, name(0));
}

#[tokio::test]
async fn a_later_agent_of_the_same_supervisor_orders_all_anew() {
    let fleet = Fleet::start().await;
    fleet.place(0, &placement(1, 5)).await;
    let directory = tempfile::tempdir().unwrap();
    let mut first = Supervisor::start(&fleet, hello(directory.path(), 1));
    first.sync().await;
    // It has told its start, too.
    fleet.events(1).await;
    first.agent.abort();
    let mut second = hello(directory.path(), 1);
    second.generation = 2;
    let mut second = Supervisor::start(&fleet, second);
    assert_eq!(second.sync().await.len(), 1);
    let events = fleet.events(2).await;
    let changes = events.iter().map(|event| match &event.data {
        Fact::Worker(fact) => fact.change,
        other => panic!("{other:?}"),
    });
    let changes: Vec<_> = changes.collect();
    assert_eq!(changes, [WorkerChange::Started, WorkerChange::AgentStarted]);
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_says_so_and_ends_when_its_supervisor_does() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    supervisor.say(ToAgent::Stopping { reason: "SIGTERM".to_owned() });
    supervisor.say(ToAgent::Bye);
    let finished = |message| matches!(message, ToSupervisor::Finished).then_some(());
    supervisor.hear("the end", finished).await;
    supervisor.agent.await.unwrap().unwrap();
    let record = fleet.look(Bucket::Workers, "w1").await.unwrap();
    assert!(record.json::<Worker>().unwrap().unwrap().stopping);
    // On a busy machine it may have expired by now.
    let lease = fleet.look(Bucket::Fleet, &touch_key(&worker(), 5)).await.unwrap();
    assert_ne!(lease.value, Value::Deleted, "its lease is left to expire");
}
