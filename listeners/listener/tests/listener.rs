//! A listener against a real server, and the example as a process.

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is the failure")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use dsbus_client::{Bus, ConnectOptions};
use dsbus_harness::{DEADLINE, NatsServer, wait_for_async};
use dsbus_listener::{Begin, Event, Listener, Options, Retry, run_on};
use dsbus_schema::event::{Fact, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::{FleetName, UserName, WorkerName};
use dsbus_schema::moment::Timestamp;
use tokio::sync::oneshot;
use uuid::Uuid;

async fn fleet() -> (NatsServer, Bus) {
    let server = NatsServer::start();
    let bus = Bus::connect(ConnectOptions {
        urls: vec![server.url()],
        fleet: FleetName::default(),
        user: UserName::default(),
        access: dsbus_client::Access::default(),
        label: "test".to_owned(),
        wait: true,
    })
    .await
    .unwrap();
    wait_for_async("the buckets", DEADLINE, async || bus.provision(None).await.ok()).await;
    (server, bus)
}

async fn tell(bus: &Bus, change: WorkerChange, number: u128) {
    let worker = WorkerName::parse("w1").unwrap();
    let source = Source::Worker(worker.clone());
    let reason = Some(format!("n{number}"));
    let fact = WorkerFact { worker, change, reason, incarnation: None, dropped: None };
    let time = Timestamp::from_unix_nanos(1_790_000_000_000_000_000);
    let id = Uuid::from_u128(number);
    let event = Event::new(bus.fleet(), &source, id, time, Fact::Worker(fact));
    // One that is published twice is stored once.
    wait_for_async("an event to be stored", DEADLINE, async || {
        bus.publish_event(&source, &event).await.ok()
    })
    .await;
}

/// Notes what it heard; refuses what it is told to, so many times.
#[derive(Clone, Default)]
struct Ear {
    heard: Arc<Mutex<Vec<u128>>>,
    refuse: Arc<Mutex<Option<(u128, u32)>>>,
}

impl Listener for Ear {
    async fn heard(&mut self, event: &Event) -> Result<(), Retry> {
        let id = event.id.as_u128();
        let mut refuse = self.refuse.lock().unwrap();
        if let Some((refused, times)) = &mut *refuse
            && *refused == id
            && *times > 0
        {
            *times -= 1;
            return Err(Retry::because("not now"));
        }
        self.heard.lock().unwrap().push(id);
        Ok(())
    }
}

impl Ear {
    async fn has(&self, ids: &[u128]) {
        wait_for_async(&format!("{ids:?}"), DEADLINE, async || {
            (*self.heard.lock().unwrap() == ids).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_tried_again_and_nothing_overtakes_it() {
    let (_server, bus) = fleet().await;
    let ear = Ear::default();
    *ear.refuse.lock().unwrap() = Some((2, 3));
    let options = Options::new("t").unwrap().events(&["worker.LOST"]).unwrap().begin(Begin::All);
    let run = |stop: oneshot::Receiver<()>| {
        let (bus, options, ear) = (bus.clone(), options.clone(), ear.clone());
        tokio::spawn(async move {
            run_on(&bus, &options, ear, async { drop(stop.await) }).await.unwrap();
        })
    };
    let (stop, stopped) = oneshot::channel();
    let running = run(stopped);
    for number in 1..=3 {
        tell(&bus, WorkerChange::Lost, number).await;
        tell(&bus, WorkerChange::Back, number + 100).await;
    }
    ear.has(&[1, 2, 3]).await;
    stop.send(()).unwrap();
    running.await.unwrap();
    tell(&bus, WorkerChange::Lost, 4).await;
    let (_stop, stopped) = oneshot::channel();
    run(stopped);
    wait_for_async("the fourth", DEADLINE, async || {
        (ear.heard.lock().unwrap().last() == Some(&4)).then_some(())
    })
    .await;
    // The last ones come again if NATS was too slow to hear that they were done; in order, too.
    let heard = ear.heard.lock().unwrap().clone();
    assert!(heard[..3] == [1, 2, 3] && heard[3..].is_sorted_by(|a, b| a < b), "{heard:?}");
}

#[test]
fn words_that_mean_nothing_are_told() {
    let error = Options::new("t").unwrap().events(&["proces.FATAL"]).unwrap_err().to_string();
    assert!(error.starts_with("events: ") && error.contains("process"), "{error}");
}

/// The example of examples/listen.rs.
fn example(url: &str) -> (Child, BufReader<ChildStdout>) {
    // Cargo puts examples beside the folder of tests.
    let here = std::env::current_exe().unwrap();
    let built: PathBuf = here.parent().unwrap().parent().unwrap().join("examples/listen");
    assert!(built.exists(), "{} is missing: cargo build --examples", built.display());
    let mut child = Command::new(built)
        .env("NATS_URL", url)
        .env_remove("DSBUS_FLEET")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_misses_nothing_while_it_is_dead() {
    let (server, bus) = fleet().await;
    tell(&bus, WorkerChange::Lost, 1).await;
    let (mut child, mut out) = example(&server.url());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "2026-09-21T14:13:20.000Z w1 LOST n1\n");
    child.kill().unwrap();
    child.wait().unwrap();
    tell(&bus, WorkerChange::Back, 2).await;
    tell(&bus, WorkerChange::Lost, 3).await;
    let (mut child, mut out) = example(&server.url());
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.ends_with("n3\n")) {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended after {lines:?}");
        lines.push(line);
    }
    // The first one comes again if it was killed before NATS heard that it was done.
    assert!(lines.len() <= 2 && lines.iter().all(|line| line.contains(" LOST ")), "{lines:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}
