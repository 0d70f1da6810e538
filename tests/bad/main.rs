//! What is wrong is refused, with words that name what is wrong; and the fleet is as it was before. The
//! tables beside this file have one row for each mistake.

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is the failure")]

mod bus;
#[expect(dead_code, reason = "another suite uses all of it")]
#[path = "../e2e/fleet.rs"]
mod fleet;
mod http;
mod people;
mod raw;
#[expect(dead_code, reason = "another suite uses all of it")]
#[path = "../gateway/served.rs"]
mod served;

use std::collections::BTreeMap;

use dsbus_client::{Bus, ConnectOptions};
use dsbus_harness::{wait_for_async, wait_until};
use dsbus_schema::ids::{FleetName, UserName};
use dsbus_schema::storage::{Bucket, FleetKey};
use serde::de::DeserializeOwned;

use fleet::Fleet;

/// The rows of a table.
fn rows<T: DeserializeOwned>(text: &str) -> Vec<T> {
    #[derive(serde::Deserialize)]
    struct Table<T> {
        rows: Vec<T>,
    }
    toml::from_str::<Table<T>>(text).unwrap().rows
}

/// Words of the libraries and of the language, which tell people nothing.
const INNER: [&str; 9] = [
    "untagged",
    "did not match any variant",
    "invalid type:",
    "invalid value:",
    "invalid length",
    "expected struct",
    "unknown variant",
    "missing field",
    "panicked",
];

/// What is wrong with an answer to a row; nothing, where it says what it should, in plain words.
fn judged<C: PartialEq + std::fmt::Debug>(
    row: &str,
    (code, text): (C, &str),
    (expected, says): (C, &str),
) -> Option<String> {
    let inner = INNER.iter().find(|word| text.contains(*word));
    if code == expected && text.contains(says) && inner.is_none() {
        return None;
    }
    let inner = inner.map_or_else(String::new, |word| format!(", which has the words {word:?}"));
    Some(format!("{row}\n    {code:?}: {text}{inner}\n    but not {expected:?}: {says}"))
}

/// A fleet that has something to lose.
fn fleet() -> Fleet {
    let fleet = Fleet::start(1, 1);
    fleet.apply("[program.web]\ncommand = \"sleep 1000\"\nnumprocs = 2\nstartsecs = 0\n");
    fleet
}

/// All that must stay: what is stored, who lives.
#[derive(Debug, PartialEq)]
struct Seen {
    stored: BTreeMap<(String, String), String>,
    children: Vec<(String, i64)>,
    agent: i32,
}

async fn connect(fleet: &Fleet) -> Bus {
    let options = ConnectOptions {
        urls: vec![fleet.nats.url()],
        fleet: FleetName::default(),
        user: UserName::default(),
        access: dsbus_client::Access::default(),
        label: "test".to_owned(),
        wait: false,
    };
    // One attempt ends soon, as that of a verb.
    let connect = async || Bus::connect(options.clone()).await.ok();
    wait_for_async("the bus", fleet::DEADLINE, connect).await
}

fn look(fleet: &Fleet) -> Seen {
    let stored = tokio::runtime::Runtime::new().unwrap().block_on(stored(fleet));
    let rows = wait_until("all to run", fleet::DEADLINE, || {
        let rows = fleet.try_json(&["status", "-o", "json"])?;
        let all = rows.as_array().unwrap();
        let run = all.iter().all(|row| row["state"] == "RUNNING" && row["pid"].is_i64());
        if run { Ok(all.clone()) } else { Err(rows.to_string()) }
    });
    let child = |row: &serde_json::Value| {
        (row["name"].as_str().unwrap().to_owned(), row["pid"].as_i64().unwrap())
    };
    Seen { stored, children: rows.iter().map(child).collect(), agent: fleet.agent_pid("w1") }
}

async fn stored(fleet: &Fleet) -> BTreeMap<(String, String), String> {
    let bus = connect(fleet).await;
    let mut all = BTreeMap::new();
    for bucket in [Bucket::Programs, Bucket::Goals, Bucket::Fleet] {
        let read = wait_for_async("the entries", fleet::DEADLINE, async || {
            bus.read_all(bucket, "test").await.ok()
        });
        for entry in read.await {
            // Leases are renewed all the time.
            let lease = matches!(
                FleetKey::parse(&entry.key),
                Some(FleetKey::Touch(..) | FleetKey::Scheduler(_))
            );
            if bucket != Bucket::Fleet || !lease {
                all.insert((format!("{bucket:?}"), entry.key), format!("{:?}", entry.value));
            }
        }
    }
    all
}

/// Nothing has changed, and nobody has panicked.
fn assert_as_before(fleet: &mut Fleet, before: &Seen, daemons: &[&str], wrong: &[String]) {
    let count = wrong.len();
    assert!(wrong.is_empty(), "{count} rows:\n{}", wrong.join("\n"));
    assert_eq!(look(fleet), *before);
    for name in daemons {
        assert!(fleet::alive(fleet.pid(name)), "{name} has ended");
        let log = std::fs::read_to_string(fleet.log(name)).unwrap();
        assert!(!log.contains("panicked"), "{name}: {log}");
    }
}
