//! `dsbus signal SIGNAL NAME...`

use dsbus_client::Error;
use dsbus_schema::call::{SignalAsk, SignalSent};
use dsbus_schema::command::{Verb, code};
use dsbus_schema::program::Signal;
use dsbus_schema::status::InstanceRow;
use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};

use super::hands::{ANSWER_MAX, CALLS_MAX, Child};
use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Sends a signal to the main process of each instance that is named; a line for each.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::SendSignal) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = connection.status(&args.names).await?;
    let (mut code, mut told) = (Code::Done, Vec::new());
    let data = args.output.data();
    let connection = &connection;
    let calls =
        rows.iter().map(|row| async move { (row, send(connection, row, args.signal).await) });
    // In the order of the names, as they are answered.
    let mut answers = stream::iter(calls).buffered(CALLS_MAX);
    while let Some((row, answer)) = answers.next().await {
        if answer.is_err() {
            code = Code::Failed;
        }
        if data.is_some() {
            told.push(as_json(row, args.signal, &answer));
            continue;
        }
        match answer {
            Ok(Child { name, worker, pid, .. }) => {
                output::line(format_args!(
                    "{name}: {} sent to pid {pid} on {worker}",
                    args.signal
                ))?;
            }
            Err(failure) => output::failure(&failure),
        }
    }
    if let Some(data) = data {
        output::data(data, &told)?;
    }
    Ok(code)
}

/// Sends it once: an answer that is lost is not asked for again.
pub(super) async fn send(
    connection: &Connection,
    row: &InstanceRow,
    signal: Signal,
) -> Result<Child, Failure> {
    let child = Child::must_be(row)?;
    let (name, worker) = (&child.name, &child.worker);
    let by = connection.bus.user().clone();
    let ask = SignalAsk { name: name.clone(), epoch: child.epoch, pid: child.pid, signal, by };
    let answer: Result<SignalSent, Error> =
        connection.bus.hand(worker, Verb::Signal, &ask, ANSWER_MAX).await;
    match answer {
        Ok(_) => Ok(child),
        Err(Error::NoResponders) => Err(Failure::failed(format!(
            "{name}: its worker {worker} does not answer; nothing was sent"
        ))),
        // A supervisor that is slow may send it yet.
        Err(Error::Timeout | Error::Refused { code: code::UNAVAILABLE, .. }) => {
            let why = format!("{name}: its worker {worker} did not say whether {signal} was sent");
            let hint = format!("dsbus events {name} --type SIGNALLED tells it");
            Err(Failure::failed(why).hint(hint))
        }
        Err(Error::Refused { text, .. }) => Err(Failure::failed(format!("{text} (on {worker})"))),
        Err(e) => Err(Failure::failed(format!("{name} (on {worker}): {e}"))),
    }
}

/// One outcome for programs.
fn as_json(row: &InstanceRow, signal: Signal, answer: &Result<Child, Failure>) -> Value {
    let (result, detail) = match answer {
        Ok(_) => ("done", None),
        Err(failure) => ("failed", Some(&failure.message)),
    };
    json!({
        "name": row.name, "signal": signal, "result": result, "detail": detail,
        "worker": row.worker, "pid": answer.as_ref().ok().map(|child| child.pid),
    })
}
