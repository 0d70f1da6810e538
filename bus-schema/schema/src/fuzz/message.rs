//! Everything that is said on the bus.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{INPUT_BYTES_MAX, refused};
use crate::alert::{AlertGroup, AlertLease, AlertRate, DeadLetter, Letter, LostLetters};
use crate::call::{
    Clear, Cleared, Inventory, InventoryAsk, LogAsk, LogPart, LogWindow, Pong, SignalAsk,
    SignalSent, StdinAsk, StdinTaken, UsageAsk, Using, WindowAsk,
};
use crate::command::{
    Act, Acted, Applied, Apply, Ask, Create, Explanation, GroupRow, PlannedMove, Rebalance,
    Recover, Recovered, Refused, RevisionRow, RolloutAct, RolloutRow, Scale, WorkerAct,
    WorkerActed,
};
use crate::event::{Event, GroupFact};
use crate::goal::Goal;
use crate::ids::FleetName;
use crate::placement::{Placement, Removal};
use crate::program::{Program, ProgramSpec};
use crate::stats::{SchedulerStats, WorkerStats};
use crate::status::{InstanceRow, Status, WorkerRow};
use crate::touch::{SchedulerTouch, Touch};
use crate::worker::Worker;
use crate::worker_goal::WorkerGoal;
use crate::{storage, subject};

/// Most bytes that a message of a few bytes has when it is written: all defaults of declarations.
const DEFAULTS_BYTES_MAX: usize = 64 * 1024;

/// Whoever is on the bus may send anything to anybody: an input is read as each of the messages.
///
/// # Panics
/// When a message that is read is written otherwise, or a refusal says nothing.
pub fn message(data: &[u8]) {
    if data.len() > INPUT_BYTES_MAX {
        return;
    }
    let checks: &[fn(&[u8])] = &[
        again::<Act>,
        again::<Acted>,
        again::<AlertGroup>,
        again::<AlertLease>,
        again::<AlertRate>,
        again::<Applied>,
        again::<Apply>,
        again::<Ask>,
        again::<Clear>,
        again::<Cleared>,
        again::<Create>,
        again::<DeadLetter>,
        again::<Vec<Explanation>>,
        again::<GroupFact>,
        again::<Goal>,
        again::<Vec<GroupRow>>,
        again::<Vec<InstanceRow>>,
        again::<Letter>,
        again::<LogAsk>,
        again::<LogPart>,
        again::<LogWindow>,
        again::<LostLetters>,
        again::<Placement>,
        again::<Vec<PlannedMove>>,
        again::<Pong>,
        again::<Program>,
        again::<Rebalance>,
        again::<InventoryAsk>,
        again::<Inventory>,
        again::<Recover>,
        again::<Recovered>,
        again::<Refused>,
        again::<Removal>,
        again::<Vec<RevisionRow>>,
        again::<RolloutAct>,
        again::<Vec<RolloutRow>>,
        again::<Scale>,
        again::<SchedulerStats>,
        again::<SchedulerTouch>,
        again::<SignalAsk>,
        again::<SignalSent>,
        again::<Status>,
        again::<StdinAsk>,
        again::<StdinTaken>,
        again::<Touch>,
        again::<UsageAsk>,
        again::<Using>,
        again::<WindowAsk>,
        again::<Worker>,
        again::<WorkerAct>,
        again::<Vec<WorkerActed>>,
        again::<WorkerGoal>,
        again::<Vec<WorkerRow>>,
        again::<WorkerStats>,
        event,
        declaration,
    ];
    for check in checks {
        check(data);
    }
}

/// Reads it, writes it, and reads that: nothing more is lost by it.
fn again<T: Serialize + DeserializeOwned>(data: &[u8]) {
    read::<T>(data);
}

fn read<T: Serialize + DeserializeOwned>(data: &[u8]) -> Option<T> {
    let name = std::any::type_name::<T>();
    let read = match serde_json::from_slice::<T>(data) {
        Ok(read) => read,
        Err(e) => {
            refused(&e.to_string(), data);
            return None;
        }
    };
    let Ok(written) = serde_json::to_string(&read) else { panic!("{name} cannot be written") };
    let longest = 64 * data.len() + DEFAULTS_BYTES_MAX;
    assert!(written.len() <= longest, "{name}: {} bytes of {}", written.len(), data.len());
    let once_more = match serde_json::from_str::<T>(&written) {
        Ok(once_more) => serde_json::to_string(&once_more),
        Err(e) => panic!("{name}: {written} is written, and not read: {e}"),
    };
    assert_eq!(once_more.ok().as_deref(), Some(written.as_str()), "{name} changes");
    Some(read)
}

/// An event has a subject of single tokens, which nothing in it can widen or shift.
fn event(data: &[u8]) {
    let Some(event) = read::<Event>(data) else { return };
    let (fleet, source) = (FleetName::default(), crate::event::Source::Fleet);
    let subject = subject::event(&fleet, &source, &event.data);
    let tokens: Vec<&str> = subject.split('.').collect();
    assert_eq!(tokens.len(), 8, "{subject}");
    let plain = |token: &&str| !token.is_empty() && !token.contains(['*', '>', ' ']);
    assert!(tokens.iter().all(plain), "{subject}");
    assert_eq!(tokens[4], event.data.kind(), "{subject}");
}

/// A declaration: what is wrong with it names its key; what is right can be run.
fn declaration(data: &[u8]) {
    let Ok(keys) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    for keys in [Some(&keys), keys.get("spec").and_then(Value::as_object)].into_iter().flatten() {
        match ProgramSpec::read(keys) {
            Err(problems) => {
                assert!(!problems.is_empty(), "refused for nothing");
                for problem in problems {
                    assert!(!problem.key.is_empty(), "of no key: {}", problem.message);
                    refused(&problem.message, data);
                }
            }
            Ok(spec) => {
                let argv = spec.argv();
                assert!(argv.is_ok_and(|argv| !argv.is_empty()), "accepted without a command");
                let written = serde_json::to_value(&spec).ok();
                let Some(Value::Object(written)) = written else { panic!("is no table") };
                match ProgramSpec::read(&written) {
                    Ok(once_more) => assert_eq!(once_more, spec, "a declaration changes"),
                    Err(problems) => panic!("{written:?} is refused: {problems:?}"),
                }
                assert!(spec.same_identity(&spec) && spec.same_child(&spec));
                for warning in spec.warnings() {
                    refused(&warning.message, data);
                }
            }
        }
    }
    // Keys of buckets that a message names are one key each.
    if let Ok(row) = serde_json::from_slice::<InstanceRow>(data) {
        let key = storage::fleet_status_key(&row.name);
        assert_eq!(storage::parse_fleet_status_key(&key), Some(row.name), "{key}");
    }
}
