//! Touches on a real server.

use std::collections::BTreeSet;

use dsbus_client::{Item, Value};
use dsbus_schema::moment::BootTime;

use crate::fleet::{Fleet, placement};
use crate::supervisor::{Supervisor, hello};

const NEVER: BootTime = BootTime(0);

#[tokio::test]
async fn leases_are_held_and_expire_when_the_agent_dies() {
    let fleet = Fleet::start().await;
    fleet.place(0, &placement(1, 2)).await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    let first = supervisor.extended(2, NEVER).await;
    let (one, touch) = fleet.touch_after(2, 0).await;
    let (two, again) = fleet.touch_after(2, one.seq).await;
    assert!(again.attempt > touch.attempt && again.sent > touch.sent && two.seq > one.seq);
    assert!(supervisor.extended(2, first).await > first);
    // Its presence is another one.
    fleet.touch_after(5, 0).await;
    supervisor.agent.abort();
    let mut touches = fleet.touches();
    let expired = async {
        let mut keys = BTreeSet::new();
        while keys.len() < 2 {
            if let Item::Entry(entry) = touches.next().await
                && entry.value == Value::Expired
            {
                keys.insert(entry.key);
            }
        }
        keys
    };
    let keys = tokio::time::timeout(dsbus_harness::DEADLINE, expired).await.unwrap();
    assert!(keys.iter().eq(["w1._touch.2", "w1._touch.5"]), "{keys:?}");
}

#[tokio::test]
async fn without_a_living_supervisor_nothing_is_touched() {
    let fleet = Fleet::start().await;
    fleet.place(0, &placement(1, 2)).await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    supervisor.extended(2, NEVER).await;
    supervisor.freeze();
    dsbus_harness::wait_for_async("the expiry", dsbus_harness::DEADLINE, async || {
        fleet.touch(2).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_restart_of_the_server_is_survived() {
    let mut fleet = Fleet::start().await;
    fleet.place(0, &placement(1, 15)).await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    let before = supervisor.extended(15, NEVER).await;
    let (old, _) = fleet.touch_after(15, 0).await;
    fleet.server.stop();
    fleet.server.restart();
    let (new, _) = fleet.touch_after(15, old.seq).await;
    assert!(new.seq > old.seq);
    assert!(supervisor.extended(15, before).await > before);
    // And orders still come.
    fleet.place(1, &placement(1, 15)).await;
    let placed = |message| {
        matches!(message, dsbus_supervisor::protocol::ToSupervisor::Place { .. }).then_some(())
    };
    supervisor.hear("a place", placed).await;
}

#[tokio::test]
async fn a_server_that_was_away_for_longer_than_the_lease_gives_it_anew() {
    let mut fleet = Fleet::start().await;
    fleet.place(0, &placement(1, 2)).await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    let before = supervisor.extended(2, NEVER).await;
    let (old, _) = fleet.touch_after(2, 0).await;
    fleet.server.stop();
    let since = old.time.unix_nanos();
    dsbus_harness::wait_for_async("the end of the lease", dsbus_harness::DEADLINE, async || {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let now = i128::try_from(now.as_nanos()).unwrap();
        (now - since > 3_000_000_000).then_some(())
    })
    .await;
    fleet.server.restart();
    assert!(supervisor.extended(2, before).await > before);
    let (new, _) = fleet.touch_after(2, old.seq).await;
    assert!(new.seq > old.seq);
}
