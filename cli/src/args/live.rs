//! Names that live, for a shell that completes. Whoever presses a key must not wait: a bus that
//! does not answer at once has none.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::OnceLock;
use std::time::Duration;

use clap::builder::Str;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use dsbus_schema::command::{Ask, GroupRow, Verb};
use dsbus_schema::program::Signal;
use dsbus_schema::status::WorkerRow;
use dsbus_schema::storage::{Bucket, parse_secret_key};

use super::Globals;
use crate::config::{Config, Surroundings};
use crate::connection::{self, Connection};
use crate::exit_code::Code;

/// How long one asks.
const ASK_MAX: Duration = Duration::from_millis(700);
/// Most names that are offered.
const OFFERED_MAX: usize = 1_000;

/// The fleet of a shell of ours. Other shells tell nothing of the options that were typed before.
static FLEET: OnceLock<Config> = OnceLock::new();

/// From now on names are those of this fleet.
pub(crate) fn complete_for(config: &Config) {
    // The first one stays: a process has one shell.
    let _ = FLEET.set(config.clone());
}

/// As [`command`](super::command), for a shell that completes: the values of NAME,
/// WORKER and LISTENER are asked for.
pub(crate) fn completed() -> clap::Command {
    super::command().mut_subcommands(complete)
}

fn complete(verb: clap::Command) -> clap::Command {
    let verb = verb.mut_args(|arg| {
        let word = arg.get_value_names().unwrap_or_default().to_vec();
        match word.first().map(Str::as_str) {
            Some("NAME") if arg.is_positional() => arg.add(ArgValueCompleter::new(names)),
            Some("SIGNAL") => arg.add(ArgValueCompleter::new(signals)),
            Some("WORKER") => arg.add(ArgValueCompleter::new(workers)),
            Some("SECRET") => arg.add(ArgValueCompleter::new(secrets)),
            Some("LISTENER") => arg.add(ArgValueCompleter::new(listeners)),
            _ => arg,
        }
    });
    verb.mut_subcommands(complete)
}

/// Programs, groups and instances.
fn names(current: &OsStr) -> Vec<CompletionCandidate> {
    let found = ask(async |connection| {
        let every = Ask::default();
        let groups = connection.command::<_, Vec<GroupRow>>(Verb::Groups, &every);
        let (rows, groups) = futures::join!(connection.status(&[]), groups);
        Some((rows.ok()?, groups.unwrap_or_default()))
    });
    let (rows, groups) = found.unwrap_or_default();
    let mut names = BTreeSet::from(["all".to_owned()]);
    names.extend(groups.iter().map(|group| group.name.to_string()));
    for row in rows {
        names.extend([row.program.to_string(), row.name.to_string()]);
    }
    offered(names, current)
}

/// Signals.
fn signals(current: &OsStr) -> Vec<CompletionCandidate> {
    offered(Signal::names().map(str::to_owned), current)
}

/// Workers.
fn workers(current: &OsStr) -> Vec<CompletionCandidate> {
    let rows = ask(async |connection| {
        connection.command::<_, Vec<WorkerRow>>(Verb::Workers, &Ask::default()).await.ok()
    });
    offered(rows.unwrap_or_default().into_iter().map(|row| row.name.to_string()), current)
}

/// Secrets.
fn secrets(current: &OsStr) -> Vec<CompletionCandidate> {
    let found =
        ask(async |connection| connection.bus.read_all(Bucket::Secrets, "completion").await.ok());
    let keys = found.unwrap_or_default();
    let names = keys.iter().filter_map(|entry| parse_secret_key(&entry.key));
    offered(names.map(|(_, name)| name.to_string()).collect::<BTreeSet<_>>(), current)
}

/// Listeners that are not there: those that can be forgotten.
fn listeners(current: &OsStr) -> Vec<CompletionCandidate> {
    let places = ask(async |connection| connection.bus.places().await.ok()).unwrap_or_default();
    let left = places.into_iter().filter(|place| !place.read);
    offered(left.map(|place| place.name), current)
}

fn offered(names: impl IntoIterator<Item = String>, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let fits = |name: &String| name.starts_with(&*current);
    names.into_iter().filter(fits).take(OFFERED_MAX).map(CompletionCandidate::new).collect()
}

fn ask<T>(question: impl AsyncFnOnce(Connection) -> Option<T>) -> Option<T> {
    let config = match FLEET.get() {
        Some(config) => config.clone(),
        None => Config::resolve(&Globals::default(), Surroundings::here()).ok()?,
    };
    let mut answer = None;
    let asked = connection::run(async {
        let asked = async {
            let connection = Connection::open(&config).await.ok()?;
            question(connection).await
        };
        answer = tokio::time::timeout(ASK_MAX, asked).await.ok().flatten();
        Ok(Code::Done)
    });
    asked.ok().and(answer)
}
