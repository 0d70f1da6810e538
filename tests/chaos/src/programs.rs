//! The programs of a run: exclusive ones and ordinary ones that nobody commands, and one for each
//! client that does.

use std::collections::BTreeMap;
use std::path::Path;

use dsbus_client::{Bus, Error};
use dsbus_schema::command::{Applied, Apply, Envelope, Verb};
use dsbus_schema::ids::ProgramName;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::Outcome;

/// A declaration.
pub(crate) type Keys = Map<String, Value>;

/// How often an exclusive child beats, in milliseconds: an overlap of this length is seen.
const BEAT_EXCLUSIVE_MS: u32 = 4;
const BEAT_MS: u32 = 20;

/// The witness, declared.
pub(crate) fn witness(directory: &Path, numprocs: u32, exclusive: Option<u32>) -> Outcome<Keys> {
    let beat = if exclusive.is_some() { BEAT_EXCLUSIVE_MS } else { BEAT_MS };
    let command = [
        crate::beside("chaos-witness")?.display().to_string(),
        directory.display().to_string(),
        beat.to_string(),
    ];
    let mut keys = json!({
        "command": command, "numprocs": numprocs, "startsecs": 0, "stopwaitsecs": 1,
        "autorestart": true,
    });
    if let Some(seconds) = exclusive {
        keys["exclusive"] = true.into();
        keys["touch_timeout"] = seconds.into();
    }
    match keys {
        Value::Object(keys) => Ok(keys),
        _ => Err("a declaration is a table".into()),
    }
}

/// What a run declares at first: a name, and its keys.
pub(crate) fn declared(
    directory: &Path,
    clients: usize,
    unfenced: bool,
) -> Outcome<Vec<(String, Keys)>> {
    // As many in all; unfenced, whichever worker is frozen must have one with the short lease.
    let [single, patient, web] = if unfenced { [10, 1, 1] } else { [4, 2, 6] };
    let mut all = vec![
        ("single".to_owned(), witness(directory, single, Some(5))?),
        ("patient".to_owned(), witness(directory, patient, Some(15))?),
        ("web".to_owned(), witness(directory, web, None)?),
    ];
    for number in 1..=clients {
        all.push((client(number), of_client(directory, number, 2)?));
    }
    if unfenced {
        for (_, keys) in &mut all {
            keys.remove("exclusive");
        }
    }
    Ok(all)
}

/// What a client declares: every other one an exclusive program.
pub(crate) fn of_client(directory: &Path, number: usize, copies: u32) -> Outcome<Keys> {
    witness(directory, copies, number.is_multiple_of(2).then_some(5))
}

/// The program that a client commands.
pub(crate) fn client(number: usize) -> String {
    format!("c{number}")
}

/// Whether an instance is of a program that must never have two copies.
pub(crate) fn is_exclusive(instance: &str) -> bool {
    ["single:", "patient:", "c2:", "c4:"].iter().any(|name| instance.starts_with(name))
}

/// Whether nobody commands it, so that it always should run.
pub(crate) fn always_runs(instance: &str) -> bool {
    ["single:", "patient:", "web:"].iter().any(|name| instance.starts_with(name))
}

/// Declares programs.
pub(crate) async fn apply(
    bus: &Bus,
    id: Uuid,
    programs: Vec<(String, Keys)>,
) -> Result<Applied, Error> {
    let programs: BTreeMap<ProgramName, Keys> = programs
        .into_iter()
        .filter_map(|(name, keys)| Some((ProgramName::parse(&name).ok()?, keys)))
        .collect();
    let envelope = Envelope { id: Some(id), version: None };
    bus.command(Verb::Apply, &Apply { envelope, programs, dry_run: false }).await
}
