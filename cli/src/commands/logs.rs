//! `dsbus logs NAME...`

use std::collections::HashMap;
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::call::{Channel, LOG_BYTES_MAX, LogAsk, LogFrom, LogPart, LogPlace, WorkerVerb};
use dsbus_schema::command::code;
use dsbus_schema::ids::{InstanceId, Target, WorkerName};
use dsbus_schema::status::InstanceRow;
use futures::future::join_all;
use tokio::time::{Instant, interval};

use super::workers;
use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::{describe, output};

/// How often a followed log is read.
const READ_EVERY: Duration = Duration::from_millis(200);
/// How often it is asked where an instance is.
const LOCATE_EVERY: Duration = Duration::from_secs(1);
/// How long a worker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long it may take while other instances' output waits for it.
const ANSWER_FOLLOWED_MAX: Duration = Duration::from_millis(500);

/// Most questions that are asked before following begins; they take turns, and each is a message.
const MARKS_MAX: usize = 1000;

/// The output of one instance, as far as it was read.
#[derive(Debug)]
struct Reader {
    name: InstanceId,
    worker: Option<WorkerName>,
    /// How far it was read, by worker: an instance that comes back to one goes on there.
    places: HashMap<WorkerName, LogPlace>,
    /// The begin of a line whose end is still to come.
    begun: String,
}

/// What all readers have in common.
#[derive(Debug)]
struct Manner {
    channel: Channel,
    lines: u32,
    /// Width of the names before the lines, when there are several instances.
    prefix: Option<usize>,
}

/// Shows output, and goes on with `-f`.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Logs) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = connection.status(&args.names).await?;
    let width = rows.iter().map(|row| row.name.to_string().len()).max().unwrap_or(0);
    let manner = Manner {
        channel: if args.stderr { Channel::Stderr } else { Channel::Stdout },
        lines: args.lines,
        prefix: (rows.len() > 1).then_some(width),
    };
    let mut readers: Vec<Reader> = rows.iter().map(Reader::new).collect();
    let mut code = Code::Done;
    for (reader, row) in readers.iter_mut().zip(&rows) {
        if let Err(e) = reader.read(&connection, &manner).await? {
            code = Code::Failed;
            output::failure(&absent(row, &e));
        }
        if !args.follow {
            reader.end(&manner)?;
        }
    }
    if !args.follow {
        return Ok(code);
    }
    mark(&connection, &mut readers, &manner).await;
    follow(&connection, &args.names, &manner, readers).await
}

/// Notes where the output ends on the workers where the instances are not: what is older was
/// written in an earlier stay there, and is not shown when they move. A worker that does not
/// answer, or joins later, is begun with its last lines.
async fn mark(connection: &Connection, readers: &mut [Reader], manner: &Manner) {
    let Ok(workers) = workers::all(connection).await else { return };
    if workers.len() * readers.len() > MARKS_MAX {
        return;
    }
    let marks = readers.iter_mut().map(|reader| async {
        for worker in workers.iter().map(|row| &row.name) {
            if let Some(place) = reader.end_on(connection, worker, manner.channel).await {
                reader.places.entry(worker.clone()).or_insert(place);
            }
        }
    });
    join_all(marks).await;
}

async fn follow(
    connection: &Connection,
    names: &[Target],
    manner: &Manner,
    mut readers: Vec<Reader>,
) -> Result<Code, Failure> {
    let mut ticks = interval(READ_EVERY);
    let mut located = Instant::now();
    loop {
        ticks.tick().await;
        let answers = join_all(
            readers.iter_mut().map(|reader| reader.ask(connection, manner, ANSWER_FOLLOWED_MAX)),
        )
        .await;
        let mut lost = false;
        for (reader, answer) in readers.iter_mut().zip(answers) {
            match answer {
                Ok(part) => reader.show(&part, manner)?,
                Err(_) => lost = true,
            }
        }
        if lost || located.elapsed() >= LOCATE_EVERY {
            located = Instant::now();
            match connection.status(names).await {
                Ok(rows) => locate(&mut readers, &rows, manner)?,
                Err(failure) if failure.code == Code::Failed => return Err(failure),
                // The output comes from workers: it goes on without schedulers.
                Err(_) => {}
            }
        }
    }
}

/// Takes note of where the instances are now.
fn locate(readers: &mut Vec<Reader>, rows: &[InstanceRow], manner: &Manner) -> Result<(), Failure> {
    for row in rows {
        let Some(reader) = readers.iter_mut().find(|reader| reader.name == row.name) else {
            readers.push(Reader::new(row));
            continue;
        };
        if let Some(worker) = &row.worker
            && reader.worker.as_ref() != Some(worker)
        {
            reader.end(manner)?;
            output::note(format_args!(
                "-- {} is on {worker} now, epoch {} --",
                row.name, row.epoch
            ));
            reader.worker = Some(worker.clone());
        }
    }
    Ok(())
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

impl Reader {
    fn new(row: &InstanceRow) -> Reader {
        let (name, worker) = (row.name.clone(), row.worker.clone());
        Reader { name, worker, places: HashMap::new(), begun: String::new() }
    }

    /// Reads and shows what is there. The outer error ends the verb, the inner one only says that
    /// nothing could be read.
    async fn read(
        &mut self,
        connection: &Connection,
        manner: &Manner,
    ) -> Result<Result<(), Error>, Failure> {
        match self.ask(connection, manner, ANSWER_MAX).await {
            Ok(part) => Ok(Ok(self.show(&part, manner)?)),
            Err(e) => Ok(Err(e)),
        }
    }

    /// Where its output ends on a worker; `None` when nothing is known of that.
    async fn end_on(
        &self,
        connection: &Connection,
        worker: &WorkerName,
        channel: Channel,
    ) -> Option<LogPlace> {
        if self.places.contains_key(worker) || self.worker.as_ref() == Some(worker) {
            return None;
        }
        let ask = LogAsk { name: self.name.clone(), channel, from: LogFrom::Last(0) };
        let verb = WorkerVerb::Log;
        let answer = connection.bus.call_worker(worker, verb, &ask, ANSWER_FOLLOWED_MAX).await;
        match answer {
            Ok(LogPart { next, .. }) => Some(next),
            // It never was there, so whatever comes is new.
            Err(Error::Refused { code: code::NOT_FOUND, .. }) => {
                Some(LogPlace { file: 0, offset: 0 })
            }
            Err(_) => None,
        }
    }

    async fn ask(
        &self,
        connection: &Connection,
        manner: &Manner,
        patience: Duration,
    ) -> Result<LogPart, Error> {
        let worker = self.worker.as_ref().ok_or(Error::NoResponders)?;
        let from = match self.places.get(worker) {
            Some(place) => LogFrom::Place(*place),
            None => LogFrom::Last(manner.lines),
        };
        let ask = LogAsk { name: self.name.clone(), channel: manner.channel, from };
        connection.bus.call_worker(worker, WorkerVerb::Log, &ask, patience).await
    }

    fn show(&mut self, part: &LogPart, manner: &Manner) -> Result<(), Failure> {
        let before = self.worker.as_ref().and_then(|w| self.places.insert(w.clone(), part.next));
        if part.skipped {
            let what = match before {
                Some(_) => "output was rotated away before it was read".to_owned(),
                None => format!("only the last {} KiB", LOG_BYTES_MAX / 1024),
            };
            output::note(format_args!("-- {}: {what} --", self.name));
        }
        let Some(width) = manner.prefix else {
            if let Some(last) = part.text.chars().last() {
                self.begun = if last == '\n' { String::new() } else { "…".to_owned() };
            }
            return Ok(output::raw(&part.text)?);
        };
        self.begun.push_str(&part.text);
        let whole = self.begun.rfind('\n').map_or(0, |end| end + 1);
        let lines: String = self.begun.drain(..whole).collect();
        let name = self.name.to_string();
        let text: Vec<String> =
            lines.split_inclusive('\n').map(|line| format!("{name:width$} | {line}")).collect();
        Ok(output::raw(&text.concat())?)
    }

    /// Ends a line that was begun.
    fn end(&mut self, manner: &Manner) -> Result<(), Failure> {
        let begun = std::mem::take(&mut self.begun);
        if begun.is_empty() {
            return Ok(());
        }
        match manner.prefix {
            None => output::raw("\n")?,
            Some(width) => {
                output::raw(&format!("{:width$} | {begun}\n", self.name.to_string()))?;
            }
        }
        Ok(())
    }
}
