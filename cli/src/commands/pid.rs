//! `dsbus pid NAME...`

use crate::args::About;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Prints the process ids of instances, one on each line; 0 for one that has no child, as Supervisor
/// does.
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
            output::line(row.pid.unwrap_or(0))?;
        }
    }
    let all = rows.iter().all(|row| row.pid.is_some());
    Ok(if all { Code::Done } else { Code::NotRunning })
}
