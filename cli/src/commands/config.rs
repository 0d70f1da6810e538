//! `dsbus config`

use crate::args::{self, Format};
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::settings::resolve::Row;
use crate::table::{Column, Text, Tone};

const COLUMNS: [Column; 3] = [
    Column { title: "KEY", leaves: 0, optional: false },
    Column { title: "VALUE", leaves: 0, optional: false },
    Column { title: "FROM", leaves: 0, optional: false },
];

/// Prints what holds, and where it is said.
///
/// # Errors
/// When nobody reads it.
pub(super) fn run(config: &Config, args: &args::Settings) -> Result<Code, Failure> {
    match args.output {
        Format::Data(data) => output::data(data, &config.rows)?,
        Format::Text(wide) => {
            let cells: Vec<Vec<Text>> = config.rows.iter().map(cells).collect();
            output::table(wide, &COLUMNS, &cells)?;
            if let Some(unused) = config.unused() {
                output::warning(unused);
            }
        }
    }
    Ok(Code::Done)
}

fn cells(row: &Row) -> Vec<Text> {
    let (from, tone) = match (row.used, row.from.as_str()) {
        (false, from) => (format!("{from}, not used"), Tone::Quiet),
        (true, "default") => ("default".to_owned(), Tone::Quiet),
        (true, from) => (from.to_owned(), Tone::Plain),
    };
    vec![row.key.into(), row.value.clone().into(), Text { text: from, tone }]
}
