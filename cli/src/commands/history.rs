//! `dsbus history NAME`

use dsbus_schema::command::{RevisionRow, Verb};
use dsbus_schema::ids::{InstanceId, UserName};
use dsbus_schema::moment::Timestamp;

use crate::args::{About, Format, Width};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::table::{Column, Text, Tone};
use crate::{clock, describe, output};

const COLUMNS: [Column; 5] = [
    Column { title: "PROGRAM", leaves: 0, optional: true },
    Column { title: "REVISION", leaves: 0, optional: false },
    Column { title: "DECLARED", leaves: 0, optional: false },
    Column { title: "BY", leaves: 1, optional: true },
    Column { title: "CHANGED", leaves: 0, optional: true },
];

/// Shows what was declared, oldest first.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &About) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let last = |row: &RevisionRow| InstanceId::new(row.program.clone(), 0);
    let rows = connection.all(Verb::History, &args.names, last).await?;
    match args.output {
        Format::Data(data) => output::data(data, &rows)?,
        Format::Text(wide) => table(&rows, wide)?,
    }
    Ok(Code::Done)
}

/// Prints revisions as a table.
///
/// # Errors
/// When nobody reads it.
pub(super) fn table(rows: &[RevisionRow], wide: Width) -> Result<(), Failure> {
    let several = rows.first().is_some_and(|first| rows.iter().any(|r| r.id != first.id));
    let now = clock::now();
    let cells: Vec<Vec<Text>> = rows.iter().map(|row| cells(row, several, now, wide)).collect();
    Ok(output::table(wide, &COLUMNS, &cells)?)
}

fn cells(row: &RevisionRow, several: bool, now: Timestamp, wide: Width) -> Vec<Text> {
    let revision =
        if row.current { format!("{} (now)", row.revision) } else { row.revision.to_string() };
    let tone = if row.current { Tone::Good } else { Tone::Plain };
    let program = if several { row.program.to_string() } else { String::new() };
    vec![
        program.into(),
        Text { text: revision, tone },
        describe::ago_cell(row.at, now, wide).into(),
        row.by.as_ref().map(UserName::to_string).unwrap_or_default().into(),
        what(row).into(),
    ]
}

/// Why, and which keys: `undo to revision 1 (command, startsecs)`.
fn what(row: &RevisionRow) -> String {
    let keys = row.changed.join(", ");
    match &row.reason {
        Some(reason) if keys.is_empty() => reason.clone(),
        Some(reason) => format!("{reason} ({keys})"),
        None => keys,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wide_table_says_when_exactly() {
        let row: RevisionRow = serde_json::from_value(json!({
            "program": "web", "id": "00000000-0000-0000-0000-000000000001", "revision": 2,
            "current": true, "at": "2026-05-01T12:00:00Z", "by": "ann", "reason": null,
            "changed": ["command"],
        }))
        .unwrap();
        let now = Timestamp::from_unix_nanos(row.at.unix_nanos() + 61_000_000_000);
        let said = |wide| cells(&row, false, now, wide)[2].text.clone();
        assert_eq!(said(Width::Fitted), "1m 1s ago");
        assert_eq!(said(Width::Whole), "1m 1s ago (2026-05-01 12:00:00 UTC)");
    }
}
