//! `dsbus workers [NAME...]`

mod details;

use dsbus_schema::command::{Ask, Verb};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::WorkerState;
use dsbus_schema::status::WorkerRow;
use dsbus_schema::worker::Facts;

use crate::args::{self, Format, Width};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::did_you_mean;
use crate::table::{Column, Text};
use crate::{clock, describe, output};

const COLUMNS: [Column; 14] = [
    Column { title: "NAME", leaves: 0, optional: false },
    Column { title: "STATE", leaves: 0, optional: false },
    Column { title: "INSTANCES", leaves: 0, optional: false },
    Column { title: "CPU", leaves: 0, optional: false },
    Column { title: "MEMORY", leaves: 0, optional: false },
    Column { title: "LOAD", leaves: 1, optional: false },
    Column { title: "DISK", leaves: 4, optional: false },
    Column { title: "UPTIME", leaves: 6, optional: false },
    Column { title: "TOUCHED", leaves: 2, optional: false },
    Column { title: "HOST", leaves: 3, optional: false },
    Column { title: "VERSION", leaves: 7, optional: false },
    Column { title: "SUPERVISOR", leaves: 8, optional: false },
    Column { title: "AGENT", leaves: 9, optional: false },
    Column { title: "LABELS", leaves: 5, optional: true },
];

/// What stands where nothing is known.
const NOTHING: &str = "-";

/// Shows the workers; those that are named, with everything that is known of them.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Workers) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = named(all(&connection).await?, &args.names)?;
    let now = clock::now();
    match args.output {
        Format::Data(data) => output::data(data, &rows)?,
        Format::Text(_) if rows.is_empty() => {
            output::line("No workers yet. Start one on a machine: dsbus worker")?;
        }
        Format::Text(wide) if args.names.is_empty() => {
            let cells: Vec<Vec<Text>> = rows.iter().map(|row| cells(row, now, wide)).collect();
            output::table(wide, &COLUMNS, &cells)?;
        }
        Format::Text(_) => {
            for (number, row) in rows.iter().enumerate() {
                if number > 0 {
                    output::line("")?;
                }
                output::list(&details::pairs(row, now))?;
            }
        }
    }
    Ok(Code::Done)
}

/// Every worker of the fleet.
///
/// # Errors
/// When nobody answers.
pub(super) async fn all(connection: &Connection) -> Result<Vec<WorkerRow>, Failure> {
    connection.command(Verb::Workers, &Ask::default()).await
}

/// Refuses a worker that does not exist. Without schedulers nobody knows.
///
/// # Errors
/// Which worker may have been meant.
pub(super) async fn must_exist(connection: &Connection, name: &WorkerName) -> Result<(), Failure> {
    let Ok(rows) = all(connection).await else { return Ok(()) };
    named(rows, std::slice::from_ref(name)).map(drop)
}

/// Those that are named, in that order; all without names.
fn named(rows: Vec<WorkerRow>, names: &[WorkerName]) -> Result<Vec<WorkerRow>, Failure> {
    if names.is_empty() {
        return Ok(rows);
    }
    let find = |name: &WorkerName| {
        rows.iter().find(|row| row.name == *name).cloned().ok_or_else(|| {
            let failure = Failure::failed(format!("there is no worker {name}"));
            match did_you_mean(name.as_str(), rows.iter().map(|row| row.name.as_str())) {
                Some(hint) => failure.hint(hint),
                None => failure.hint("dsbus workers shows all"),
            }
        })
    };
    names.iter().map(find).collect()
}

/// The facts of a worker as long as they tell something about now.
fn current(row: &WorkerRow) -> Option<&Facts> {
    (row.state != WorkerState::Lost && row.facts.at.is_some()).then_some(&row.facts)
}

fn touched(row: &WorkerRow, now: Timestamp, wide: Width) -> String {
    let touched = row.last_touch.map(|at| describe::ago_cell(at, now, wide));
    touched.unwrap_or_else(|| NOTHING.to_owned())
}

fn labels(row: &WorkerRow) -> String {
    let pairs = row.labels.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

fn cells(row: &WorkerRow, now: Timestamp, wide: Width) -> Vec<Text> {
    let facts = current(row);
    let tell = |tell: fn(&Facts) -> String| Text::from(facts.map_or(NOTHING.to_owned(), tell));
    vec![
        row.name.to_string().into(),
        describe::worker_cell(row.state),
        row.instances.to_string().into(),
        tell(|facts| format!("{:.0}%", facts.cpu_percent)),
        tell(|facts| {
            let used = facts.memory_total.saturating_sub(facts.memory_available);
            describe::size::part(used, facts.memory_total)
        }),
        tell(|facts| format!("{:.2}", facts.load[0])),
        tell(fullest),
        tell(|facts| describe::length(facts.uptime_seconds)),
        touched(row, now, wide).into(),
        row.host.clone().into(),
        row.version.clone().into(),
        row.supervisor_pid.to_string().into(),
        row.agent_pid.to_string().into(),
        labels(row).into(),
    ]
}

/// How full the fullest disk is.
fn fullest(facts: &Facts) -> String {
    let full = facts.disks.iter().filter_map(|disk| {
        let used = disk.total.saturating_sub(disk.available);
        used.saturating_mul(100).checked_div(disk.total)
    });
    full.max().map_or(NOTHING.to_owned(), |percent| format!("{percent}%"))
}

#[cfg(test)]
mod tests;
