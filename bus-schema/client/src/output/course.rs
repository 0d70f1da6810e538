//! How the output of one instance is followed over its stays on workers: what to ask next, and what
//! to make of the answer. Pure.
//!
//! Invariant: stays are read in the order of their epochs, each to its end, and none twice. Only a
//! worker that does not answer for [`PATIENCE`], or does not say that a stay has ended for
//! [`LEAVING_MAX`], is left before that, and this is told.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Error;
use dsbus_schema::call::{Channel, LogAsk, LogFrom, LogPart, LogPlace};
use dsbus_schema::command::code;
use dsbus_schema::ids::{Epoch, InstanceId, WorkerName};
use tokio::time::Instant;

/// How long an answer waits for output: while nothing is said, this often a message goes each way.
const WAIT: Duration = Duration::from_secs(2);
/// The same while the end of a stay is awaited.
const WAIT_LEAVING: Duration = Duration::from_millis(300);
/// How long a worker may be silent when the instance is elsewhere: an agent is replaced in less.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the end of a stay is awaited: an outdated child may take its time to stop.
const LEAVING_MAX: Duration = Duration::from_secs(15);
/// Stays that are known and were not read yet; each is a move.
const STAYS_MAX: usize = 1000;

/// A stay of an instance on a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stay {
    /// Under which epoch.
    pub epoch: Epoch,
    /// Where.
    pub worker: WorkerName,
}

/// What is to be shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Output(Vec<u8>),
    /// Nothing follows what was begun, for now.
    EndOfStay,
    Note(String),
    /// The instance is somewhere else.
    Moved(String),
}

/// The course of an instance.
#[derive(Debug)]
pub struct Course {
    name: InstanceId,
    channel: Channel,
    lines: u32,
    now: Option<Stay>,
    from: LogFrom,
    /// What is not read yet; all later than what was.
    next: BTreeMap<Epoch, WorkerName>,
    /// The last one that was read, or is.
    reached: Epoch,
    /// Since when the next stay is known, and all of this one is read but its end.
    leaving: Option<Instant>,
    silent: Option<Instant>,
    /// What is wrong has been told.
    told: bool,
}

impl Course {
    /// Begins with the last lines of where the instance is.
    pub fn from_last_lines(
        name: InstanceId,
        channel: Channel,
        stay: Option<Stay>,
        lines: u32,
    ) -> Course {
        let reached = stay.as_ref().map_or(Epoch(0), |stay| stay.epoch);
        let from = LogFrom::Last(lines);
        let next = BTreeMap::new();
        Course {
            name,
            channel,
            lines,
            now: stay,
            from,
            next,
            reached,
            leaving: None,
            silent: None,
            told: false,
        }
    }

    /// Begins at a place of where the instance is.
    pub fn from_place(name: InstanceId, channel: Channel, stay: Stay, place: LogPlace) -> Course {
        let course = Course::from_last_lines(name, channel, Some(stay), 0);
        Course { from: LogFrom::Place(place), ..course }
    }

    /// The instance is or was somewhere.
    pub(crate) fn hear(&mut self, stay: Stay) {
        if stay.epoch > self.reached && self.next.len() < STAYS_MAX {
            self.next.entry(stay.epoch).or_insert(stay.worker);
        }
    }

    /// Whom to ask what; `None` until a stay is heard of.
    pub(crate) fn ask(&mut self, now: Instant) -> (Option<(WorkerName, LogAsk)>, Vec<Show>) {
        let shown = if self.now.is_none() { self.begin_next() } else { Vec::new() };
        let Some(stay) = &self.now else { return (None, shown) };
        let leaving = !self.next.is_empty();
        if leaving {
            self.leaving.get_or_insert(now);
        }
        let wait = if leaving { WAIT_LEAVING } else { WAIT };
        let ask = LogAsk {
            name: Some(self.name.clone()),
            channel: self.channel,
            from: self.from,
            epoch: match self.from {
                LogFrom::Last(_) => None,
                LogFrom::Place(_) | LogFrom::Epoch(_) => Some(stay.epoch),
            },
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(0),
        };
        (Some((stay.worker.clone(), ask)), shown)
    }

    /// The answer to the last ask.
    pub(crate) fn answered(&mut self, part: LogPart, now: Instant) -> Vec<Show> {
        let mut shown = Vec::new();
        if std::mem::take(&mut self.told)
            && let Some(stay) = self.now.as_ref().filter(|_| self.silent.is_some())
        {
            shown.push(Show::Note(format!("{}: {} answers again", self.name, stay.worker)));
        }
        self.silent = None;
        if part.skipped {
            let what = match self.from {
                LogFrom::Last(_) => "older lines cannot be read",
                LogFrom::Place(_) | LogFrom::Epoch(_) => {
                    "output was rotated away or cleared before it was read"
                }
            };
            shown.push(Show::Note(format!("{}: {what}", self.name)));
        }
        // The last lines may be of a later stay on the same worker than was heard of.
        if let (LogFrom::Last(_), Some(epoch), Some(stay)) = (self.from, part.epoch, &mut self.now)
        {
            stay.epoch = epoch.max(stay.epoch);
            self.reached = stay.epoch;
            self.next.retain(|later, _| *later > epoch);
        }
        let (quiet, more) = (part.is_empty() && !part.more, part.more);
        // A worker that knows no epochs cannot say when one has ended.
        let ended = part.ended || (quiet && part.epoch.is_none() && self.leaving.is_some());
        self.from = LogFrom::Place(part.next);
        if more {
            // There is much to read, and no reason to give up.
            self.leaving = None;
        }
        if !part.is_empty() {
            shown.push(Show::Output(part.into_output()));
        }
        if ended {
            shown.extend(self.leave());
        } else if self.overdue(now) {
            let worker = self.now.as_ref().map_or("?", |stay| stay.worker.as_str());
            let note = format!("{}: its output on {worker} does not end", self.name);
            shown.push(Show::Note(note));
            shown.extend(self.leave());
        }
        shown
    }

    /// There was no answer, or a refusal.
    pub(crate) fn failed(&mut self, error: &Error, now: Instant) -> Vec<Show> {
        let Some(worker) = self.now.as_ref().map(|stay| stay.worker.clone()) else {
            return Vec::new();
        };
        match error {
            Error::NoResponders | Error::Timeout => self.unanswered(&worker, now),
            // That is about us, and not about the worker.
            Error::Disconnected => {
                self.silent = None;
                Vec::new()
            }
            Error::Refused { code: code::NOT_FOUND, .. } => {
                self.silent = None;
                match self.from {
                    // It has not begun there yet, or never will.
                    LogFrom::Epoch(_) => {
                        if waited(self.leaving, PATIENCE, now) {
                            self.leave()
                        } else {
                            Vec::new()
                        }
                    }
                    LogFrom::Last(_) | LogFrom::Place(_) if self.next.is_empty() => {
                        self.tell(format!("{}: {error}", self.name))
                    }
                    LogFrom::Last(_) | LogFrom::Place(_) => self.leave(),
                }
            }
            // It is older than this, and knows no epochs.
            Error::Refused { code: code::BAD_REQUEST, .. }
                if matches!(self.from, LogFrom::Epoch(_)) =>
            {
                self.from = LogFrom::Last(self.lines);
                Vec::new()
            }
            // It has much to do, or its disk fails: the first passes soon.
            Error::Refused { code: code::UNAVAILABLE, .. }
                if !waited(Some(*self.silent.get_or_insert(now)), PATIENCE, now) =>
            {
                Vec::new()
            }
            other => {
                let shown = self.tell(format!("{} (on {worker}): {other}", self.name));
                if self.overdue(now) {
                    shown.into_iter().chain(self.leave()).collect()
                } else {
                    shown
                }
            }
        }
    }

    fn unanswered(&mut self, worker: &WorkerName, now: Instant) -> Vec<Show> {
        self.silent.get_or_insert(now);
        if !waited(self.silent, PATIENCE, now) {
            return Vec::new();
        }
        if self.next.is_empty() {
            return self.tell(format!("{}: {worker} does not answer", self.name));
        }
        let note = format!(
            "{}: {worker} does not answer: its last output there may be missing",
            self.name
        );
        let mut shown = vec![Show::Note(note)];
        shown.extend(self.leave());
        shown
    }

    /// The end of this stay is awaited for too long.
    fn overdue(&self, now: Instant) -> bool {
        waited(self.leaving, LEAVING_MAX, now)
    }

    /// Tells what is wrong, once.
    fn tell(&mut self, what: String) -> Vec<Show> {
        let told = std::mem::replace(&mut self.told, true);
        if told { Vec::new() } else { vec![Show::Note(what)] }
    }

    /// Goes on with the next stay, once there is one.
    fn leave(&mut self) -> Vec<Show> {
        self.now = None;
        (self.leaving, self.silent, self.told) = (None, None, false);
        let mut shown = vec![Show::EndOfStay];
        shown.extend(self.begin_next());
        shown
    }

    fn begin_next(&mut self) -> Vec<Show> {
        let Some((epoch, worker)) = self.next.pop_first() else { return Vec::new() };
        self.reached = epoch;
        self.from = LogFrom::Epoch(epoch);
        let note = format!("{} is on {worker} now, epoch {epoch}", self.name);
        self.now = Some(Stay { epoch, worker });
        vec![Show::Moved(note)]
    }
}

fn waited(since: Option<Instant>, most: Duration, now: Instant) -> bool {
    since.is_some_and(|since| now.duration_since(since) >= most)
}
