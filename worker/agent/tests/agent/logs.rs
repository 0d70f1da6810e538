//! Calls to the worker.

use std::fs;
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::call::{Channel, LogAsk, LogFrom, LogPart, Pong, WorkerVerb};

use crate::fleet::{Fleet, name, worker};
use crate::supervisor::{Supervisor, hello};

const PATIENCE: Duration = Duration::from_secs(5);

async fn log(fleet: &Fleet, index: u32, from: LogFrom) -> Result<LogPart, Error> {
    let ask = LogAsk { name: name(index), channel: Channel::Stdout, from };
    fleet.bus.call_worker(&worker(), WorkerVerb::Log, &ask, PATIENCE).await
}

async fn ping(fleet: &Fleet, patience: Duration) -> Result<Pong, Error> {
    let nothing = serde_json::json!({});
    fleet.bus.call_worker(&worker(), WorkerVerb::Ping, &nothing, patience).await
}

#[tokio::test]
async fn a_log_is_read_and_followed() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("instances/web.0");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("stdout.log"), "a\nb\nc\n").unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    dsbus_harness::wait_for_async("an answer", dsbus_harness::DEADLINE, async || {
        ping(&fleet, PATIENCE).await.ok()
    })
    .await;
    let part = log(&fleet, 0, LogFrom::Last(2)).await.unwrap();
    assert_eq!((part.text.as_str(), part.more, part.skipped), ("b\nc\n", false, false));
    fs::rename(home.join("stdout.log"), home.join("stdout.log.1")).unwrap();
    fs::write(home.join("stdout.log"), "d\n").unwrap();
    let part = log(&fleet, 0, LogFrom::Place(part.next)).await.unwrap();
    assert_eq!((part.text.as_str(), part.skipped), ("d\n", false));
    match log(&fleet, 1, LogFrom::Last(2)).await {
        Err(Error::Refused { code: 404, text, .. }) => assert!(text.contains("web:1"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_ping_is_answered_for_a_living_supervisor_only_and_makes_it_touch() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    let pong = dsbus_harness::wait_for_async("an answer", dsbus_harness::DEADLINE, async || {
        ping(&fleet, PATIENCE).await.ok()
    })
    .await;
    assert_eq!(
        (pong.supervisor_pid, pong.incarnation),
        (42, hello(directory.path(), 1).incarnation)
    );
    let mut last = fleet.touch_after(5, 0).await.1.sent;
    dsbus_harness::wait_for_async("an early touch", dsbus_harness::DEADLINE, async || {
        ping(&fleet, PATIENCE).await.ok()?;
        let (_, touch) = fleet.touch(5).await?;
        let gap = touch.sent.since(std::mem::replace(&mut last, touch.sent));
        // It would be due 1.67 s after the last one.
        (!gap.is_zero() && gap < Duration::from_millis(1600)).then_some(())
    })
    .await;
    supervisor.freeze();
    dsbus_harness::wait_for_async("silence", dsbus_harness::DEADLINE, async || {
        let answer = ping(&fleet, Duration::from_millis(200)).await;
        matches!(answer, Err(Error::Timeout)).then_some(())
    })
    .await;
}
