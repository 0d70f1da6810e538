//! `dsbus workers`

use dsbus_schema::command::{Ask, Verb};
use dsbus_schema::status::WorkerRow;

use crate::args::{self, Format};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::table::{Column, Text};
use crate::{clock, describe, output};

const COLUMNS: [Column; 8] = [
    Column { title: "NAME", leaves: 0, optional: false },
    Column { title: "STATE", leaves: 0, optional: false },
    Column { title: "INSTANCES", leaves: 0, optional: false },
    Column { title: "TOUCHED", leaves: 1, optional: false },
    Column { title: "HOST", leaves: 2, optional: false },
    Column { title: "SUPERVISOR", leaves: 3, optional: false },
    Column { title: "AGENT", leaves: 4, optional: false },
    Column { title: "VERSION", leaves: 5, optional: false },
];

/// Shows the workers.
///
/// # Errors
/// When nobody answers.
pub(super) async fn run(config: &Config, args: &args::Workers) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = all(&connection).await?;
    match args.output {
        Format::Json => output::json(&rows)?,
        Format::Table if rows.is_empty() => {
            output::line("No workers yet. Start one on a machine: dsbus worker")?;
        }
        Format::Table => {
            let cells: Vec<Vec<Text>> = rows.iter().map(cells).collect();
            output::table(&COLUMNS, &cells)?;
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

fn cells(row: &WorkerRow) -> Vec<Text> {
    let touched = row.last_touch.map(|at| format!("{} ago", describe::age(at, clock::now())));
    vec![
        row.name.to_string().into(),
        describe::worker_cell(row.state),
        row.instances.to_string().into(),
        touched.unwrap_or_else(|| "-".to_owned()).into(),
        row.host.clone().into(),
        row.supervisor_pid.to_string().into(),
        row.agent_pid.to_string().into(),
        row.version.clone().into(),
    ]
}
