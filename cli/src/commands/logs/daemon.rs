//! `dsbus logs --daemon WORKER`: what a worker itself says.

use std::time::Duration;

use dsbus_client::Error;
use dsbus_client::output::Asking;
use dsbus_schema::call::{LOG_LINES_MAX, LogAsk, LogFrom};
use dsbus_schema::command::code;
use dsbus_schema::ids::WorkerName;

use super::first_lines;
use crate::commands::workers;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{args, output};

/// How long an answer waits for more.
const WAIT: Duration = Duration::from_secs(2);

/// Shows the last lines, and goes on with `-f`, also when the worker is started anew.
///
/// # Errors
/// When there is no such worker, it does not answer, or it has no log.
pub(super) async fn run(
    connection: &Connection,
    worker: &WorkerName,
    args: &args::Logs,
) -> Result<Code, Failure> {
    workers::must_exist(connection, worker).await?;
    let mut ask = LogAsk::of_worker(LogFrom::Last(args.lines));
    if args.follow {
        ask.wait_ms = u64::try_from(WAIT.as_millis()).unwrap_or(0);
    }
    let mut left = args.lines.min(LOG_LINES_MAX);
    let (mut asking, mut silent) = (Asking::default(), false);
    loop {
        if output::reader_gone() {
            return Ok(Code::Done);
        }
        let part = match asking.ask(&connection.bus, worker, &ask).await {
            Ok(part) => part,
            Err(error) if args.follow && passes(&error) => {
                if !std::mem::replace(&mut silent, true) {
                    output::note(format_args!("-- {worker} does not answer; still following --"));
                }
                continue;
            }
            Err(error) => return Err(failure(worker, &error)),
        };
        if std::mem::take(&mut silent) {
            output::note(format_args!("-- {worker} answers again --"));
        }
        if part.skipped {
            output::note("-- older lines cannot be read --");
        }
        ask.from = LogFrom::Place(part.next);
        let more = part.more;
        let shown = if args.follow {
            part.into_output()
        } else {
            first_lines(part.into_output(), &mut left)
        };
        output::bytes(&shown)?;
        if !args.follow && (!more || left == 0) {
            return Ok(Code::Done);
        }
    }
}

/// Whether it may be well again by itself.
fn passes(error: &Error) -> bool {
    match error {
        Error::NoResponders | Error::Timeout | Error::Disconnected => true,
        Error::Refused { code, .. } => *code == code::UNAVAILABLE,
        _ => false,
    }
}

fn failure(worker: &WorkerName, error: &Error) -> Failure {
    match error {
        Error::NoResponders | Error::Timeout => {
            Failure::new(Code::Unreachable, format!("{worker} does not answer"))
                .hint("dsbus workers shows how it stands; its log is a file on its machine, too")
        }
        Error::Refused { code: code::BAD_REQUEST, .. } => {
            Failure::failed(format!("{worker} is of an older version, and shows no log of its own"))
        }
        other => Failure::failed(format!("{worker}: {other}")),
    }
}
