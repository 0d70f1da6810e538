//! Two workers of one name.

use dsbus_client::{Item, Value};
use dsbus_harness::{DEADLINE, wait_for_async};
use dsbus_schema::moment::BootTime;
use dsbus_schema::touch::Touch;
use dsbus_supervisor::protocol::ToSupervisor;

use crate::fleet::{Fleet, placement};
use crate::supervisor::{Supervisor, hello};

fn taken(message: ToSupervisor) -> Option<String> {
    match message {
        ToSupervisor::NameTaken { by } => Some(by),
        ToSupervisor::Sync { .. } => panic!("it starts something"),
        _ => None,
    }
}

#[tokio::test]
async fn a_second_worker_starts_nothing_and_says_who_holds_the_name() {
    let fleet = Fleet::start().await;
    fleet.place(0, &placement(1, 5)).await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = Supervisor::start(&fleet, hello(one.path(), 1));
    first.sync().await;
    let until = first.extended(5, BootTime(0)).await;
    let mut second = Supervisor::start(&fleet, hello(two.path(), 2));
    let by = second.hear("who holds the name", taken).await;
    assert!(by.starts_with("pid 42 on "), "{by}");
    assert!(by.ends_with(&format!("directory {}", one.path().display())), "{by}");
    first.extended(5, until).await;
}

#[tokio::test]
async fn a_worker_that_is_started_again_in_its_place_takes_over_at_once() {
    // On a machine that stands still for so long, a lease may expire meanwhile.
    for _ in 0..5 {
        if taken_over_before_it_expired().await {
            return;
        }
    }
    panic!("a lease always expired first");
}

async fn taken_over_before_it_expired() -> bool {
    let fleet = Fleet::start().await;
    fleet.place(0, &placement(1, 15)).await;
    let directory = tempfile::tempdir().unwrap();
    let mut first = Supervisor::start(&fleet, hello(directory.path(), 1));
    first.sync().await;
    first.extended(15, BootTime(0)).await;
    first.agent.abort();
    let mut touches = fleet.touches();
    let mut second = Supervisor::start(&fleet, hello(directory.path(), 2));
    second.sync().await;
    second.extended(15, BootTime(0)).await;
    let me = hello(directory.path(), 2).incarnation;
    let seen = async {
        loop {
            let Item::Entry(entry) = touches.next().await else { continue };
            if entry.value == Value::Expired {
                return false;
            }
            let touch = entry.json::<Touch>().unwrap();
            if entry.key == "w1._touch.15" && touch.is_some_and(|touch| touch.incarnation == me) {
                return true;
            }
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.unwrap()
}

#[tokio::test]
async fn a_dead_worker_of_another_place_is_waited_for() {
    let fleet = Fleet::start().await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = Supervisor::start(&fleet, hello(one.path(), 1));
    first.sync().await;
    first.agent.abort();
    let (mut expired, me) = (false, hello(two.path(), 2).incarnation);
    let mut touches = fleet.touches();
    // What the first one left is seen before the second one can write over it.
    loop {
        match tokio::time::timeout(DEADLINE, touches.next()).await.unwrap() {
            Item::Entry(entry) => expired |= entry.value == Value::Expired,
            Item::CaughtUp => break,
            Item::Reset => {}
        }
    }
    let mut second = Supervisor::start(&fleet, hello(two.path(), 2));
    second.sync().await;
    loop {
        let item = tokio::time::timeout(DEADLINE, touches.next()).await.unwrap();
        let Item::Entry(entry) = item else { continue };
        expired |= entry.value == Value::Expired;
        if entry.json::<Touch>().unwrap().is_some_and(|touch| touch.incarnation == me) {
            assert!(expired, "it touched before the old lease expired");
            return;
        }
    }
}

#[tokio::test]
async fn a_name_that_was_lost_while_frozen_is_given_up() {
    let fleet = Fleet::start().await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = Supervisor::start(&fleet, hello(one.path(), 1));
    first.sync().await;
    first.freeze();
    wait_for_async("the expiry", DEADLINE, async || fleet.touch(5).await.is_none().then_some(()))
        .await;
    let mut second = Supervisor::start(&fleet, hello(two.path(), 2));
    second.sync().await;
    let by = first.hear("who holds the name", taken_later).await;
    assert!(by.contains(&two.path().display().to_string()), "{by}");
}

fn taken_later(message: ToSupervisor) -> Option<String> {
    match message {
        ToSupervisor::NameTaken { by } => Some(by),
        _ => None,
    }
}
