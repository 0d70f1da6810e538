//! Messages of past releases, `bus-schema/golden/v<major>/`. They are never edited: a fleet is
//! upgraded one machine at a time, so today's code must read what yesterday's wrote. A change that
//! breaks this test needs a new major version, not a new golden message.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use dsbus_schema::alert::{AlertGroup, AlertLease, AlertRate, DeadLetter, Letter, LostLetters};
use dsbus_schema::call::{
    Clear, Cleared, Inventory, InventoryAsk, LogAsk, LogPart, LogWindow, Pong, SignalAsk,
    SignalSent, StdinAsk, StdinTaken, UsageAsk, Using, WindowAsk,
};
use dsbus_schema::command::{
    Act, Acted, Applied, Apply, Ask, Create, Explanation, GroupRow, PlannedMove, Rebalance,
    Recover, Recovered, Refused, RevisionRow, RolloutAct, RolloutRow, Scale, WorkerAct,
    WorkerActed,
};
use dsbus_schema::event::{Event, GroupFact};
use dsbus_schema::goal::Goal;
use dsbus_schema::placement::{Placement, Removal};
use dsbus_schema::program::Program;
use dsbus_schema::secret::SealedSecret;
use dsbus_schema::stats::{SchedulerStats, WorkerStats};
use dsbus_schema::status::{InstanceRow, Status, WorkerRow};
use dsbus_schema::touch::{SchedulerTouch, Touch};
use dsbus_schema::worker::Worker;
use dsbus_schema::worker_goal::WorkerGoal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

type Again = fn(&str) -> Result<Value, serde_json::Error>;

/// Which type reads which file.
const KINDS: &[(&str, Again)] = &[
    ("act", again::<Act>),
    ("acted", again::<Acted>),
    ("acted-reloads", again::<Acted>),
    ("alert-group", again::<AlertGroup>),
    ("alert-group-flapping", again::<AlertGroup>),
    ("alert-group-ids", again::<AlertGroup>),
    ("alert-lease", again::<AlertLease>),
    ("alert-rate", again::<AlertRate>),
    ("applied", again::<Applied>),
    ("apply", again::<Apply>),
    ("ask", again::<Ask>),
    ("clear", again::<Clear>),
    ("clear-forget", again::<Clear>),
    ("cleared", again::<Cleared>),
    ("usage-ask", again::<UsageAsk>),
    ("using", again::<Using>),
    ("create", again::<Create>),
    ("event-placement", again::<Event>),
    ("event-notice", again::<Event>),
    ("event-notice-signalled", again::<Event>),
    ("event-output", again::<Event>),
    ("event-process", again::<Event>),
    ("event-worker", again::<Event>),
    ("event-worker-upgraded", again::<Event>),
    ("event-worker-upgrade-failed", again::<Event>),
    ("event-process-usage", again::<Event>),
    ("goal", again::<Goal>),
    ("goal-reloads", again::<Goal>),
    ("instance-rows", again::<Vec<InstanceRow>>),
    ("instance-rows-usage", again::<Vec<InstanceRow>>),
    ("dead-letter", again::<DeadLetter>),
    ("dead-letter-untold", again::<DeadLetter>),
    ("letter", again::<Letter>),
    ("letter-to", again::<Letter>),
    ("program-stdin", again::<Program>),
    ("signal-ask", again::<SignalAsk>),
    ("signal-sent", again::<SignalSent>),
    ("stdin-ask", again::<StdinAsk>),
    ("stdin-taken", again::<StdinTaken>),
    ("log-ask", again::<LogAsk>),
    ("log-ask-place", again::<LogAsk>),
    ("log-ask-epoch", again::<LogAsk>),
    ("log-part", again::<LogPart>),
    ("log-window", again::<LogWindow>),
    ("window-ask", again::<WindowAsk>),
    ("log-part-bytes", again::<LogPart>),
    ("lost-letters", again::<LostLetters>),
    ("placement", again::<Placement>),
    ("placement-leaves", again::<Placement>),
    ("scheduler-stats", again::<SchedulerStats>),
    ("worker-stats", again::<WorkerStats>),
    ("pong", again::<Pong>),
    ("program", again::<Program>),
    ("program-all", again::<Program>),
    ("program-eventlistener", again::<Program>),
    ("refused", again::<Refused>),
    ("scheduler-touch", again::<SchedulerTouch>),
    ("status", again::<Status>),
    ("status-usage", again::<Status>),
    ("touch", again::<Touch>),
    ("worker", again::<Worker>),
    ("worker-rows", again::<Vec<WorkerRow>>),
    ("worker-facilities", again::<Worker>),
    ("worker-facts", again::<Worker>),
    ("worker-rows-facts", again::<Vec<WorkerRow>>),
    ("act-rolling", again::<Act>),
    ("applied-steps", again::<Applied>),
    ("apply-dry-run", again::<Apply>),
    ("event-rollout", again::<Event>),
    ("event-program", again::<Event>),
    ("event-group", again::<Event>),
    ("event-command", again::<Event>),
    ("event-scheduler", again::<Event>),
    ("event-tick", again::<Event>),
    ("event-user", again::<Event>),
    ("event-listener", again::<Event>),
    ("event-process-group", again::<Event>),
    ("event-output-group", again::<Event>),
    ("event-worker-draining", again::<Event>),
    ("event-worker-dropped", again::<Event>),
    ("explanations", again::<Vec<Explanation>>),
    ("event-scheduler-dropped", again::<Event>),
    ("event-process-unknown", again::<Event>),
    ("event-notice-oom", again::<Event>),
    ("event-notice-immortal", again::<Event>),
    ("event-listener-dropped", again::<Event>),
    ("event-tick-hour", again::<Event>),
    ("goal-by", again::<Goal>),
    ("group", again::<GroupFact>),
    ("removal", again::<Removal>),
    ("scheduler-touch-run", again::<SchedulerTouch>),
    ("worker-goal-drained", again::<WorkerGoal>),
    ("goal-steered", again::<Goal>),
    ("worker-policy", again::<Worker>),
    ("status-refused", again::<Status>),
    ("goal-refused", again::<Goal>),
    ("group-rows", again::<Vec<GroupRow>>),
    ("planned-moves", again::<Vec<PlannedMove>>),
    ("program-rollout", again::<Program>),
    ("rebalance", again::<Rebalance>),
    ("inventory-ask", again::<InventoryAsk>),
    ("inventory", again::<Inventory>),
    ("recover", again::<Recover>),
    ("recovered", again::<Recovered>),
    ("revision-rows", again::<Vec<RevisionRow>>),
    ("rollout-act", again::<RolloutAct>),
    ("rollout-rows", again::<Vec<RolloutRow>>),
    ("scale", again::<Scale>),
    ("worker-act", again::<WorkerAct>),
    ("worker-goal", again::<WorkerGoal>),
    ("secret", again::<SealedSecret>),
    ("program-secrets", again::<Program>),
    ("worker-seal-key", again::<Worker>),
    ("worker-refuses", again::<Worker>),
    ("worker-rows-refuses", again::<Vec<WorkerRow>>),
    ("event-worker-secret", again::<Event>),
    ("workers-acted", again::<Vec<WorkerActed>>),
];

/// Fields that were reserved, that nobody ever wrote, and that are no more: they are read, and ignored.
const RETIRED: [(&str, &str); 2] = [("placement", "signer"), ("placement", "sig")];

fn again<T: Serialize + DeserializeOwned>(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_str::<T>(text)?)
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../golden/v1"))
}

#[test]
fn every_golden_message_is_read_and_nothing_of_it_is_lost() {
    for (name, again) in KINDS {
        let text = fs::read_to_string(folder().join(format!("{name}.json"))).expect(name);
        let mut golden: Value = serde_json::from_str(&text).expect(name);
        for (_, field) in RETIRED.iter().filter(|(of, _)| *of == *name) {
            assert!(golden.as_object_mut().and_then(|golden| golden.remove(*field)).is_some());
        }
        let read = again(&text).expect(name);
        if let Some(lost) = lost(&golden, &read) {
            panic!("golden/v1/{name}.json: {lost} was read, and is not written again");
        }
    }
}

#[test]
fn every_golden_file_is_read_by_a_test() {
    let files: BTreeSet<String> = fs::read_dir(folder())
        .expect("golden/v1")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    let known = KINDS.iter().map(|(name, _)| format!("{name}.json")).collect();
    assert_eq!(files, known, "add the file to KINDS");
}

/// What is in `golden` and not in `read`: a JSON pointer.
fn lost(golden: &Value, read: &Value) -> Option<String> {
    match (golden, read) {
        (Value::Object(golden), Value::Object(read)) => golden.iter().find_map(|(key, value)| {
            let below = read.get(key).map_or(Some(String::new()), |read| lost(value, read))?;
            Some(format!("/{key}{below}"))
        }),
        (Value::Array(golden), Value::Array(read)) if golden.len() == read.len() => golden
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(n, (golden, read))| Some(format!("/{n}{}", lost(golden, read)?))),
        (golden, read) => (golden != read).then(String::new),
    }
}

#[test]
fn a_lost_key_is_found() {
    let golden = serde_json::json!({ "a": [{ "b": 1, "c": 2 }] });
    assert_eq!(lost(&golden, &golden), None);
    let read = serde_json::json!({ "a": [{ "b": 1 }], "new": true });
    assert_eq!(lost(&golden, &read).as_deref(), Some("/a/0/c"));
}
