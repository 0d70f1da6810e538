//! What the worker tells about itself and its machine; and how it gives away what it runs.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsbus_harness::{DEADLINE, wait_for_async};
use dsbus_schema::ids::Epoch;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::storage::Bucket;
use dsbus_schema::worker::{Capacity, Labels, Worker};
use dsbus_supervisor::protocol::{Child, ToAgent, ToSupervisor};

use crate::fleet::{Fleet, name, placement, worker};
use crate::supervisor::{Supervisor, hello};

async fn record(fleet: &Fleet, is: impl Fn(&Worker) -> bool) -> Worker {
    record_within(fleet, DEADLINE, is).await
}

async fn record_within(fleet: &Fleet, patience: Duration, is: impl Fn(&Worker) -> bool) -> Worker {
    wait_for_async("the worker's record", patience, async || {
        let entry = fleet.bus.get(Bucket::Workers, worker().as_str()).await.ok()??;
        entry.json::<Worker>().unwrap().filter(|worker| is(worker))
    })
    .await
}

fn labels(zone: &str) -> Labels {
    [("zone".to_owned(), zone.to_owned())].into()
}

#[tokio::test]
async fn labels_and_capacity_are_told_and_told_again_when_they_change() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let capacity = Capacity { cpu: 1.5, memory: 1 << 30 };
    let hello = dsbus_supervisor::protocol::Hello {
        labels: labels("eu"),
        capacity,
        ..hello(directory.path(), 1)
    };
    let mut supervisor = Supervisor::start(&fleet, hello);
    supervisor.sync().await;
    assert_eq!(record(&fleet, |w| w.labels == labels("eu")).await.capacity, capacity);
    let capacity = Capacity { cpu: 2.0, memory: 1 << 30 };
    supervisor.say(ToAgent::Described { labels: labels("us"), capacity, policy: None });
    let told = record(&fleet, |w| w.labels == labels("us")).await;
    assert_eq!(told.capacity, capacity);
    assert!(told.facts.at.is_some() && !told.stopping);
}

#[tokio::test]
async fn facts_are_those_of_the_machine_and_come_anew() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    let first = record(&fleet, |w| !w.facts.disks.is_empty()).await.facts;
    assert_eq!(first.kernel, fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
    let path = directory.path().to_str().unwrap();
    assert_eq!(first.disks.first().map(|disk| disk.path.as_str()), Some(path));
    // A machine at rest tells nothing new for a minute. This one is kept busy, which is told sooner
    // unless it was so already.
    let (at, rest) = (first.at.unwrap(), Arc::new(AtomicBool::new(false)));
    let enough = rest.clone();
    let busy = std::thread::spawn(move || while !enough.load(Ordering::Relaxed) {});
    let news = |worker: &Worker| worker.facts.at.is_some_and(|new| new > at);
    let again = record_within(&fleet, 4 * DEADLINE, news).await;
    rest.store(true, Ordering::Relaxed);
    busy.join().unwrap();
    assert!(again.facts.uptime_seconds >= first.uptime_seconds);
}

#[tokio::test]
async fn a_worker_is_drained_when_its_record_says_so_and_nothing_is_left() {
    let fleet = Fleet::start().await;
    fleet.place(0, &placement(1, 5)).await;
    let everywhere = ProgramSpec { system: true, ..placement(1, 5).spec };
    fleet.place(1, &Placement { spec: everywhere, ..placement(1, 5) }).await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    supervisor.say(ToAgent::Drain);
    record(&fleet, |worker| worker.draining).await;
    let child = Child {
        name: name(0),
        epoch: Epoch(1),
        pid: 1,
        group: None,
        start_time: 0,
        lease: None,
        cgroup: None,
    };
    supervisor.child(&child);
    fleet.unplace(0).await;
    let early = |message| match message {
        ToSupervisor::Drained => panic!("a child lives"),
        ToSupervisor::Unplace { name } => Some(name),
        _ => None,
    };
    assert_eq!(supervisor.hear("the end of the placement", early).await, name(0));
    supervisor.say(ToAgent::ChildGone { pid: 1 });
    let drained = |message| matches!(message, ToSupervisor::Drained).then_some(());
    supervisor.hear("that it is drained", drained).await;
}
