//! `dsbus logs NAME...`

mod daemon;
mod follow;
mod live;
mod printer;

use dsbus_client::Error;
use dsbus_client::output::{Asking, Lines};
use dsbus_schema::call::{Channel, LOG_LINES_MAX, LogAsk, LogFrom};
use dsbus_schema::ids::{InstanceId, Target};
use dsbus_schema::status::InstanceRow;

pub(super) use self::live::{Begin, Live, event, watch_one};
use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{describe, output};

/// What all instances have in common.
#[derive(Debug)]
struct Manner {
    channel: Channel,
    lines: u32,
    /// Width of the names before the lines, when there are several instances.
    width: Option<usize>,
}

impl Manner {
    /// What stands before the lines of an instance, which is the `number`th.
    fn prefix(&self, name: &InstanceId, number: usize) -> Option<Vec<u8>> {
        self.width.map(|width| output::prefix(&name.to_string(), width, number))
    }
}

/// Shows output, and goes on with `-f`.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Logs) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    if args.lines > LOG_LINES_MAX {
        output::note(format_args!("-- only the last {LOG_LINES_MAX} lines --"));
    }
    if let Some(worker) = &args.daemon {
        return daemon::run(&connection, worker, args).await;
    }
    let rows = connection.status(&args.names).await?;
    let width = rows.iter().map(|row| row.name.to_string().len()).max().unwrap_or(0);
    let manner = Manner {
        channel: if args.stderr { Channel::Stderr } else { Channel::Stdout },
        lines: args.lines,
        width: (rows.len() > 1).then_some(width),
    };
    if args.follow {
        return follow::run(&connection, args, rows, &manner).await;
    }
    let mut code = Code::Done;
    for (number, row) in rows.iter().enumerate() {
        if let Err(e) = show(&connection, row, number, &manner).await? {
            code = Code::Failed;
            output::failure(&absent(row, &e));
        }
    }
    Ok(code)
}

/// Goes on with what one instance prints, from its last lines on, piece by piece; `to` is where to,
/// and what ends it.
///
/// # Errors
/// When it does not exist, or not any more.
pub(super) async fn follow(
    connection: &Connection,
    name: InstanceId,
    channel: Channel,
    lines: u32,
    to: follow::To,
) -> Result<(), Failure> {
    let names = vec![Target::Instance(name)];
    let rows = connection.status(&names).await?;
    let stderr = channel == Channel::Stderr;
    let args = args::Logs { names, daemon: None, lines, follow: true, stderr };
    follow::to(connection, &args, rows, &Manner { channel, lines, width: None }, to).await?;
    Ok(())
}

/// Shows the last lines of one instance. The outer error ends the verb, the inner one only says that
/// they could not be read.
async fn show(
    connection: &Connection,
    row: &InstanceRow,
    number: usize,
    manner: &Manner,
) -> Result<Result<(), Error>, Failure> {
    let Some(worker) = &row.worker else { return Ok(Err(Error::NoResponders)) };
    let mut lines = Lines::new(manner.prefix(&row.name, number));
    let mut ask = LogAsk {
        channel: manner.channel,
        ..LogAsk::new(row.name.clone(), LogFrom::Last(manner.lines))
    };
    let (mut asking, mut left) = (Asking::default(), manner.lines.min(LOG_LINES_MAX));
    let mut first = true;
    loop {
        let part = match asking.ask(&connection.bus, worker, &ask).await {
            Ok(part) => part,
            Err(error) => return Ok(Err(error)),
        };
        if part.skipped {
            output::note(format_args!("-- {}: older lines cannot be read --", row.name));
        }
        ask.from = LogFrom::Place(part.next);
        let more = part.more;
        if part.is_empty() && !more && first {
            output::note(format_args!(
                "-- {}: nothing; it is {} --",
                row.name,
                describe::state(row)
            ));
        }
        first = false;
        // A child that writes faster than this reads does not keep it from ending.
        let shown = first_lines(part.into_output(), &mut left);
        output::bytes(&lines.add(shown))?;
        if !more || left == 0 {
            output::bytes(&lines.end())?;
            return Ok(Ok(()));
        }
    }
}

/// At most `left` lines of it; fewer are left then.
fn first_lines(mut output: Vec<u8>, left: &mut u32) -> Vec<u8> {
    for (at, _) in output.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        *left = left.saturating_sub(1);
        if *left == 0 {
            output.truncate(at + 1);
            break;
        }
    }
    output
}

fn absent(row: &InstanceRow, e: &Error) -> Failure {
    match (&row.worker, e) {
        (None, _) => {
            Failure::failed(format!("{} is on no worker: {}", row.name, describe::state(row)))
        }
        (Some(worker), Error::NoResponders | Error::Timeout) => {
            Failure::failed(format!("{}: its worker {worker} does not answer", row.name))
        }
        (Some(worker), e) => Failure::failed(format!("{} (on {worker}): {e}", row.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_lines_are_shown_than_were_asked_for() {
        for (output, left, shown, still) in [
            ("a\nb\nc", 3, "a\nb\nc", 1),
            ("a\nb\nc", 2, "a\nb\n", 0),
            ("a", 1, "a", 1),
            ("", 0, "", 0),
        ] {
            let mut count = left;
            let first = first_lines(output.as_bytes().to_vec(), &mut count);
            assert_eq!((first, count), (shown.as_bytes().to_vec(), still), "{output:?}, {left}");
        }
    }
}
