//! `dsbus groups [NAME...]`

use dsbus_schema::command::{GroupRow, GroupState, Verb};
use dsbus_schema::ids::{InstanceId, ProgramName};

use crate::args::{self, Format};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::table::{Column, Text, Tone};

const COLUMNS: [Column; 5] = [
    Column { title: "GROUP", leaves: 0, optional: false },
    Column { title: "STATE", leaves: 0, optional: false },
    Column { title: "OK", leaves: 0, optional: false },
    Column { title: "FAILURE", leaves: 0, optional: true },
    Column { title: "PROGRAMS", leaves: 0, optional: true },
];

/// Shows the groups.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Groups) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let last = |row: &GroupRow| InstanceId::new(row.name.clone(), 0);
    let rows = connection.all(Verb::Groups, &args.names, last).await?;
    match args.output {
        Format::Data(data) => output::data(data, &rows)?,
        Format::Text(_) if rows.is_empty() => {
            output::line("No groups. A program is put in one by its key group")?;
        }
        Format::Text(wide) => {
            let cells: Vec<Vec<Text>> = rows.iter().map(cells).collect();
            output::table(wide, &COLUMNS, &cells)?;
        }
    }
    Ok(Code::Done)
}

fn cells(row: &GroupRow) -> Vec<Text> {
    let (state, tone) = match row.state {
        GroupState::Stopped => ("STOPPED", Tone::Quiet),
        GroupState::Starting => ("STARTING", Tone::Moving),
        GroupState::Running => ("RUNNING", Tone::Good),
        GroupState::Stopping => ("STOPPING", Tone::Moving),
    };
    vec![
        row.name.to_string().into(),
        Text { text: state.to_owned(), tone },
        format!("{}/{}", row.ok, row.instances).into(),
        failure(row),
        names(&row.programs).into(),
    ]
}

fn failure(row: &GroupRow) -> Text {
    let (word, tone) = match (row.major_failure, row.minor_failure) {
        (true, _) => ("major", Tone::Bad),
        (false, true) => ("minor", Tone::Moving),
        (false, false) => return Text::default(),
    };
    Text { text: format!("{word}: {}", names(&row.failed)), tone }
}

fn names(names: &[ProgramName]) -> String {
    names.iter().map(ProgramName::as_str).collect::<Vec<_>>().join(", ")
}
