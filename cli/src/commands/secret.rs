//! `dsbus secret set|list|remove`

mod list;
mod value;

use dsbus_client::{Entry, Error, Write};
use dsbus_schema::ids::{SecretName, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::secret::{SealedSecret, SecretPlace};
use dsbus_schema::storage::{Bucket, parse_secret_key, secret_key};
use dsbus_schema::worker::Worker;
use glob::Pattern;
use uuid::Uuid;

use crate::args::{Format, Secret, SecretList, SecretRemove, SecretSet, SecretVerb};
use crate::config::Config;
use crate::connection::{self, Connection};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{clock, output};

/// Name of its watches, for the administrator of the server.
const NAME: &str = "secret";

/// Runs one of its verbs.
///
/// # Errors
/// The verb's own.
pub(super) fn run(config: &Config, args: Secret) -> Result<Code, Failure> {
    match args.verb {
        SecretVerb::Set(args) => connection::run(set(config, &args)),
        SecretVerb::List(args) => connection::run(show(config, &args)),
        SecretVerb::Remove(args) => connection::run(remove(config, &args)),
    }
}

async fn set(config: &Config, args: &SecretSet) -> Result<Code, Failure> {
    let name = &args.name;
    let connection = Connection::open(config).await?;
    connection.must_be_provisioned().await?;
    let workers = workers(&connection).await?;
    let chosen: Vec<&Worker> = workers.iter().filter(|w| meant(&args.workers, &w.name)).collect();
    if chosen.is_empty() {
        return Err(nobody(&args.workers, &workers));
    }
    let value = value::read(name, args.file.as_deref())?;
    let (version, changed) = (Uuid::now_v7(), clock::now());
    let by = Some(config.user.clone());
    let (mut given, mut cannot) = (Vec::new(), Vec::new());
    for worker in chosen {
        let Some(key) = &worker.seal_key else {
            cannot.push(worker.name.to_string());
            continue;
        };
        let fleet = connection.bus.fleet();
        let place = SecretPlace { fleet, worker: &worker.name, name };
        let sealed = SealedSecret::seal(&value, place, key, version, changed, by.clone());
        let sealed = sealed.map_err(|why| {
            Failure::failed(format!("the record of worker {} is odd: {why}", worker.name))
        })?;
        let write = Write::put(secret_key(&worker.name, name), &sealed);
        let written = match write {
            Ok(write) => connection.bus.write(Bucket::Secrets, write).await,
            Err(e) => Err(e),
        };
        if let Err(e) = written {
            let mut failure = match e {
                // Nobody stores what is written there.
                Error::NotProvisioned | Error::NoResponders => no_bucket(),
                e => connection.explain(e).await,
            };
            if !given.is_empty() {
                let have = given.join(", ");
                failure.message = format!("{}; {have} have the new value", failure.message);
            }
            return Err(failure);
        }
        given.push(worker.name.to_string());
    }
    if !cannot.is_empty() {
        let who = cannot.join(", ");
        output::warning(format_args!(
            "not for {who}: a version of dsbus without secrets; update it, then set {name} again"
        ));
    }
    if given.is_empty() {
        return Err(Failure::failed(format!("no worker could be given {name}")));
    }
    output::success(format_args!("{name}: sealed for {}", given.join(", ")))?;
    output::note("programs that name it have it from their next start on");
    Ok(Code::Done)
}

async fn show(config: &Config, args: &SecretList) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    connection.must_be_provisioned().await?;
    let (workers, secrets) = (workers(&connection).await?, secrets(&connection).await?);
    let rows = list::rows(&workers, &secrets);
    match args.output {
        Format::Data(data) => output::data(data, &rows)?,
        Format::Text(_) if rows.is_empty() => {
            output::line("No secrets. One is made by dsbus secret set NAME")?;
        }
        Format::Text(wide) => list::print(wide, &rows)?,
    }
    Ok(Code::Done)
}

async fn remove(config: &Config, args: &SecretRemove) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    connection.must_be_provisioned().await?;
    let name = &args.name;
    let secrets = entries(&connection).await?;
    let keys = secrets.iter().filter_map(|entry| parse_secret_key(&entry.key));
    let having: Vec<WorkerName> = keys
        .filter(|(worker, found)| found == name && meant(&args.workers, worker))
        .map(|(worker, _)| worker)
        .collect();
    if having.is_empty() {
        let who = if args.workers.is_empty() { "no worker has" } else { "none of them has" };
        let failure = Failure::failed(format!("{who} a secret {name}"));
        return Err(failure.hint("dsbus secret list shows those that there are"));
    }
    for worker in &having {
        let delete = Write::delete(secret_key(worker, name));
        if let Err(e) = connection.bus.write(Bucket::Secrets, delete).await {
            return Err(connection.explain(e).await);
        }
    }
    let from: Vec<&str> = having.iter().map(WorkerName::as_str).collect();
    output::success(format_args!("{name}: removed from {}", from.join(", ")))?;
    output::note("what runs keeps it until it ends");
    Ok(Code::Done)
}

/// Whether a worker is one of those that are named; all are where none is.
fn meant(patterns: &[Pattern], worker: &WorkerName) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(worker.as_str()))
}

fn nobody(patterns: &[Pattern], workers: &[Worker]) -> Failure {
    if workers.is_empty() {
        let failure = Failure::failed("the fleet has no worker that a secret could be sealed to");
        return failure.hint("start one first: dsbus worker");
    }
    let asked: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
    let known: Vec<&str> = workers.iter().map(|worker| worker.name.as_str()).collect();
    Failure::failed(format!("no worker is called {}", asked.join(" or ")))
        .hint(format!("the workers are {}", known.join(", ")))
}

async fn workers(connection: &Connection) -> Result<Vec<Worker>, Failure> {
    match connection.bus.read_all(Bucket::Workers, NAME).await {
        // A record that cannot be read is of a version that is newer than this one.
        Ok(entries) => {
            let read = |entry: &Entry| entry.json::<Worker>().ok().flatten();
            // Who writes a record may choose what is in it, and not its key.
            let own =
                |entry: &Entry| read(entry).filter(|worker| worker.name.as_str() == entry.key);
            Ok(entries.iter().filter_map(own).collect())
        }
        Err(e) => Err(connection.explain(e).await),
    }
}

/// The fleet is there, and its bucket for secrets is not.
fn no_bucket() -> Failure {
    let failure = Failure::failed("this fleet has no place for secrets yet");
    failure.hint("it was made by a version of dsbus without them: start a scheduler of this one")
}

async fn entries(connection: &Connection) -> Result<Vec<Entry>, Failure> {
    match connection.bus.read_all(Bucket::Secrets, NAME).await {
        Ok(entries) => Ok(entries),
        Err(Error::NotProvisioned) => Err(no_bucket()),
        Err(e) => Err(connection.explain(e).await),
    }
}

/// One that cannot be read is shown as one that its worker cannot read, either.
async fn secrets(
    connection: &Connection,
) -> Result<Vec<(WorkerName, SecretName, SealedSecret)>, Failure> {
    let read = |entry: &Entry| {
        let (worker, name) = parse_secret_key(&entry.key)?;
        let sealed = entry.json().ok().flatten().unwrap_or_else(|| nothing(entry.time));
        Some((worker, name, sealed))
    };
    Ok(entries(connection).await?.iter().filter_map(read).collect())
}

fn nothing(changed: Timestamp) -> SealedSecret {
    let (key, sender, sealed) = (String::new(), String::new(), String::new());
    SealedSecret { key, sender, sealed, version: Uuid::nil(), changed, by: None }
}
