//! A bus, daemons on it, and events that did not happen to anybody.

use std::path::PathBuf;

use dsbus_alert::letters::{self, Letters};
use dsbus_alert::spec::{Around, Found, Spec, read};
use dsbus_alert::{Config, Error};
use dsbus_client::{Bus, ConnectOptions};
use dsbus_harness::{DEADLINE, NatsServer, Recorder, wait_for_async};
use dsbus_schema::alert::AlertName;
use dsbus_schema::event::{Event, Fact, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::{FleetName, UserName, WorkerName};
use dsbus_schema::moment::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(crate) fn name() -> AlertName {
    AlertName::parse("alert").unwrap()
}

/// One rule about workers that are lost, each in a group of its own, told to a hook.
pub(crate) fn spec(server: &Recorder, rule: &Value) -> Spec {
    spec_of(rule, &[("hook", server, json!({}))])
}

/// The same, with several hooks.
pub(crate) fn spec_of(rule: &Value, hooks: &[(&'static str, &Recorder, Value)]) -> Spec {
    let target = |(name, server, more): &(&'static str, &Recorder, Value)| {
        let url = format!("http://127.0.0.1:{}/", server.port());
        (*name, and(&json!({ "type": "webhook", "url": url, "timeout": "2m" }), more))
    };
    spec_to(rule, &hooks.iter().map(target).collect::<Vec<_>>())
}

fn and(value: &Value, more: &Value) -> Value {
    let mut table = value.as_object().unwrap().clone();
    table.extend(more.as_object().unwrap().clone());
    Value::Object(table)
}

/// The same, with targets of any kind.
pub(crate) fn spec_to(rule: &Value, targets: &[(&str, Value)]) -> Spec {
    let table = |value: &Value| -> Map<String, Value> { value.as_object().unwrap().clone() };
    let names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
    let keys = json!({
        "name": "r", "events": "worker.LOST", "group_by": "worker", "group_wait": 0, "quiet": 0,
        "send": names,
    });
    let targets: Vec<_> =
        targets.iter().map(|(name, target)| ((*name).to_owned(), table(target))).collect();
    let around = Around {
        variable: &|_| None,
        path: &|text| Ok(PathBuf::from(text)),
        host: "here".to_owned(),
    };
    let Found { spec, problems, .. } = read(&[table(&and(&keys, rule))], &targets, &around);
    assert_eq!(problems, []);
    spec
}

pub(crate) fn options(url: &str) -> ConnectOptions {
    ConnectOptions {
        urls: vec![url.to_owned()],
        fleet: FleetName::default(),
        user: UserName::default(),
        access: dsbus_client::Access::default(),
        label: "test".to_owned(),
        wait: true,
    }
}

/// A bus that is ready.
pub(crate) async fn ready(nats: &NatsServer) -> Bus {
    let bus = Bus::connect(options(&nats.url())).await.unwrap();
    bus.provision(Some(1)).await.unwrap();
    bus
}

/// A daemon in this process.
pub(crate) struct Daemon {
    task: JoinHandle<Result<(), Error>>,
    stop: oneshot::Sender<()>,
    pub(crate) changes: mpsc::Sender<Spec>,
}

impl Daemon {
    pub(crate) fn start(url: &str, spec: Spec) -> Daemon {
        let (stop, stopped) = oneshot::channel::<()>();
        let (change, changes) = mpsc::channel(1);
        let host = "here".to_owned();
        let config = Config { connect: options(url), name: name(), host, spec, changes };
        let task = tokio::spawn(dsbus_alert::run(config, async move { drop(stopped.await) }));
        Daemon { task, stop, changes: change }
    }

    /// As when the process is killed.
    pub(crate) async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// As by SIGTERM.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// Loses a worker until somebody is told (events from before the consumer was made are not heard),
/// and then waits until the last of these letters has arrived.
pub(crate) async fn hears(bus: &Bus, server: &Recorder) {
    wait_for_async("the first letter", DEADLINE, async || {
        lose(bus, WARM).await;
        (!server.given().is_empty()).then_some(())
    })
    .await;
    let last = json!(lose(bus, WARM).await);
    wait_for_async("the last letter", DEADLINE, async || {
        events(server).iter().any(|event| event["id"] == last).then_some(())
    })
    .await;
    letters(bus, "nothing on its way", |found| found.waiting.is_empty()).await;
}

/// The worker that is lost until somebody hears of it.
const WARM: &str = "warm";

/// A worker is lost.
pub(crate) async fn lose(bus: &Bus, worker: &str) -> Uuid {
    let fact = WorkerFact {
        worker: WorkerName::parse(worker).unwrap(),
        change: WorkerChange::Lost,
        reason: Some("silent".to_owned()),
        incarnation: None,
        dropped: None,
    };
    let time = Timestamp::from_unix_nanos(1_790_000_000_000_000_000);
    let fact = Fact::Worker(fact);
    let event = Event::new(bus.fleet(), &Source::Fleet, Uuid::now_v7(), time, fact);
    // One that is published twice is stored once.
    wait_for_async("an event to be stored", DEADLINE, async || {
        bus.publish_event(&Source::Fleet, &event).await.ok()
    })
    .await;
    event.id
}

/// The events that a hook was told of, in order.
fn events(server: &Recorder) -> Vec<Value> {
    let body = |request: &Value| -> Value {
        serde_json::from_str(request["body"].as_str().unwrap()).unwrap()
    };
    let given = server.given();
    given.iter().flat_map(|r| body(r)["events"].as_array().unwrap().clone()).collect()
}

/// The workers that a hook was told of, in order, without the first one.
pub(crate) fn workers(server: &Recorder) -> Vec<String> {
    let names = events(server).into_iter().map(|e| e["subject"].as_str().unwrap().to_owned());
    names.filter(|name| name != WARM).collect()
}

/// Waits until a hook was told of these at least.
pub(crate) async fn told(server: &Recorder, names: &[&str]) {
    wait_for_async(&format!("{names:?} to be told"), DEADLINE * 2, async || {
        let told = workers(server);
        names.iter().all(|name| told.iter().any(|other| other == name)).then_some(())
    })
    .await;
}

/// Waits until letters are as `is` wants them.
pub(crate) async fn letters(bus: &Bus, what: &str, is: impl Fn(&Letters) -> bool) -> Letters {
    wait_for_async(what, DEADLINE, async || {
        letters::letters(bus, &name()).await.ok().filter(|found| is(found))
    })
    .await
}
