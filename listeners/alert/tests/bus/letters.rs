//! Letters that fail, and dead ones.

use dsbus_client::{From, Item};
use dsbus_harness::{DEADLINE, NatsServer, Recorder, wait_for_async};
use dsbus_schema::event::{Event, Fact, ListenerChange};
use dsbus_schema::moment::Timestamp;
use serde_json::json;

use crate::common::{Daemon, hears, letters, lose, name, ready, spec, spec_of, told, workers};

#[tokio::test]
async fn a_hook_that_fails_is_tried_again() {
    let (nats, server) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let bus = ready(&nats).await;
    let daemon = Daemon::start(&nats.url(), spec(&server, &json!({})));
    hears(&bus, &server).await;
    let busy = json!({ "status": 429, "headers": { "Retry-After": "2" } });
    server.answer(&json!([{ "status": 500 }, busy, {}]));
    lose(&bus, "w1").await;
    told(&server, &["w1"]).await;
    letters(&bus, "nothing on its way", |found| found.waiting.is_empty()).await;
    // The server may have answered before it has written down that it was asked.
    let three = async || (workers(&server) == ["w1"; 3]).then_some(());
    wait_for_async("three tries", DEADLINE, three).await;
    let ids: Vec<_> = server
        .given()
        .iter()
        .rev()
        .take(3)
        .map(|r| r["headers"]["dsbus-message-id"].clone())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "the same at each try: {ids:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_a_dead_letter_an_event_and_may_be_tried_again() {
    let (nats, server) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let bus = ready(&nats).await;
    // It is told of dead letters, too, and does not tell of theirs without end.
    let rule = json!({ "events": "worker.LOST, listener.DEAD_LETTER" });
    let daemon = Daemon::start(&nats.url(), spec(&server, &rule));
    hears(&bus, &server).await;
    server.answer(&json!([{ "status": 404, "body": "no such hook" }]));
    lose(&bus, "w1").await;
    let found = letters(&bus, "two dead letters", |found| found.dead.len() == 2).await;
    let dead = &found.dead[0].letter;
    assert_eq!((dead.letter.tries, dead.why.as_str()), (1, "404 Not Found: no such hook"));
    let mut watch = bus.watch_events("dsbus.default.event._listener.>", From::All, "test");
    let event: Event =
        wait_for_async("an event about it", DEADLINE, async || match watch.next().await {
            Item::Entry(entry) => entry.json().unwrap(),
            Item::CaughtUp | Item::Reset => None,
        })
        .await;
    let Fact::Listener(fact) = event.data else { panic!("{event:?}") };
    assert_eq!((fact.change, fact.target.as_deref()), (ListenerChange::DeadLetter, Some("hook")));
    assert!(fact.reason.contains("404"), "{}", fact.reason);

    server.answer(&json!([{}]));
    let before = server.given().len();
    let now = Timestamp::from_unix_nanos(1_790_000_000_000_000_000);
    dsbus_alert::letters::discard(&bus, &name(), &found.dead[1]).await.unwrap();
    let retry = dsbus_alert::letters::retry(&bus, &name(), &found.dead[0], now).await;
    retry.unwrap();
    wait_for_async("the letter", DEADLINE, async || (server.given().len() > before).then_some(()))
        .await;
    let found = letters(&bus, "no letters", |found| found.waiting.is_empty()).await;
    assert_eq!((found.dead, found.lost), (vec![], 0));
    lose(&bus, "w2").await;
    told(&server, &["w2"]).await;
    assert_eq!(server.given().len(), before + 2, "nobody tells of what is no letter any more");
    daemon.stop().await;
}

#[tokio::test]
async fn a_target_waits_for_no_other_and_no_letter_for_ever() {
    let (nats, good) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let (silent, bad) = (
        Recorder::http(&json!([{ "delay": 600 }]), None),
        Recorder::http(&json!([{ "status": 500 }]), None),
    );
    let bus = ready(&nats).await;
    let hooks = [
        ("silent", &silent, json!({ "timeout": "10m" })),
        ("bad", &bad, json!({ "retry_for": "2s" })),
        ("good", &good, json!({})),
    ];
    let daemon = Daemon::start(&nats.url(), spec_of(&json!({}), &hooks));
    wait_for_async("the first letter", DEADLINE, async || {
        lose(&bus, "first").await;
        (!good.given().is_empty()).then_some(())
    })
    .await;
    lose(&bus, "w1").await;
    told(&good, &["w1"]).await;
    let found = letters(&bus, "what was tried for long enough to be dead", |found| {
        let waits = |name| found.waiting.iter().any(|(_, l)| l.target.as_str() == name);
        !waits("bad") && !waits("good") && waits("silent")
    })
    .await;
    assert!(found.dead.iter().all(|dead| dead.letter.letter.target.as_str() == "bad"));
    let why = &found.dead[0].letter.why;
    assert!(why.starts_with("500 Internal Server Error (given up at try "), "{why}");
    daemon.crash().await;
}
