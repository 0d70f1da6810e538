//! `dsbus cordon`, `uncordon`, `undrain` and `forget`.

use dsbus_schema::command::{Verb, WorkerAct, WorkerActed};

use super::act;
use crate::args::{self, Format};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Says what is wanted of workers.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn run(
    config: &Config,
    verb: Verb,
    args: &args::WorkerAct,
) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let acted = send(&connection, verb, args).await?;
    match args.output {
        Format::Data(data) => output::data(data, &acted)?,
        Format::Text(_) => {
            for acted in &acted {
                output::success(format_args!("{}: {}", acted.name, told(verb, acted)))?;
            }
        }
    }
    Ok(Code::Done)
}

/// Sends the command.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn send(
    connection: &Connection,
    verb: Verb,
    args: &args::WorkerAct,
) -> Result<Vec<WorkerActed>, Failure> {
    let request = WorkerAct { envelope: act::envelope(), names: args.names.clone() };
    connection.command(verb, &request).await
}

/// `3 instances`.
pub(super) fn count(instances: usize) -> String {
    if instances == 1 { "1 instance".to_owned() } else { format!("{instances} instances") }
}

fn told(verb: Verb, acted: &WorkerActed) -> String {
    match (verb, acted.instances) {
        (Verb::Forget, _) => "forgotten".to_owned(),
        (Verb::Cordon, 0) => "takes no new instances".to_owned(),
        (Verb::Cordon, n) => {
            let keeps = if n == 1 { "the one that it has" } else { "those that it has" };
            format!("takes no new instances, and keeps {keeps} ({n})")
        }
        _ => "takes instances".to_owned(),
    }
}
