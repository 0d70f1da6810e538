//! `tail`: the end of what a process has printed, in bytes.

use dsbus_client::output::Asking;
use dsbus_schema::call::{Channel, LogAsk, LogFrom};
use dsbus_schema::status::InstanceRow;

use crate::args::Logs;
use crate::commands::logs;
use crate::config::Config;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::output;
use dsbus_gateway::processes::Process;
use dsbus_schema::ids::Target;

/// What `tail` shows unless it is told how much.
const BYTES: usize = 1600;
/// Lines that `tail -f` begins with; Supervisor begins with 1024 bytes.
const FOLLOW_LINES: u32 = 10;

/// What to show.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail<'a> {
    pub(super) name: &'a str,
    channel: Channel,
    /// So many bytes from the end; `None` follows.
    bytes: Option<usize>,
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) said: String,
    /// Whether the action's help follows.
    pub(super) help: bool,
}

/// Reads the words after `tail`.
///
/// # Errors
/// Supervisor's words about what is wrong.
pub(super) fn tail<'a>(words: &[&'a str]) -> Result<Tail<'a>, Wrong> {
    let wrong = |said: String, help| Err(Wrong { said, help });
    if words.is_empty() {
        return wrong("Error: too few arguments".to_owned(), true);
    }
    if words.len() > 3 {
        return wrong("Error: too many arguments".to_owned(), true);
    }
    let (modifier, rest) = match words {
        [first, rest @ ..] if first.starts_with('-') => (Some(*first), rest),
        all => (None, all),
    };
    let (name, channel) = match rest {
        [] => return wrong("Error: tail requires process name".to_owned(), false),
        [name] => (*name, Channel::Stdout),
        [name, .., channel] => match channel.to_lowercase().as_str() {
            "stdout" => (*name, Channel::Stdout),
            "stderr" => (*name, Channel::Stderr),
            other => return wrong(format!("Error: bad channel '{other}'"), false),
        },
    };
    let bytes = match modifier {
        None => Some(BYTES),
        Some("-f") => None,
        Some(modifier) => match modifier[1..].parse() {
            Ok(bytes) => Some(bytes),
            Err(_) => return wrong(format!("Error: bad argument {modifier}"), false),
        },
    };
    Ok(Tail { name, channel, bytes })
}

/// Shows it; why not, where it cannot.
///
/// # Errors
/// When nobody reads what is said.
pub(super) async fn show(
    config: &Config,
    connection: &Connection,
    process: &Process,
    wanted: &Tail<'_>,
) -> Result<Option<&'static str>, Failure> {
    let row = &process.row;
    let file = match wanted.channel {
        Channel::Stderr if process.redirected => &None,
        Channel::Stdout => &row.stdout_logfile,
        Channel::Stderr => &row.stderr_logfile,
    };
    if file.is_none() {
        return Ok(Some("no log file"));
    }
    let Some(bytes) = wanted.bytes else {
        follow(config, row, wanted.channel == Channel::Stderr).await?;
        return Ok(None);
    };
    match last(connection, row, wanted.channel, bytes).await {
        Some(text) => {
            output::bytes(&text)?;
            output::bytes(b"\n")?;
            Ok(None)
        }
        None => Ok(Some("unknown error reading log")),
    }
}

/// The last bytes of a log; `None` when its worker does not tell.
async fn last(
    connection: &Connection,
    row: &InstanceRow,
    channel: Channel,
    bytes: usize,
) -> Option<Vec<u8>> {
    let worker = row.worker.as_ref()?;
    // Every line has a byte at least.
    let lines = u32::try_from(bytes).unwrap_or(u32::MAX);
    let mut ask = LogAsk { channel, ..LogAsk::new(row.name.clone(), LogFrom::Last(lines)) };
    let (mut asking, mut text) = (Asking::default(), Vec::new());
    loop {
        let part = asking.ask(&connection.bus, worker, &ask).await.ok()?;
        ask.from = LogFrom::Place(part.next);
        let more = part.more;
        text.extend(part.into_output());
        text.drain(..text.len().saturating_sub(bytes));
        if !more {
            return Some(text);
        }
    }
}

/// Goes on with what a process prints, until Ctrl-C.
///
/// # Errors
/// When nobody reads it, or it is gone.
pub(super) async fn follow(
    config: &Config,
    row: &InstanceRow,
    stderr: bool,
) -> Result<(), Failure> {
    output::line("==> Press Ctrl-C to exit <==")?;
    let names = vec![Target::Instance(row.name.clone())];
    let args = Logs { names, daemon: None, lines: FOLLOW_LINES, follow: true, stderr };
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        ended = logs::run(config, &args) => ended.map(|_| ()),
        _ = interrupted => Ok(output::line("")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_tail() {
        let what = |name, channel, bytes| Ok(Tail { name, channel, bytes });
        let wrong = |said: &str, help| Err(Wrong { said: said.to_owned(), help });
        for (words, expected) in [
            ("web", what("web", Channel::Stdout, Some(1600))),
            ("web STDERR", what("web", Channel::Stderr, Some(1600))),
            ("-f web", what("web", Channel::Stdout, None)),
            ("-100 web stderr", what("web", Channel::Stderr, Some(100))),
            ("", wrong("Error: too few arguments", true)),
            ("a b c d", wrong("Error: too many arguments", true)),
            ("-f", wrong("Error: tail requires process name", false)),
            ("-x web", wrong("Error: bad argument -x", false)),
            ("web Foo", wrong("Error: bad channel 'foo'", false)),
        ] {
            let words: Vec<&str> = words.split_whitespace().collect();
            assert_eq!(tail(&words), expected, "{words:?}");
        }
    }
}
