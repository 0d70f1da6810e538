//! A fleet in which all is well.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_client::{Account, Place, Server, ServiceInfo, Share, Stream, User};
use dsbus_schema::ids::{FleetName, InstanceId, ProgramId, ProgramName, UserName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program::CGROUP;
use dsbus_schema::status::InstanceRow;
use dsbus_schema::storage::{Bucket, events_stream, listener_consumer};
use dsbus_schema::worker::{Disk, Facts as Measured, Worker};
use serde_json::json;
use uuid::Uuid;

use super::super::facts::{Bus, Facts};

pub(super) fn at(seconds: i128) -> Timestamp {
    Timestamp::from_unix_nanos(seconds * 1_000_000_000)
}

pub(super) fn worker(name: &str) -> Worker {
    let id = Uuid::from_u128(7);
    let json = json!({
        "name": name, "machine": "m", "boot": id, "directory": "/d", "host": "rack1",
        "incarnation": id, "agent_pid": 2, "supervisor_pid": 1, "version": "0.1.0",
        "started": at(0), "facilities": [CGROUP],
    });
    let mut worker: Worker = serde_json::from_value(json).unwrap();
    let disk = Disk { path: "/".to_owned(), total: 100 << 30, available: 50 << 30 };
    worker.facts = Measured { at: Some(at(99)), disks: vec![disk], ..Measured::default() };
    worker
}

pub(super) fn instance(name: &str) -> InstanceId {
    InstanceId::new(ProgramName::parse(name).unwrap(), 0)
}

pub(super) fn row(program: &str, state: &str, ok: bool) -> InstanceRow {
    serde_json::from_value(json!({
        "name": format!("{program}:0"), "id": Uuid::from_u128(1), "program": program,
        "index": 0, "state": state, "statecode": 0, "worker": "w1", "pid": null, "epoch": 1,
        "revision": 1, "since": null, "restarts": 0, "exit": null, "reason": null,
        "spawnerr": null, "stderr_line": null, "stdout_logfile": null, "stderr_logfile": null,
        "wanted": {"run": true}, "acted": {"run": true}, "ok": ok,
    }))
    .unwrap()
}

pub(super) fn stream(name: &str) -> Stream {
    Stream {
        name: name.to_owned(),
        differences: Vec::new(),
        changes: Vec::new(),
        replicas: 1,
        behind: Vec::new(),
        bytes: 1024,
        at: Some(at(100)),
    }
}

/// A fleet of two schedulers and two workers that run web:0.
pub(super) fn healthy() -> Bus {
    let fleet = FleetName::default();
    let service = |service: &str, id: &str| ServiceInfo {
        service: service.to_owned(),
        id: id.to_owned(),
        version: "0.1.0".to_owned(),
    };
    let w1 = WorkerName::parse("w1").unwrap();
    let streams = Bucket::ALL.map(|bucket| bucket.stream(&fleet)).into_iter();
    let streams = streams.chain([events_stream(&fleet)]);
    let web = ProgramName::parse("web").unwrap();
    Bus {
        url: "nats://h:1".to_owned(),
        server: Ok(Server {
            name: "n1".to_owned(),
            version: "2.15.1".to_owned(),
            new_enough: true,
            payload_max: 1 << 20,
            too_narrow: None,
            servers: 1,
            round_trip: Duration::from_micros(300),
        }),
        account: Ok(Account { storage: (1024, -1), streams: (7, -1), consumers: (4, -1) }),
        user: Ok(User::default()),
        streams: streams.map(|name| (name.clone(), Ok(stream(&name)))).collect(),
        now: at(100),
        services: Ok(vec![
            service("dsbus", "s1"),
            service("dsbus", "s2"),
            service("dsbus-worker", "w1"),
            service("dsbus-worker", "w2"),
        ]),
        workers: vec![(worker("w1"), at(100)), (worker("w2"), at(100))],
        touched: [w1.clone(), WorkerName::parse("w2").unwrap()].into(),
        rows: Some(Ok(vec![row("web", "RUNNING", true)])),
        programs: BTreeMap::from([(web.clone(), ProgramId(Uuid::from_u128(1)))]),
        named: BTreeMap::new(),
        secrets: BTreeMap::new(),
        placements: vec![(w1.clone(), instance("web"))],
        statuses: vec![(w1.clone(), instance("web"))],
        children: vec![(w1, instance("web"), worker("w1").incarnation)],
        places: vec![Place {
            name: listener_consumer(&web, ProgramId(Uuid::from_u128(1))),
            waiting: 0,
            unacknowledged: 0,
            read: false,
            share: Share::One,
        }],
        unread: Vec::new(),
    }
}

pub(super) fn facts(bus: Result<Bus, (String, String)>) -> Facts {
    Facts {
        version: "0.1.0",
        settings: "the bus is nats://h:1".to_owned(),
        unused: None,
        open_files: Vec::new(),
        open_files_max: Some(65_536),
        fleet: FleetName::default(),
        user: UserName::default(),
        role: None,
        grants: Vec::new(),
        start: ["scheduler", "worker"].map(|daemon| format!("dsbus {daemon} --nats nats://h:1")),
        bus,
    }
}
