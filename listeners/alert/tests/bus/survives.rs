//! What happens between an event and its arrival.

use dsbus_harness::{NatsServer, Recorder};
use serde_json::json;

use crate::common::{Daemon, hears, letters, lose, ready, spec, spec_of, told, workers};

#[tokio::test]
async fn what_is_not_delivered_yet_survives_a_crash() {
    let (nats, server) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let bus = ready(&nats).await;
    let spec = spec(&server, &json!({ "group_wait": "1s" }));
    let daemon = Daemon::start(&nats.url(), spec.clone());
    hears(&bus, &server).await;
    // One fails and is on its way; one waits for its group when the daemon dies.
    server.answer(&json!([{ "status": 503 }]));
    lose(&bus, "w1").await;
    letters(&bus, "a failed try", |found| found.waiting.iter().any(|(_, l)| l.tries > 0)).await;
    lose(&bus, "w2").await;
    daemon.crash().await;
    lose(&bus, "w3").await;
    server.answer(&json!([{}]));
    let daemon = Daemon::start(&nats.url(), spec);
    told(&server, &["w1", "w2", "w3"]).await;
    letters(&bus, "nothing on its way", |found| found.waiting.is_empty()).await;
    daemon.stop().await;
}

#[tokio::test]
async fn another_one_takes_over_and_nothing_is_told_by_both() {
    let (nats, server) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let bus = ready(&nats).await;
    let spec = spec(&server, &json!({}));
    let first = Daemon::start(&nats.url(), spec.clone());
    hears(&bus, &server).await;
    let second = Daemon::start(&nats.url(), spec.clone());
    let holder = letters(&bus, "a lease", |found| found.lease.is_some()).await.lease;
    for worker in ["w1", "w2"] {
        lose(&bus, worker).await;
    }
    told(&server, &["w1", "w2"]).await;
    assert_eq!(workers(&server), ["w1", "w2"]);
    // What has arrived and is not written down would be told again.
    letters(&bus, "nothing on its way", |found| found.waiting.is_empty()).await;
    first.crash().await;
    lose(&bus, "w3").await;
    told(&server, &["w3"]).await;
    letters(&bus, "nothing on its way", |found| found.waiting.is_empty()).await;
    let taken = letters(&bus, "another lease", |found| found.lease.is_some()).await.lease;
    assert_ne!(taken, holder);
    // One that is stopped makes room at once, and leaves nothing behind.
    let third = Daemon::start(&nats.url(), spec);
    second.stop().await;
    lose(&bus, "w4").await;
    told(&server, &["w4"]).await;
    assert_eq!(workers(&server), ["w1", "w2", "w3", "w4"]);
    third.stop().await;
    assert_eq!(letters(&bus, "no lease", |found| found.lease.is_none()).await.waiting, []);
}

#[tokio::test]
async fn the_bus_may_be_away() {
    let (mut nats, server) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let bus = ready(&nats).await;
    let daemon = Daemon::start(&nats.url(), spec(&server, &json!({})));
    hears(&bus, &server).await;
    server.answer(&json!([{ "status": 500 }]));
    lose(&bus, "w1").await;
    letters(&bus, "a letter on its way", |found| !found.waiting.is_empty()).await;
    nats.stop();
    server.answer(&json!([{}]));
    // It arrives although that cannot be written down.
    told(&server, &["w1"]).await;
    nats.restart();
    lose_when_back(&bus, "w2").await;
    told(&server, &["w2"]).await;
    letters(&bus, "nothing on its way", |found| found.waiting.is_empty()).await;
    daemon.stop().await;
}

async fn lose_when_back(bus: &dsbus_client::Bus, worker: &str) {
    dsbus_harness::wait_for_async("the bus", dsbus_harness::DEADLINE, async || {
        bus.provisioned().await.ok()?.then_some(())
    })
    .await;
    lose(bus, worker).await;
}

#[tokio::test]
async fn a_changed_file_is_gone_on_with() {
    let (nats, server) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let other = Recorder::http(&json!([{}]), None);
    let bus = ready(&nats).await;
    let daemon = Daemon::start(&nats.url(), spec(&server, &json!({ "workers": "warm" })));
    hears(&bus, &server).await;
    lose(&bus, "w1").await;
    daemon.changes.send(spec(&other, &json!({ "workers": "w*" }))).await.unwrap();
    hears(&bus, &other).await;
    lose(&bus, "w2").await;
    told(&other, &["w2"]).await;
    assert_eq!(workers(&server), [""; 0], "the rule before was about another worker");
    daemon.stop().await;
}

#[tokio::test]
async fn one_that_stands_by_keeps_its_rules_when_the_changed_ones_cannot_be_used() {
    let (nats, server) = (NatsServer::start(), Recorder::http(&json!([{}]), None));
    let bus = ready(&nats).await;
    let first = Daemon::start(&nats.url(), spec(&server, &json!({})));
    hears(&bus, &server).await;
    let second = Daemon::start(&nats.url(), spec(&server, &json!({})));
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("ca.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&authority, made.cert.pem()).unwrap();
    let changed = spec_of(&json!({}), &[("hook", &server, json!({ "ca_file": authority }))]);
    // It is gone just after it was looked at.
    drop(directory);
    // When there is room for a third one, the first was looked at.
    for daemon in [&first, &second, &first, &second, &first, &second] {
        daemon.changes.send(changed.clone()).await.unwrap();
    }
    first.crash().await;
    lose(&bus, "w1").await;
    told(&server, &["w1"]).await;
    second.stop().await;
}
