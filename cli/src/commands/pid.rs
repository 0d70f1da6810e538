//! `dsbus pid NAME...`

use crate::args::About;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{describe, output};

/// Prints the process ids of instances, one on each line. Who has none is told of on standard error: a
/// 0, as Supervisor prints it, would be the caller's own process group to `kill`.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &About) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = connection.status(&args.names).await?;
    if let Some(data) = args.output.data() {
        output::data(data, &rows)?;
    } else {
        for row in &rows {
            match row.pid {
                Some(pid) => output::line(pid)?,
                None => {
                    let state = describe::state(row);
                    output::warning(format_args!("{} has no process: it is {state}", row.name));
                }
            }
        }
    }
    let all = rows.iter().all(|row| row.pid.is_some());
    Ok(if all { Code::Done } else { Code::NotRunning })
}
