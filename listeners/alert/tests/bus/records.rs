//! Records that others have left behind.

use dsbus_alert::letters;
use dsbus_client::{Bus, From, Item, Write};
use dsbus_harness::{DEADLINE, NatsServer, Recorder, wait_for_async};
use dsbus_schema::alert::{DeadLetter, Letter, RuleName, TargetName};
use dsbus_schema::event::{Event, Fact, ListenerChange};
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::{AlertKey, Bucket};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::common::{self, Daemon, hears, lose, name, ready, spec, told};

async fn put(bus: &Bus, key: &AlertKey, body: &Value) {
    let write = Write::put(key.of(&name()), body).unwrap();
    bus.write(Bucket::Alerts, write).await.unwrap();
}

/// A dead letter to `hook`.
fn dead(why: &str, told: bool) -> Value {
    let now = Timestamp::from_unix_nanos(1_790_000_000_000_000_000);
    let rule = RuleName::parse("r").unwrap();
    let letter = letters::sample(&FleetName::default(), &rule, now).unwrap();
    let letter = Letter { target: TargetName::parse("hook").unwrap(), ..letter };
    json!(DeadLetter { died: now, why: why.to_owned(), letter, told })
}

#[tokio::test]
async fn whoever_goes_on_tells_of_a_dead_letter_that_nobody_told_of() {
    let (nats, server) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let bus = ready(&nats).await;
    let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
    put(&bus, &AlertKey::Dead(old), &dead("told before", true)).await;
    put(&bus, &AlertKey::Dead(new), &dead("died in between", false)).await;
    for run in 0..2 {
        let daemon = Daemon::start(&nats.url(), spec(&server, &json!({})));
        common::letters(&bus, "that all are told of", |found| {
            found.dead.len() == 2 && found.dead.iter().all(|dead| dead.letter.told)
        })
        .await;
        hears(&bus, &server).await;
        daemon.stop().await;
        if run == 0 {
            // As if it had died before it wrote down that it told.
            put(&bus, &AlertKey::Dead(new), &dead("died in between", false)).await;
        }
    }
    let mut watch = bus.watch_events("dsbus.default.event._listener.>", From::All, "test");
    let mut events: Vec<Event> = Vec::new();
    wait_for_async("all events", DEADLINE, async || match watch.next().await {
        Item::Entry(entry) => {
            events.extend(entry.json::<Event>().unwrap());
            None
        }
        Item::CaughtUp => Some(()),
        // All come again.
        Item::Reset => {
            events.clear();
            None
        }
    })
    .await;
    let [event] = &events[..] else { panic!("once: {events:?}") };
    let Fact::Listener(fact) = &event.data else { panic!("{event:?}") };
    assert_eq!(fact.reason, "rule r: died in between");
}

#[tokio::test]
async fn events_whose_rule_is_gone_are_counted_and_that_is_told() {
    let (nats, server) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let bus = ready(&nats).await;
    let daemon = Daemon::start(&nats.url(), spec(&server, &json!({})));
    hears(&bus, &server).await;
    daemon
        .changes
        .send(spec(&server, &json!({ "name": "slow", "group_wait": "1h" })))
        .await
        .unwrap();
    let keys = AlertKey::all(&name());
    let mut watch = bus.watch(Bucket::Alerts, &keys, "test");
    wait_for_async("a group that waits", DEADLINE, async || {
        lose(&bus, "w1").await;
        match watch.next().await {
            Item::Entry(entry) => entry.key.contains(".group.slow.").then_some(()),
            Item::CaughtUp | Item::Reset => None,
        }
    })
    .await;
    daemon.changes.send(spec(&server, &json!({ "workers": "none" }))).await.unwrap();
    let mut events = bus.watch_events("dsbus.default.event._listener.>", From::All, "test");
    let event: Event =
        wait_for_async("an event about it", DEADLINE, async || match events.next().await {
            Item::Entry(entry) => entry.json().unwrap(),
            Item::CaughtUp | Item::Reset => None,
        })
        .await;
    let Fact::Listener(fact) = &event.data else { panic!("{event:?}") };
    assert_eq!(fact.change, ListenerChange::Dropped);
    assert!(fact.count >= Some(1), "{fact:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn what_cannot_be_read_keeps_nobody_from_the_letters_that_can() {
    let (nats, server) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let bus = ready(&nats).await;
    let newer = json!({ "of": "a newer version" });
    let keys = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let keys = [AlertKey::Letter(keys[0]), AlertKey::Dead(keys[1]), AlertKey::Lost];
    for key in &keys {
        put(&bus, key, &newer).await;
    }
    let third = AlertKey::Dead(Uuid::from_u128(3));
    put(&bus, &third, &dead("no such hook", false)).await;
    let found = common::letters(&bus, "what there is", |_| true).await;
    let mut unreadable: Vec<_> = found.unreadable.iter().map(|(key, _)| key.clone()).collect();
    unreadable.sort();
    let mut all: Vec<_> = keys.iter().map(|key| key.of(&name())).collect();
    all.sort();
    assert_eq!(unreadable, all);
    assert_eq!((found.waiting.len(), found.dead.len()), (0, 1));
    // Meanwhile it is written down that it was told of.
    put(&bus, &third, &dead("no such hook", true)).await;
    letters::discard(&bus, &name(), &found.dead[0]).await.unwrap();
    // Somebody else was quicker.
    letters::discard(&bus, &name(), &found.dead[0]).await.unwrap_err();

    // A daemon works beside them, and leaves them alone.
    let daemon = Daemon::start(&nats.url(), spec(&server, &json!({})));
    hears(&bus, &server).await;
    lose(&bus, "w1").await;
    told(&server, &["w1"]).await;
    daemon.stop().await;
    for key in keys {
        let entry = bus.get(Bucket::Alerts, &key.of(&name())).await.unwrap().unwrap();
        assert_eq!(entry.json::<Value>().unwrap(), Some(newer.clone()), "{key:?}");
    }
}
