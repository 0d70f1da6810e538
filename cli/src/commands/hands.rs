//! What verbs share that lay hands on a child: which one is meant, and what is written to its standard
//! input.

use std::io::Read;
use std::time::Duration;

use dsbus_client::{Bus, Error};
use dsbus_schema::call::{STDIN_BYTES_MAX, STDIN_PAUSE_MAX, StdinAsk, StdinTaken};
use dsbus_schema::command::{Verb, code};
use dsbus_schema::ids::{Epoch, InstanceId, Target, WorkerName};
use dsbus_schema::status::InstanceRow;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::connection::Connection;
use crate::describe;
use crate::failure::Failure;

/// How long a worker may take: it waits 5 s for its supervisor.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(7);
/// Workers that are asked at once.
pub(super) const CALLS_MAX: usize = 32;
/// Between two asks of a worker that does not answer.
const SILENT_PAUSE: Duration = Duration::from_millis(500);
/// First pause before a child whose pipe is full is offered the rest again.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// Pieces of our standard input that wait: one, while another one is being written.
const PIECES_MAX: usize = 1;
/// Names that are listed of a name that means several.
const NAMED_MAX: usize = 5;

/// A child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) name: InstanceId,
    pub(super) worker: WorkerName,
    pub(super) epoch: Epoch,
    pub(super) pid: i32,
}

impl Child {
    /// Of an instance that has one.
    pub(super) fn of(row: &InstanceRow) -> Option<Child> {
        let (worker, pid) = (row.worker.clone()?, row.pid?);
        Some(Child { name: row.name.clone(), worker, epoch: row.epoch, pid })
    }

    /// The child of an instance.
    ///
    /// # Errors
    /// When it has none.
    pub(super) fn must_be(row: &InstanceRow) -> Result<Child, Failure> {
        Child::of(row).ok_or_else(|| {
            let why = format!("{} has no process: it is {}", row.name, describe::state(row));
            Failure::failed(why).hint(format!("start it first: dsbus start {}", row.name))
        })
    }
}

/// The one instance that a name means.
///
/// # Errors
/// When it means none or several, or nobody answers.
pub(super) async fn one(connection: &Connection, name: &Target) -> Result<InstanceRow, Failure> {
    let mut rows = connection.status(std::slice::from_ref(name)).await?;
    match rows.len() {
        1 => Ok(rows.remove(0)),
        0 => Err(Failure::failed(format!("{name} has no instance"))),
        count => {
            let names: Vec<String> =
                rows.iter().take(NAMED_MAX).map(|row| row.name.to_string()).collect();
            let more = if count > NAMED_MAX { ", ..." } else { "" };
            let why = format!("{name} is {count} instances, and only one can be meant here");
            // How many it is, the command line cannot know.
            Err(Failure::failed(why).hint(format!("name one: {}{more}", names.join(", "))))
        }
    }
}

/// Why something was not written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The child does not live (any more).
    Gone(String),
    /// It cannot be written to it.
    Refused(String),
    /// Its worker did not answer for so long.
    Silent(String),
}

impl Unwritten {
    /// In words.
    pub(super) fn why(self) -> String {
        match self {
            Unwritten::Gone(why) | Unwritten::Refused(why) | Unwritten::Silent(why) => why,
        }
    }
}

/// Writes to the standard input of one child, each byte once.
#[derive(Debug)]
pub(super) struct Feeder {
    pub(super) child: Child,
    /// How many bytes it has taken.
    pub(super) written: u64,
    /// As far as it may have taken more, which nobody said.
    perhaps: u64,
    writer: Uuid,
    patience: Option<Duration>,
}

impl Feeder {
    /// For a child. A worker that does not answer for as long as `patience` is given up.
    pub(super) fn new(child: Child, patience: Option<Duration>) -> Feeder {
        Feeder { child, written: 0, perhaps: 0, writer: Uuid::now_v7(), patience }
    }

    /// Whether it may have taken more than is known.
    pub(super) fn in_doubt(&self) -> bool {
        self.perhaps > self.written
    }

    /// Writes all of it, however long the child takes to read; then closes it if that is wanted. Without
    /// both it only asks whether the child has an input. Says whether that is closed.
    ///
    /// # Errors
    /// Why not all of it was written; see `written`.
    pub(super) async fn feed(
        &mut self,
        bus: &Bus,
        bytes: &[u8],
        eof: bool,
    ) -> Result<bool, Unwritten> {
        let begin = self.written;
        let (mut silent, mut pause) = (None, PAUSE_MIN);
        loop {
            let done = usize::try_from(self.written - begin).unwrap_or(usize::MAX);
            let left = &bytes[done.min(bytes.len())..];
            let part = &left[..left.len().min(STDIN_BYTES_MAX)];
            let ask = StdinAsk {
                name: self.child.name.clone(),
                epoch: self.child.epoch,
                pid: self.child.pid,
                writer: self.writer,
                offset: self.written,
                base64: StdinAsk::encoded(part),
                eof: eof && part.len() == left.len(),
                by: bus.user().clone(),
            };
            let worker = &self.child.worker;
            // Until there is an answer; also when nobody waits for it any more.
            let before = self.perhaps;
            self.perhaps = before.max(self.written + part.len() as u64);
            let answer: Result<StdinTaken, Error> =
                bus.hand(worker, Verb::Stdin, &ask, ANSWER_MAX).await;
            // This time nothing was taken.
            if let Err(Error::NoResponders | Error::Refused { code: code::NOT_FOUND, .. }) = &answer
            {
                self.perhaps = before;
            }
            match answer {
                Ok(taken) => {
                    silent = None;
                    let progress = taken.through > self.written;
                    self.written = taken.through.max(self.written);
                    self.perhaps = self.written;
                    if self.written >= begin + bytes.len() as u64 && (!eof || taken.closed) {
                        return Ok(taken.closed);
                    }
                    if progress {
                        pause = PAUSE_MIN;
                    } else {
                        sleep(pause).await;
                        pause = (pause * 2).min(STDIN_PAUSE_MAX);
                    }
                }
                Err(Error::Refused { code: code::NOT_FOUND, text, .. }) => {
                    return Err(Unwritten::Gone(text));
                }
                // What was lost on its way, or waits, is asked for again: it is written once.
                Err(
                    Error::NoResponders
                    | Error::Timeout
                    | Error::Disconnected
                    | Error::Refused { code: code::UNAVAILABLE, .. },
                ) => {
                    let since: Instant = *silent.get_or_insert_with(Instant::now);
                    if self.patience.is_some_and(|most| since.elapsed() >= most) {
                        let why = format!("its worker {worker} does not answer");
                        return Err(Unwritten::Silent(why));
                    }
                    sleep(SILENT_PAUSE).await;
                }
                Err(Error::Refused { text, .. }) => return Err(Unwritten::Refused(text)),
                Err(e) => return Err(Unwritten::Refused(e.to_string())),
            }
        }
    }
}

/// Our standard input, read by a thread of its own as it is wanted: nothing of ours waits for it, and it
/// does not hold up our end. Its end is the end of the pieces.
pub(super) fn pieces() -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut buffer = vec![0; STDIN_BYTES_MAX];
        loop {
            let piece = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => Ok(buffer[..count].to_vec()),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    pieces
}
