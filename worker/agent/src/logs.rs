//! Reading the files that the supervisor writes children's output to:
//! `<directory>/instances/<program>.<index>/<channel>.log`, rotated to `.1`, `.2` and so on, each
//! perhaps compressed (`.2.gz`). Where a program wants its log elsewhere, that is a link to it, and
//! one to `/dev/null` when there is none.
//!
//! Whoever reads says where to go on, so nothing is kept here of a reader but files that it has just
//! read from ([`Held`]), and any agent of the worker answers. What is left out is said.

mod bulk;
mod chain;
mod gather;
mod held;
mod last;
mod packed;
mod readers;
mod scope;
#[cfg(test)]
mod tests;
mod window;

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dsbus_client::Refusal;
use dsbus_schema::call::{LOG_LINES_MAX, LogAsk, LogFrom, LogPart, LogPlace};
use dsbus_schema::command::code;
use dsbus_supervisor::{WORKER_LOG, marks};

use self::chain::Chain;
use self::gather::{Position, Seen, gather, locate};
use self::scope::{Scope, Then};

pub(crate) use self::bulk::Bulk;
pub(crate) use self::held::Held;
pub(crate) use self::window::{whose, window};

/// What came of an ask.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Output, or none yet.
    Part(LogPart),
    /// The epoch has not begun.
    NotBegun,
    /// There is no such instance here, or it has no log.
    Nothing,
}

/// Reads what was asked for, at most `most` bytes of it. May take as long as the file system.
pub(crate) fn read(directory: &Path, ask: &LogAsk, most: usize, held: &Held) -> io::Result<Found> {
    let instance = home(directory, ask);
    let log = log(&instance, ask);
    let awaited = matches!(ask.from, LogFrom::Epoch(_));
    if !instance.is_dir() {
        return Ok(if awaited { Found::NotBegun } else { Found::Nothing });
    }
    // One that is not there yet has nothing in it yet.
    if fs::metadata(&log).is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(Found::Nothing);
    }
    let scope = Scope::of(&marks::read(&instance), ask);
    let mut chain = Chain::of(followed(log));
    let (start, skipped) = match ask.from {
        LogFrom::Last(lines) => last::last(&mut chain, lines.min(LOG_LINES_MAX))?,
        LogFrom::Place(place) => from(&mut chain, place, &scope, held)?,
        LogFrom::Epoch(_) => match (scope.begin, &scope.then) {
            (Some(begin), _) => from(&mut chain, begin, &scope, held)?,
            (None, Then::Open) => return Ok(Found::NotBegun),
            // It never began here, and another one did.
            (None, Then::Over | Then::At(_)) => (None, false),
        },
    };
    let mut part = match start {
        Some(start) => part(&mut chain, start, &scope, most)?,
        // Nothing can follow before the next epoch: the place is where that begins.
        None => {
            let mut part = LogPart::new(Vec::new(), place_of(ask));
            part.ended = true;
            part
        }
    };
    held.keep(chain, part.next);
    part.skipped |= skipped;
    part.epoch = scope.epoch;
    Ok(Found::Part(part))
}

/// Where to read on after a place, and whether something is left out; no position when the epoch
/// that was asked for ends there.
fn from(
    chain: &mut Chain,
    place: LogPlace,
    scope: &Scope,
    held: &Held,
) -> io::Result<(Option<Position>, bool)> {
    if scope.then == Then::At(place) {
        return Ok((None, false));
    }
    let (start, skipped) = match locate(chain, place, held)? {
        Seen::At(position) => (position, false),
        Seen::Truncated(position) => (position, true),
        // The begin of a log that had no file yet, of which nothing was removed: all of it.
        Seen::Gone if place == LogPlace::default() => (chain.oldest()?, chain.is_cut()),
        Seen::Gone => (chain.oldest()?, true),
    };
    Ok((Some(start), skipped))
}

fn part(chain: &mut Chain, start: Position, scope: &Scope, most: usize) -> io::Result<LogPart> {
    let bound = match scope.then {
        Then::At(place) => match locate(chain, place, &Held::default())? {
            Seen::At(position) => Some(position),
            // It was rotated away, or emptied: nothing is left of what was before it.
            Seen::Truncated(_) | Seen::Gone => Some(start),
        },
        Then::Open | Then::Over => None,
    };
    let gathered = gather(chain, start, bound, most)?;
    let mut part = LogPart::new(gathered.output, gathered.next);
    part.more = gathered.more;
    part.skipped = gathered.skipped;
    part.ended = !gathered.more && (bound.is_some() || scope.then == Then::Over);
    Ok(part)
}

/// What is said of [`Found::NotBegun`] and [`Found::Nothing`].
pub(crate) fn no_log(ask: &LogAsk) -> Refusal {
    let text = match &ask.name {
        Some(name) => format!("{name} has no log on this worker"),
        None => "this worker keeps no log of its own in a file".to_owned(),
    };
    Refusal::new(code::NOT_FOUND, text)
}

fn place_of(ask: &LogAsk) -> LogPlace {
    match ask.from {
        LogFrom::Place(place) => place,
        LogFrom::Last(_) | LogFrom::Epoch(_) => LogPlace::default(),
    }
}

/// Where the log is: the directory of the instance, or of the worker.
fn home(directory: &Path, ask: &LogAsk) -> PathBuf {
    match &ask.name {
        Some(name) => directory.join("instances").join(format!("{}.{}", name.program, name.index)),
        None => directory.to_owned(),
    }
}

fn log(home: &Path, ask: &LogAsk) -> PathBuf {
    match ask.name {
        Some(_) => home.join(format!("{}.log", ask.channel.name())),
        None => home.join(WORKER_LOG),
    }
}

/// Where the files are: rotated ones are beside the log itself, not beside the link to it.
fn followed(log: PathBuf) -> PathBuf {
    match fs::read_link(&log) {
        Ok(target) => log.parent().map_or(target.clone(), |directory| directory.join(target)),
        Err(_) => log,
    }
}

/// What of a log changes when something is written, rotated, or an epoch begins: cheap to look at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    log: Option<(u64, u64)>,
    epochs: Option<(u64, u64)>,
}

impl Glance {
    /// Looks.
    pub(crate) fn at(directory: &Path, ask: &LogAsk) -> Glance {
        let instance = home(directory, ask);
        let state = |path: &Path| {
            let found: Metadata = fs::metadata(path).ok()?;
            Some((found.ino(), found.len()))
        };
        Glance { log: state(&log(&instance, ask)), epochs: state(&marks::path(&instance)) }
    }
}
