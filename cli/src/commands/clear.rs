//! `dsbus clear NAME...`

use dsbus_client::Error;
use dsbus_schema::call::{Clear, Cleared};
use dsbus_schema::command::Verb;
use dsbus_schema::ids::WorkerName;
use dsbus_schema::status::InstanceRow;
use futures::StreamExt;
use futures::stream;

use super::hands::{ANSWER_MAX, CALLS_MAX};
use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{describe, output};

/// Empties the logs of what is named, where it runs; a line for each instance.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Clear) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = connection.status(&args.names).await?;
    let mut code = Code::Done;
    let connection = &connection;
    let calls = rows.iter().map(|row| async move { (row, clear(connection, row).await) });
    // In the order of the names, as they are answered.
    let mut answers = stream::iter(calls).buffered(CALLS_MAX);
    while let Some((row, answer)) = answers.next().await {
        match answer {
            Ok(worker) => output::success(format_args!("{}: cleared ({worker})", row.name))?,
            Err(failure) => {
                code = Code::Failed;
                output::failure(&failure);
            }
        }
    }
    Ok(code)
}

/// Empties the logs of one; says where.
///
/// # Errors
/// When it is on no worker, or that does not say that it is done.
pub(super) async fn clear<'a>(
    connection: &Connection,
    row: &'a InstanceRow,
) -> Result<&'a WorkerName, Failure> {
    let name = &row.name;
    let Some(worker) = &row.worker else {
        return Err(Failure::failed(format!("{name} is on no worker: {}", describe::state(row))));
    };
    let ask = Clear { name: name.clone(), forget: false };
    let answer: Result<Cleared, Error> =
        connection.bus.hand(worker, Verb::Clear, &ask, ANSWER_MAX).await;
    match answer {
        Ok(_) => Ok(worker),
        Err(Error::NoResponders | Error::Timeout) => {
            Err(Failure::failed(format!("{name}: its worker {worker} does not answer")))
        }
        Err(Error::Refused { text, .. }) => {
            Err(Failure::failed(format!("{name} (on {worker}): {text}")))
        }
        Err(e) => Err(Failure::failed(format!("{name} (on {worker}): {e}"))),
    }
}
