//! Calls to the worker.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::call::{LOG_BULK_BYTES_MAX, LogAsk, LogFrom, LogPart, Pong, WorkerVerb};

use crate::fleet::{Fleet, name, worker};
use crate::supervisor::{Supervisor, hello};

/// Longer than a busy machine needs for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// What is asked again and again.
const SOON: Duration = Duration::from_secs(5);

async fn log(fleet: &Fleet, index: u32, from: LogFrom) -> Result<LogPart, Error> {
    log_with(fleet, &LogAsk::new(name(index), from)).await
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
        ping(&fleet, SOON).await.ok()
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

fn write(path: &Path, text: &str) {
    let mut file = fs::File::options().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

async fn log_with(fleet: &Fleet, ask: &LogAsk) -> Result<LogPart, Error> {
    fleet.bus.call_worker(&worker(), WorkerVerb::Log, ask, PATIENCE).await
}

async fn bulk(fleet: &Fleet, ask: &LogAsk) -> Result<LogPart, Error> {
    fleet.bus.call_worker(&worker(), WorkerVerb::LogBulk, ask, PATIENCE + PATIENCE).await
}

#[tokio::test]
async fn who_follows_is_served_apart_and_may_wait() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("instances/web.0");
    fs::create_dir_all(&home).unwrap();
    let path = home.join("stdout.log");
    fs::write(&path, "a\n").unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    let first = dsbus_harness::wait_for_async("an answer", dsbus_harness::DEADLINE, async || {
        log(&fleet, 0, LogFrom::Last(2)).await.ok()
    })
    .await;
    // Nobody has said that he goes on.
    let mut ask = LogAsk::new(name(0), LogFrom::Place(first.next));
    assert_eq!(bulk(&fleet, &ask).await, Err(Error::NoResponders));
    ask.wait_ms = 1;
    log_with(&fleet, &ask).await.unwrap();
    let empty =
        dsbus_harness::wait_for_async("to be served", dsbus_harness::DEADLINE, async || {
            bulk(&fleet, &ask).await.ok()
        })
        .await;
    assert_eq!((empty.is_empty(), empty.next), (true, first.next));
    // An ask that waits is answered by what comes, at once, and with as much as fits.
    ask.wait_ms = 9_000;
    let written = "a line\n".repeat(LOG_BULK_BYTES_MAX / 3);
    let writing = async { write(&path, &written) };
    let (part, ()) = tokio::join!(bulk(&fleet, &ask), writing);
    let part = part.unwrap();
    let len = part.text.len();
    assert!(part.more && len > 0 && len <= LOG_BULK_BYTES_MAX, "{len}");
    ask.from = LogFrom::Place(part.next);
    assert_eq!(bulk(&fleet, &ask).await.unwrap().text.len(), LOG_BULK_BYTES_MAX);
    // What is not there is told when it was waited for.
    ask = LogAsk { wait_ms: 1, ..LogAsk::new(name(1), LogFrom::Last(2)) };
    assert!(matches!(bulk(&fleet, &ask).await, Err(Error::Refused { code: 404, .. })));
}

/// Asks until there is output, or an error, however busy the machine is.
async fn followed(fleet: &Fleet, ask: &LogAsk) -> Result<String, Error> {
    loop {
        let verb = WorkerVerb::LogBulk;
        let part: LogPart =
            fleet.bus.call_worker(&worker(), verb, ask, dsbus_harness::DEADLINE).await?;
        if !part.text.is_empty() {
            return Ok(part.text);
        }
    }
}

#[tokio::test]
async fn followers_that_are_too_many_are_told_and_the_worker_answers_as_ever() {
    // A little more than may follow.
    const MANY: usize = 530;
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("instances/web.0");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("stdout.log"), "a\n").unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    let ask = LogAsk { wait_ms: 9_000, ..LogAsk::new(name(0), LogFrom::Last(0)) };
    let first =
        dsbus_harness::wait_for_async("to be served", dsbus_harness::DEADLINE, async || {
            let _ = log_with(&fleet, &ask).await;
            bulk(&fleet, &LogAsk { wait_ms: 1, ..ask.clone() }).await.ok()
        })
        .await;
    let ask = LogAsk { from: LogFrom::Place(first.next), ..ask };
    let mut asked: Vec<_> = (0..MANY).map(|_| Box::pin(followed(&fleet, &ask))).collect();
    // Some are told, and the others wait for output.
    let mut told = 0;
    while told < MANY - 512 {
        let (answer, _, rest) = futures::future::select_all(asked).await;
        match answer {
            Err(Error::Refused { code: 503, text, .. }) => assert!(text.contains("512"), "{text}"),
            other => panic!("{other:?} after {told}"),
        }
        (asked, told) = (rest, told + 1);
    }
    let asked = futures::future::join_all(asked);
    let others = async {
        dsbus_harness::wait_for_async("an answer", dsbus_harness::DEADLINE, async || {
            ping(&fleet, SOON).await.ok()
        })
        .await;
        let line = dsbus_harness::wait_for_async("a line", dsbus_harness::DEADLINE, async || {
            log(&fleet, 0, LogFrom::Last(1)).await.ok()
        });
        assert_eq!(line.await.text, "a\n");
        // And those who wait are answered as soon as there is something.
        write(&home.join("stdout.log"), "b\n");
    };
    for answer in tokio::join!(asked, others).0 {
        assert_eq!(answer.as_deref(), Ok("b\n"));
    }
}

#[tokio::test]
async fn a_ping_is_answered_for_a_living_supervisor_only_and_makes_it_touch() {
    let fleet = Fleet::start().await;
    let directory = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(&fleet, hello(directory.path(), 1));
    supervisor.sync().await;
    let pong = dsbus_harness::wait_for_async("an answer", dsbus_harness::DEADLINE, async || {
        ping(&fleet, SOON).await.ok()
    })
    .await;
    assert_eq!(
        (pong.supervisor_pid, pong.incarnation),
        (42, hello(directory.path(), 1).incarnation)
    );
    let mut last = fleet.touch_after(5, 0).await.1.sent;
    dsbus_harness::wait_for_async("an early touch", dsbus_harness::DEADLINE, async || {
        ping(&fleet, SOON).await.ok()?;
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
