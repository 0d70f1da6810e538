//! `dsbus status [NAME...]`

mod watch;

use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::Exit;
use dsbus_schema::status::InstanceRow;

use crate::args::{self, Format, Width};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::table::{Column, Text, Tone};
use crate::{clock, describe, output};

/// Those between EPOCH and SINCE, and between RESTARTS and DETAIL, are only for whoever wants all of them.
const COLUMNS: [Column; 14] = [
    Column { title: "NAME", leaves: 0, optional: false },
    Column { title: "STATE", leaves: 0, optional: false },
    Column { title: "WORKER", leaves: 0, optional: false },
    Column { title: "PID", leaves: 1, optional: false },
    Column { title: "EPOCH", leaves: 4, optional: false },
    Column { title: "REVISION", leaves: 0, optional: true },
    Column { title: "SINCE", leaves: 2, optional: false },
    Column { title: "RESTARTS", leaves: 3, optional: false },
    Column { title: "LAST EXIT", leaves: 0, optional: true },
    Column { title: "ARGUMENTS", leaves: 0, optional: true },
    Column { title: "NOTE", leaves: 0, optional: true },
    Column { title: "META", leaves: 0, optional: true },
    Column { title: "ID", leaves: 0, optional: true },
    Column { title: "DETAIL", leaves: 0, optional: true },
];

/// Shows the last known states.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Status) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    if args.watch {
        return watch::run(&connection, args).await;
    }
    let rows = connection.status(&args.names).await?;
    match args.output {
        Format::Data(data) => output::data(data, &rows)?,
        Format::Text(_) if rows.is_empty() => output::line(
            "No programs yet. Declare one: dsbus create hello -- sleep 1000, or dsbus apply FILE",
        )?,
        Format::Text(wide) => table(&rows, wide)?,
    }
    Ok(if rows.iter().all(|row| row.ok) { Code::Done } else { Code::NotRunning })
}

/// Prints rows as a table.
///
/// # Errors
/// When nobody reads it.
pub(super) fn table(rows: &[InstanceRow], wide: Width) -> Result<(), Failure> {
    Ok(output::table(wide, &COLUMNS, &all_cells(rows, wide))?)
}

fn all_cells(rows: &[InstanceRow], wide: Width) -> Vec<Vec<Text>> {
    let (now, terminal) = (clock::now(), output::is_terminal());
    rows.iter().map(|row| cells(row, wide, now, terminal)).collect()
}

fn cells(row: &InstanceRow, wide: Width, now: Timestamp, terminal: bool) -> Vec<Text> {
    let or_dash = |text: Option<String>| Text::from(text.unwrap_or_else(|| "-".to_owned()));
    let placed = (row.epoch.0 > 0).then(|| row.epoch.to_string());
    let since = |at| match wide {
        Width::Fitted => describe::age(at, now),
        Width::Whole => format!("{} ({})", describe::age(at, now), describe::exact(at)),
    };
    let all = |text: &dyn Fn() -> Option<String>| match wide {
        Width::Fitted => Text::default(),
        Width::Whole => text().unwrap_or_default().into(),
    };
    let mut detail = describe::detail(row);
    if wide == Width::Whole && detail.is_empty() {
        detail = row.reason.clone().unwrap_or_default();
    }
    vec![
        row.name.to_string().into(),
        describe::state_cell(row, terminal),
        or_dash(row.worker.as_ref().map(ToString::to_string)),
        or_dash(row.pid.map(|pid| pid.to_string())),
        or_dash(placed),
        all(&|| Some(row.revision.to_string())),
        or_dash(row.since.map(since)),
        row.restarts.to_string().into(),
        all(&|| row.exit.as_ref().map(Exit::to_string)),
        all(&|| Some(shell_words::join(&row.arguments))),
        all(&|| row.note.clone()),
        all(&|| Some(describe::meta(row))),
        all(&|| Some(row.id.to_string())),
        Text { text: detail, tone: if row.ok { Tone::Plain } else { Tone::Bad } },
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table;

    fn shown(row: &InstanceRow, wide: Width, width: Option<u16>) -> Vec<String> {
        let now = Timestamp::from_unix_nanos(row.since.unwrap().unix_nanos() + 61_000_000_000);
        let lines = table::render(&COLUMNS, &[cells(row, wide, now, false)], width);
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn a_wide_table_has_exact_times_and_more_columns() {
        let mut row: InstanceRow = serde_json::from_value(json!({
            "name": "web:0", "id": "00000000-0000-0000-0000-000000000001", "program": "web",
            "index": 0, "state": "RUNNING", "statecode": 20, "worker": "w1", "pid": 17,
            "epoch": 3, "revision": 2, "since": "2026-05-01T12:00:00Z", "restarts": 1,
            "exit": null, "meta": { "team": "blue" }, "reason": null, "spawnerr": null,
            "stderr_line": null, "stdout_logfile": null, "stderr_logfile": null,
            "wanted": {"run": true}, "acted": {"run": true}, "ok": true,
        }))
        .unwrap();
        for width in [None, Some(80)] {
            assert_eq!(
                shown(&row, Width::Fitted, width),
                [
                    "NAME   STATE    WORKER  PID  EPOCH  SINCE  RESTARTS",
                    "web:0  RUNNING  w1      17   3      1m 1s  1"
                ]
            );
        }
        assert_eq!(
            shown(&row, Width::Whole, None),
            [
                "NAME   STATE    WORKER  PID  EPOCH  REVISION  SINCE                            \
                 RESTARTS  META       ID",
                "web:0  RUNNING  w1      17   3      2         1m 1s (2026-05-01 12:00:00 UTC)  \
                 1         team=blue  00000000-0000-0000-0000-000000000001"
            ]
        );
        row.arguments = vec!["--all".to_owned(), "a b".to_owned()];
        row.exit = Some(Exit { code: Some(7), signal: None, core: false });
        row.note = Some("warm".to_owned());
        row.reason = Some("started by hand".to_owned());
        let said = shown(&row, Width::Whole, None).join("\n");
        for part in
            ["LAST EXIT    ARGUMENTS", "exit code 7  --all 'a b'  warm", "  started by hand"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!shown(&row, Width::Fitted, None)[1].contains("started by hand"));
    }
}
