//! What is known of secrets: all but their values. Pure, but for the printing.

use std::collections::BTreeMap;

use dsbus_schema::ids::{SecretName, UserName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::secret::SealedSecret;
use dsbus_schema::worker::Worker;
use serde::Serialize;

use crate::args::Width;
use crate::failure::Failure;
use crate::output;
use crate::table::{Column, Text, Tone};

const COLUMNS: [Column; 5] = [
    Column { title: "SECRET", leaves: 0, optional: false },
    Column { title: "WORKERS", leaves: 0, optional: false },
    Column { title: "LACKED BY", leaves: 0, optional: false },
    Column { title: "SET", leaves: 1, optional: false },
    Column { title: "BY", leaves: 2, optional: true },
];

/// A secret.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct SecretRow {
    name: SecretName,
    /// When it was set last.
    changed: Timestamp,
    by: Option<UserName>,
    /// Workers that have the value that was set last.
    workers: Vec<WorkerName>,
    /// Those that have one that was set before.
    older: Vec<WorkerName>,
    /// Those that have one, and another key than it is sealed to.
    unreadable: Vec<WorkerName>,
    /// Those that have none.
    missing: Vec<WorkerName>,
    /// Those that have one, and are not known any more.
    gone: Vec<WorkerName>,
}

/// All secrets, by name.
pub(super) fn rows(
    workers: &[Worker],
    secrets: &[(WorkerName, SecretName, SealedSecret)],
) -> Vec<SecretRow> {
    let mut by_name: BTreeMap<&SecretName, BTreeMap<&WorkerName, &SealedSecret>> = BTreeMap::new();
    for (worker, name, sealed) in secrets {
        by_name.entry(name).or_default().insert(worker, sealed);
    }
    by_name.into_iter().filter_map(|(name, copies)| row(workers, name, &copies)).collect()
}

fn row(
    workers: &[Worker],
    name: &SecretName,
    copies: &BTreeMap<&WorkerName, &SealedSecret>,
) -> Option<SecretRow> {
    let newest = *copies.values().max_by_key(|sealed| sealed.version)?;
    let mut row = SecretRow {
        name: name.clone(),
        changed: newest.changed,
        by: newest.by.clone(),
        workers: Vec::new(),
        older: Vec::new(),
        unreadable: Vec::new(),
        missing: Vec::new(),
        gone: Vec::new(),
    };
    for worker in workers {
        let of = match copies.get(&worker.name) {
            None => &mut row.missing,
            Some(sealed) if Some(&sealed.key) != worker.seal_key.as_ref() => &mut row.unreadable,
            Some(sealed) if sealed.version != newest.version => &mut row.older,
            Some(_) => &mut row.workers,
        };
        of.push(worker.name.clone());
    }
    let known = |name: &WorkerName| workers.iter().any(|worker| worker.name == *name);
    row.gone = copies.keys().filter(|name| !known(name)).map(|name| (*name).clone()).collect();
    Some(row)
}

/// Prints them, and what to do where workers lack one.
///
/// # Errors
/// When nobody reads.
pub(super) fn print(wide: Width, rows: &[SecretRow]) -> Result<(), Failure> {
    let cells: Vec<Vec<Text>> = rows.iter().map(cells).collect();
    output::table(wide, &COLUMNS, &cells)?;
    for row in rows {
        if !row.unreadable.is_empty() {
            output::warning(format_args!(
                "{}: {} cannot read it: a new key since it was set; set it again",
                row.name,
                names(&row.unreadable)
            ));
        }
        if !row.older.is_empty() {
            let older = names(&row.older);
            output::note(format_args!("{}: {older} have a value that was set before", row.name));
        }
        if !row.gone.is_empty() {
            let gone = names(&row.gone);
            output::note(format_args!("{}: also sealed for {gone}, not known any more", row.name));
        }
    }
    if rows.iter().any(|row| !row.missing.is_empty()) {
        output::note("whoever lacks one gets it when it is set again: dsbus secret set NAME");
    }
    Ok(())
}

fn cells(row: &SecretRow) -> Vec<Text> {
    let lacking: Vec<WorkerName> = row.missing.iter().chain(&row.unreadable).cloned().collect();
    let tone = if row.unreadable.is_empty() { Tone::Moving } else { Tone::Bad };
    let having: Vec<WorkerName> = row.workers.iter().chain(&row.older).cloned().collect();
    vec![
        row.name.to_string().into(),
        names(&having).into(),
        Text { text: names(&lacking), tone },
        row.changed.to_string().into(),
        row.by.as_ref().map(ToString::to_string).unwrap_or_default().into(),
    ]
}

fn names(names: &[WorkerName]) -> String {
    names.iter().map(WorkerName::as_str).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn worker(name: &str, key: Option<&str>) -> Worker {
        let id = Uuid::nil();
        serde_json::from_value(json!({
            "name": name, "machine": "m", "boot": id, "directory": "/d", "host": "h",
            "incarnation": id, "agent_pid": 2, "supervisor_pid": 1, "version": "0.1.0",
            "started": "2026-11-21T12:00:00Z", "seal_key": key,
        }))
        .unwrap()
    }

    fn copy(worker: &str, key: &str, version: u128) -> (WorkerName, SecretName, SealedSecret) {
        let sealed = SealedSecret {
            key: key.to_owned(),
            sender: String::new(),
            sealed: String::new(),
            version: Uuid::from_u128(version),
            changed: Timestamp::from_unix_nanos(i128::try_from(version).unwrap()),
            by: None,
        };
        (worker.parse().unwrap(), "db".parse().unwrap(), sealed)
    }

    #[test]
    fn who_has_a_secret_and_who_lacks_it() {
        let workers = [
            worker("new", Some("X1")),
            worker("old", Some("X2")),
            worker("reset", Some("X3")),
            worker("none", Some("X4")),
            worker("before", None),
        ];
        let secrets = [
            copy("new", "X1", 2),
            copy("old", "X2", 1),
            copy("reset", "X9", 2),
            copy("gone", "X", 1),
        ];
        let rows = rows(&workers, &secrets);
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!(names(&row.workers), "new");
        assert_eq!(names(&row.older), "old");
        assert_eq!(names(&row.unreadable), "reset");
        assert_eq!(names(&row.missing), "none before");
        assert_eq!(names(&row.gone), "gone");
        assert_eq!(row.changed, Timestamp::from_unix_nanos(2));
    }
}
