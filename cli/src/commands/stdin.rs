//! `dsbus stdin NAME [TEXT...]`

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::hands::{self, Child, Feeder, Unwritten};
use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// How long its worker may be silent: an agent is replaced in less.
const PATIENCE: Duration = Duration::from_secs(15);

/// Writes to the standard input of an instance.
///
/// # Errors
/// When it has none, or not all could be written.
pub(super) async fn run(config: &Config, args: &args::Stdin) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let row = hands::one(&connection, &args.name).await?;
    let mut feeder = Feeder::new(Child::must_be(&row)?, Some(PATIENCE));
    let fed = feed(&connection, args, &mut feeder).await;
    let Child { name, worker, pid, .. } = &feeder.child;
    let written = match feeder.written {
        1 => "1 byte written".to_owned(),
        count => format!("{count} bytes written"),
    };
    match fed {
        Ok(()) => {
            let closed = if args.eof { ", and closed" } else { "" };
            output::line(format_args!("{name}: {written} to pid {pid} on {worker}{closed}"))?;
            Ok(Code::Done)
        }
        Err(Wrong::Ours(e)) => Err(Failure::failed(format!("{written}; standard input: {e}"))),
        Err(Wrong::Its(unwritten)) => {
            let hint = match &unwritten {
                Unwritten::Refused(_) if feeder.written == 0 => None,
                Unwritten::Refused(_) | Unwritten::Gone(_) | Unwritten::Silent(_) => {
                    Some(format!("{written} before that; dsbus status {name} says how it is now"))
                }
            };
            let failure = Failure::failed(unwritten.why());
            Err(match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            })
        }
    }
}

/// Whose input went wrong.
enum Wrong {
    Ours(io::Error),
    Its(Unwritten),
}

async fn feed(
    connection: &Connection,
    args: &args::Stdin,
    feeder: &mut Feeder,
) -> Result<(), Wrong> {
    let bus = &connection.bus;
    if !args.text.is_empty() {
        let text = args.text.join(" ") + "\n";
        let fed = feeder.feed(bus, text.as_bytes(), args.eof).await;
        return fed.map(drop).map_err(Wrong::Its);
    }
    // Whoever types is told at once that nobody reads it.
    feeder.feed(bus, &[], false).await.map_err(Wrong::Its)?;
    if io::stdin().is_terminal() {
        output::note(format_args!(
            "-- what you type goes to {}; Ctrl-D ends it --",
            feeder.child.name
        ));
    }
    let mut pieces = hands::pieces();
    while let Some(piece) = pieces.recv().await {
        let piece = piece.map_err(Wrong::Ours)?;
        feeder.feed(bus, &piece, false).await.map_err(Wrong::Its)?;
    }
    if args.eof {
        feeder.feed(bus, &[], true).await.map_err(Wrong::Its)?;
    }
    Ok(())
}
