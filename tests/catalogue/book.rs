//! Where examples are written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use dsbus_harness::wait_until;
use dsbus_schema::event::Event;
use serde_json::Value;

use crate::fleet::{DSBUS, Fleet};

/// How long something may take to happen.
const PATIENCE: Duration = Duration::from_secs(70);

/// What was recorded in this run: the first example of a name stays.
static RECORDED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bus-schema/examples")
}

/// Writes one example.
pub(crate) fn write(fleet: &Fleet, name: &str, value: &Value) {
    let mut recorded = RECORDED.lock().unwrap();
    let path = folder().join(format!("{name}.json"));
    let anew = std::env::var("CATALOGUE").is_ok_and(|value| value == "all");
    if recorded.iter().any(|known| known == name) || (path.exists() && !anew) {
        return;
    }
    recorded.push(name.to_owned());
    let mut value = value.clone();
    scrub(&mut value, &said_elsewhere(fleet));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Events keep the order of fields that the bus has.
    let text = match serde_json::from_value::<Event>(value.clone()) {
        Ok(event) => serde_json::to_string_pretty(&event).unwrap(),
        Err(_) => format!("{value:#}"),
    };
    std::fs::write(path, format!("{text}\n")).unwrap();
}

/// What belongs to the machine that records, and what stands for it.
fn said_elsewhere(fleet: &Fleet) -> Vec<(String, &'static str)> {
    let trimmed = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let all = [
        (fleet.path().to_str().unwrap().to_owned(), "/var/lib/dsbus"),
        (DSBUS.to_owned(), "/usr/bin/dsbus"),
        (trimmed("/proc/sys/kernel/hostname"), "rack1"),
        (trimmed("/proc/sys/kernel/osrelease"), "6.12.0"),
        (trimmed("/etc/machine-id"), "5b1f0d7c0f6e4d4c8f2b7a9e3c1d2e4f"),
        (trimmed("/proc/sys/kernel/random/boot_id"), "0c8a5be4-3f0d-4f5e-9d1f-2b6f7a1c9e55"),
    ];
    all.into_iter().filter(|(text, _)| !text.is_empty()).collect()
}

fn scrub(value: &mut Value, words: &[(String, &str)]) {
    match value {
        Value::String(text) => {
            for (word, stands) in words {
                *text = text.replace(word, stands);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| scrub(item, words)),
        Value::Object(map) => map.values_mut().for_each(|item| scrub(item, words)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Kind and TYPE of an event.
fn name(event: &Value) -> String {
    let mut parts = event["type"].as_str().unwrap().split('.').skip(2);
    let (kind, name) = (parts.next().unwrap(), parts.next().unwrap());
    // What users say is as they say it.
    if kind == "user" {
        format!("{kind}.{name}")
    } else {
        format!("{kind}.{}", name.to_uppercase())
    }
}

fn events(fleet: &Fleet) -> Vec<Value> {
    let all = fleet.json(&["events", "--type", "*", "-n", "100000", "-o", "json"]);
    all.as_array().unwrap().clone()
}

/// Waits until each of these events has happened, and says which did not.
pub(crate) fn wait(fleet: &Fleet, wanted: &[&str]) {
    for wanted in wanted {
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(&format!("{wanted} to happen"), PATIENCE, || {
                let names: Vec<String> = events(fleet).iter().map(name).collect();
                if names.iter().any(|name| name == wanted) { Ok(()) } else { Err("it did not") }
            });
        }));
        if found.is_err() {
            let text = format!("catalogue: {wanted} did not happen\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        }
    }
}

/// Records an example of each event that happened: the one that tells most.
pub(crate) fn record(fleet: &Fleet) {
    let mut best: BTreeMap<String, (usize, Value)> = BTreeMap::new();
    for mut event in events(fleet) {
        // The printed form says where it is in the stream.
        event.as_object_mut().unwrap().remove("sequence");
        let told = event["data"].as_object().unwrap().values().filter(|v| !v.is_null()).count();
        let entry = best.entry(name(&event)).or_insert((0, Value::Null));
        if told > entry.0 {
            *entry = (told, event);
        }
    }
    for (name, (_, event)) in best {
        write(fleet, &format!("events/{name}"), &event);
    }
}
