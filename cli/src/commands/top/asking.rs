//! What `top` asks the fleet, when, and what it has done there. Answers come back as messages.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsbus_client::output::Piece;
use dsbus_client::{Error, Item, Samples, UsageAsks};
use dsbus_schema::call::Channel;
use dsbus_schema::command::{self, Acted, Ask, Verb};
use dsbus_schema::event::{Event, Fact};
use dsbus_schema::ids::{InstanceId, Target};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::model::{Column, Model};
use super::update::Message;
use super::view;
use crate::commands::act::envelope;
use crate::commands::logs;
use crate::connection::Connection;
use crate::failure::Failure;

/// So many instances are many: everything is asked for less often.
const MANY: usize = 1_000;
/// How often everything is asked for, in case an event was missed: of few, and of many.
const ALL_EVERY: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];
/// Soonest after that, when something was added or removed.
const ALL_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// How often rows are asked for that events have told of.
const CHANGED_EVERY: Duration = Duration::from_millis(250);
/// Rows that are asked for at once; the others wait.
const CHANGED_MAX: usize = 500;
/// Rows that wait to be asked for; of more, everything is.
const CHANGED_WAIT_MAX: usize = 20_000;
/// How often workers are asked for: of few, and of many.
const WORKERS_EVERY: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(15)];
/// So many workers are many.
const MANY_WORKERS: usize = 50;
/// How often it is asked what is used by what is seen, and by many when they are sorted by it.
const USAGE_EVERY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];
/// Lines that a log begins with.
const LOG_LINES: u32 = 200;
/// Pieces of a log that wait to be shown.
const PIECES_MAX: usize = 8;

/// Something that is asked for again and again, once at a time.
#[derive(Debug)]
struct Question {
    due: Instant,
    /// Answered; a new one may be asked.
    running: Option<JoinHandle<()>>,
}

impl Question {
    fn new(now: Instant) -> Question {
        Question { due: now, running: None }
    }

    /// Whether it is time, and nobody is being asked.
    fn is_due(&mut self, now: Instant) -> bool {
        if self.running.as_ref().is_some_and(JoinHandle::is_finished) {
            self.running = None;
        }
        self.running.is_none() && self.due <= now
    }
}

/// All of it.
pub(super) struct Asking {
    connection: Connection,
    names: Vec<Target>,
    sender: mpsc::Sender<Message>,
    all: Question,
    changed: Question,
    workers: Question,
    usage: Question,
    /// Instances that events have told of.
    told_of: BTreeSet<InstanceId>,
    samples: Arc<Mutex<Samples>>,
    following: Option<JoinHandle<()>>,
    many: bool,
    many_workers: bool,
    silent: bool,
}

impl Asking {
    pub(super) fn new(
        connection: Connection,
        names: Vec<Target>,
        sender: mpsc::Sender<Message>,
    ) -> Asking {
        let now = Instant::now();
        Asking {
            connection,
            names,
            sender,
            all: Question::new(now + ALL_EVERY[0]),
            changed: Question::new(now),
            workers: Question::new(now),
            usage: Question::new(now),
            told_of: BTreeSet::new(),
            samples: Arc::default(),
            following: None,
            many: false,
            many_workers: false,
            silent: false,
        }
    }

    /// An event: which rows it changes; itself, if it is one to show.
    pub(super) fn heard(&mut self, model: &Model, item: Item) -> Option<Event> {
        let entry = match item {
            Item::Entry(entry) => entry,
            Item::CaughtUp => return None,
            Item::Reset => {
                self.soon();
                return None;
            }
        };
        // What cannot be read is of a newer version, and changes what is asked for now and then.
        let event: Event = entry.json().ok().flatten()?;
        let name = match &event.data {
            Fact::Process(fact) => Some(&fact.name),
            Fact::Placement(fact) => Some(&fact.name),
            Fact::Notice(fact) => Some(&fact.name),
            // They may be many, and nobody could read them here.
            Fact::Output(_) | Fact::Tick(_) => return None,
            Fact::Program(_) | Fact::Command(_) => {
                self.soon();
                None
            }
            Fact::Worker(_) => {
                self.workers.due = self.workers.due.min(Instant::now() + CHANGED_EVERY);
                None
            }
            Fact::Rollout(_)
            | Fact::Group(_)
            | Fact::Scheduler(_)
            | Fact::User(_)
            | Fact::Listener(_) => None,
        };
        let Some(name) = name else { return Some(event) };
        let known = model.row(name).is_some();
        if known && self.told_of.len() < CHANGED_WAIT_MAX {
            self.told_of.insert(name.clone());
        } else {
            self.soon();
        }
        (known || self.names.is_empty()).then_some(event)
    }

    /// Everything is to be asked for soon.
    fn soon(&mut self) {
        self.all.due = self.all.due.min(Instant::now() + ALL_AGAIN[usize::from(self.many)]);
    }

    /// What the answers say of the fleet.
    pub(super) fn noted(&mut self, message: &Message) {
        match message {
            Message::Rows(rows) => self.many = rows.len() > MANY,
            Message::Workers(workers) => self.many_workers = workers.len() > MANY_WORKERS,
            Message::Silent(_) => self.silent = true,
            Message::Answered => self.silent = false,
            Message::Key(_)
            | Message::Resize(..)
            | Message::Changed(_)
            | Message::Used(_)
            | Message::Event(_)
            | Message::Printed(..)
            | Message::LogNote(..)
            | Message::Acted(_)
            | Message::Failed(_)
            | Message::Tick(_)
            | Message::End => {}
        }
    }

    /// Returns when something is to be asked.
    pub(super) async fn due(&self) {
        let next = [&self.all, &self.workers, &self.usage]
            .into_iter()
            .chain((!self.told_of.is_empty()).then_some(&self.changed))
            .map(|question| match question.running {
                // It is looked again, soon.
                Some(_) => question.due.max(Instant::now() + CHANGED_EVERY),
                None => question.due,
            })
            .min();
        sleep_until(next.unwrap_or_else(Instant::now)).await;
    }

    /// Asks what is due.
    pub(super) fn ask(&mut self, model: &Model) {
        let now = Instant::now();
        if self.all.is_due(now) {
            self.all.due = now + ALL_EVERY[usize::from(self.many)];
            self.all.running = Some(self.ask_all());
        }
        if !self.told_of.is_empty() && self.changed.is_due(now) {
            self.changed.due = now + CHANGED_EVERY;
            self.changed.running = Some(self.ask_changed());
        }
        if self.workers.is_due(now) {
            self.workers.due = now + WORKERS_EVERY[usize::from(self.many_workers)];
            self.workers.running = Some(self.ask_workers());
        }
        if self.usage.is_due(now) {
            self.ask_usage(model);
        }
    }

    fn ask_all(&mut self) -> JoinHandle<()> {
        let (connection, sender) = (self.connection.clone(), self.sender.clone());
        let (names, silent) = (self.names.clone(), self.silent);
        tokio::spawn(async move {
            match connection.status(&names).await {
                Ok(rows) => {
                    if silent {
                        drop(sender.send(Message::Answered).await);
                    }
                    drop(sender.send(Message::Rows(rows)).await);
                }
                Err(failure) => drop(sender.send(silence(failure)).await),
            }
        })
    }

    fn ask_changed(&mut self) -> JoinHandle<()> {
        let mut names = Vec::new();
        while names.len() < CHANGED_MAX
            && let Some(name) = self.told_of.pop_first()
        {
            names.push(Target::Instance(name));
        }
        let (connection, sender) = (self.connection.clone(), self.sender.clone());
        let (all, silent) = (self.names.clone(), self.silent);
        tokio::spawn(async move {
            let message = match connection.bus.status(&names).await {
                Ok(rows) => Message::Changed(rows),
                // One of them is gone.
                Err(Error::Refused { .. }) => match connection.status(&all).await {
                    Ok(rows) => Message::Rows(rows),
                    Err(failure) => silence(failure),
                },
                Err(e) => silence(connection.explain(e).await),
            };
            if silent && !matches!(message, Message::Silent(_)) {
                drop(sender.send(Message::Answered).await);
            }
            drop(sender.send(message).await);
        })
    }

    fn ask_workers(&mut self) -> JoinHandle<()> {
        let (connection, sender) = (self.connection.clone(), self.sender.clone());
        tokio::spawn(async move {
            if let Ok(workers) = connection.command(Verb::Workers, &Ask::default()).await {
                drop(sender.send(Message::Workers(workers)).await);
            }
        })
    }

    /// Asks workers what the instances use that are seen; all, where those that use most come first.
    pub(super) fn ask_usage(&mut self, model: &Model) {
        if self.usage.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let every = matches!(model.sort, Column::Cpu | Column::Memory);
        let pause = USAGE_EVERY[usize::from(every && self.many)];
        self.usage.due = Instant::now() + pause;
        let seen = || model.seen(view::table_height(model));
        let rows: Box<dyn Iterator<Item = _>> =
            if every { Box::new(model.rows.iter()) } else { Box::new(seen()) };
        let asks = UsageAsks::new(rows);
        let (connection, sender) = (self.connection.clone(), self.sender.clone());
        let samples = Arc::clone(&self.samples);
        self.usage.running = Some(tokio::spawn(async move {
            let known = asks.names();
            let answers = connection.bus.usage(asks).await;
            let used = {
                let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
                samples.keep(|name| known.contains(name));
                answers.into_iter().flat_map(|answer| samples.take(answer)).collect()
            };
            drop(sender.send(Message::Used(used)).await);
        }));
    }

    /// Starts, stops or restarts an instance.
    pub(super) fn act(&self, verb: Verb, name: InstanceId) {
        let (connection, sender) = (self.connection.clone(), self.sender.clone());
        tokio::spawn(async move {
            let names = vec![Target::Instance(name.clone())];
            let request = command::Act::new(envelope(), names);
            let acted: Result<Acted, Failure> = connection.command(verb, &request).await;
            let message = match acted {
                Ok(_) => Message::Acted(format!("{} {name}: accepted", verb.name())),
                Err(failure) => {
                    Message::Failed(format!("{} {name}: {}", verb.name(), failure.message))
                }
            };
            drop(sender.send(message).await);
        });
    }

    /// Follows the log of an instance, and of no other one.
    pub(super) fn follow(&mut self, name: InstanceId, channel: Channel) {
        self.unfollow();
        let (connection, sender) = (self.connection.clone(), self.sender.clone());
        let of = (name.clone(), channel);
        self.following = Some(tokio::spawn(async move {
            let (print, mut pieces) = mpsc::channel(PIECES_MAX);
            // Held, so that nobody is taken for gone.
            let (_printer, printed) = oneshot::channel();
            let followed = logs::follow(&connection, name, channel, LOG_LINES, (print, printed));
            let shown = async {
                while let Some(piece) = pieces.recv().await {
                    let message = match piece {
                        Piece::Output(bytes) => Message::Printed(of.clone(), bytes),
                        Piece::Note(text) => Message::LogNote(of.clone(), text),
                    };
                    drop(sender.send(message).await);
                }
            };
            tokio::select! {
                ended = followed => if let Err(failure) = ended {
                    drop(sender.send(Message::LogNote(of.clone(), failure.message)).await);
                },
                () = shown => {}
            }
        }));
    }

    /// Follows no log.
    pub(super) fn unfollow(&mut self) {
        if let Some(following) = self.following.take() {
            following.abort();
        }
    }
}

fn silence(failure: Failure) -> Message {
    Message::Silent(failure.message)
}
