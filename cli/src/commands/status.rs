//! `dsbus status [NAME...]`

mod watch;

use dsbus_schema::moment::Timestamp;
use dsbus_schema::status::InstanceRow;

use crate::args::{self, Format, Width};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::table::{Column, Text, Tone};
use crate::{clock, describe, output};

const COLUMNS: [Column; 8] = [
    Column { title: "NAME", leaves: 0, optional: false },
    Column { title: "STATE", leaves: 0, optional: false },
    Column { title: "WORKER", leaves: 0, optional: false },
    Column { title: "PID", leaves: 1, optional: false },
    Column { title: "EPOCH", leaves: 4, optional: false },
    Column { title: "SINCE", leaves: 2, optional: false },
    Column { title: "RESTARTS", leaves: 3, optional: false },
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
    Ok(output::table(wide, &COLUMNS, &all_cells(rows))?)
}

fn all_cells(rows: &[InstanceRow]) -> Vec<Vec<Text>> {
    let (now, terminal) = (clock::now(), output::is_terminal());
    rows.iter().map(|row| cells(row, now, terminal)).collect()
}

fn cells(row: &InstanceRow, now: Timestamp, terminal: bool) -> Vec<Text> {
    let or_dash = |text: Option<String>| Text::from(text.unwrap_or_else(|| "-".to_owned()));
    let placed = (row.epoch.0 > 0).then(|| row.epoch.to_string());
    let detail =
        Text { text: describe::detail(row), tone: if row.ok { Tone::Plain } else { Tone::Bad } };
    vec![
        row.name.to_string().into(),
        describe::state_cell(row, terminal),
        or_dash(row.worker.as_ref().map(ToString::to_string)),
        or_dash(row.pid.map(|pid| pid.to_string())),
        or_dash(placed),
        or_dash(row.since.map(|since| describe::age(since, now))),
        row.restarts.to_string().into(),
        detail,
    ]
}
