//! What a program needs of a worker, and not every worker has. The records of the workers are
//! written by the test, so that it does not depend on what this machine can do.

use crate::bus::connect;
use crate::fleet::{DEADLINE, Fleet};
use dsbus_client::Write;
use dsbus_harness::wait_for_async;
use dsbus_schema::storage::Bucket;
use dsbus_schema::worker::Worker;

/// From now on, and until its agent starts anew, a worker says that it has these.
async fn equip(fleet: &Fleet, worker: &str, facilities: &[&str]) {
    let bus = connect(fleet).await;
    let write = async || {
        let entry = bus.get(Bucket::Workers, worker).await.ok()??;
        let mut record: Worker = entry.json().unwrap().unwrap();
        record.facilities = facilities.iter().map(|f| (*f).to_owned()).collect();
        bus.write(Bucket::Workers, Write::put(worker, &record).unwrap()).await.ok()
    };
    wait_for_async("the record to be written", DEADLINE, write).await;
}

/// It was placed there; a worker that cannot do it, whatever its record says, may refuse it at once.
fn placed(fleet: &Fleet, worker: &str) {
    fleet.wait_event("limited:0 to be placed", |event| {
        let data = &event["data"];
        data["kind"] == "placement" && data["name"] == "limited:0" && data["to"] == worker
    });
}

const LIMITED: &str = r#"
    [program.free]
    command = "sleep 1000"
    [program.limited]
    command = "sleep 1000"
    limits = { memory = "1GB" }
    "#;

#[tokio::test(flavor = "multi_thread")]
async fn what_no_worker_can_do_is_refused_and_what_one_can_waits_for_it() {
    let mut fleet = Fleet::start(2, 2);
    for worker in ["w1", "w2"] {
        equip(&fleet, worker, &["user", "limits.pids"]).await;
    }
    let file = fleet.file("limited.toml", LIMITED);
    let said = fleet.fails(1, &["apply", &file]);
    assert!(said.contains("program.limited.limits: no worker of this fleet has"), "{said}");
    assert!(said.contains("limits.memory"), "{said}");
    assert!(fleet.status().is_empty(), "all or nothing");
    let said =
        fleet.fails(1, &["create", "x", "--limits", "memory=1GB,pids=5", "--", "sleep", "9"]);
    assert!(said.contains("program.x.limits"), "{said}");

    equip(&fleet, "w2", &["limits.memory"]).await;
    fleet.ok(&["apply", &file, "--no-wait"]);
    placed(&fleet, "w2");
    assert_eq!(fleet.worker_row("w2")["facilities"][0], "limits.memory");

    // What it needs is gone with its worker, and the reason names it.
    equip(&fleet, "w1", &["user"]).await;
    fleet.ok(&["stop", "limited"]);
    equip(&fleet, "w2", &["user"]).await;
    fleet.wait_row("limited:0", "on no worker", |row| row["worker"].is_null());
    fleet.ok(&["start", "limited", "--no-wait"]);
    fleet.wait_row("limited:0", "why it waits", |row| {
        let reason = row["reason"].as_str().unwrap_or_default();
        row["state"] == "PENDING" && reason.contains("w1, w2 lack limits.memory")
    });

    // A worker that starts anew tells by itself what it has, whatever was said of it.
    equip(&fleet, "w1", &["limits.memory", "nonsense"]).await;
    placed(&fleet, "w1");
    fleet.kill_worker("w1");
    fleet.worker("w1");
    dsbus_harness::wait_until("the facilities of w1", DEADLINE, || {
        let facilities = fleet.worker_row("w1")["facilities"].to_string();
        if facilities.contains("nonsense") { Err(facilities) } else { Ok(()) }
    });
}
