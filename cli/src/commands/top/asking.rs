//! What `top` asks the fleet, when, and what it has done there. Answers come back as messages.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dsbus_client::output::Piece;
use dsbus_client::{News, Samples, UsageAsks};
use dsbus_schema::call::Channel;
use dsbus_schema::command::{self, Acted, Verb};
use dsbus_schema::event::Fact;
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

/// How often it is asked what is used by what is seen, and by many when they are sorted by it.
const USAGE_EVERY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];
/// So many instances are many.
const MANY: usize = 1_000;
/// How soon it is looked again whether workers have answered.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Lines that a log begins with.
const LOG_LINES: u32 = 200;
/// Pieces of a log that wait to be shown.
const PIECES_MAX: usize = 8;

/// All of it.
pub(super) struct Asking {
    connection: Connection,
    sender: mpsc::Sender<Message>,
    /// Not everything is shown.
    named: bool,
    usage_due: Instant,
    /// Answered; may be asked anew.
    usage: Option<JoinHandle<()>>,
    samples: Arc<Mutex<Samples>>,
    following: Option<JoinHandle<()>>,
    silent: bool,
}

impl Asking {
    /// `named`: only some instances are shown.
    pub(super) fn new(
        connection: Connection,
        named: bool,
        sender: mpsc::Sender<Message>,
    ) -> Asking {
        Asking {
            connection,
            sender,
            named,
            usage_due: Instant::now(),
            usage: None,
            samples: Arc::default(),
            following: None,
            silent: false,
        }
    }

    /// What is to be made of news.
    pub(super) fn heard(&mut self, model: &Model, news: News) -> Vec<Message> {
        let answers = !matches!(news, News::Event(_) | News::Silent(_));
        let again = (answers && std::mem::take(&mut self.silent)).then_some(Message::Answered);
        let message = match news {
            News::All(rows) => Some(Message::Rows(rows)),
            News::Changed(rows) => Some(Message::Changed(rows)),
            News::Workers(workers) => Some(Message::Workers(workers)),
            News::Silent(why) => {
                self.silent = true;
                let (connection, sender) = (self.connection.clone(), self.sender.clone());
                // To say it in words takes a question to the bus.
                tokio::spawn(async move {
                    let why = connection.explain(why).await.message;
                    drop(sender.send(Message::Silent(why)).await);
                });
                None
            }
            News::Event(event) => {
                let name = match &event.data {
                    Fact::Process(fact) => Some(&fact.name),
                    Fact::Placement(fact) => Some(&fact.name),
                    Fact::Notice(fact) => Some(&fact.name),
                    _ => None,
                };
                let shown = name.is_none_or(|name| !self.named || model.row(name).is_some());
                shown.then_some(Message::Event(event))
            }
        };
        again.into_iter().chain(message).collect()
    }

    /// Returns when it is to be asked what is used.
    pub(super) async fn due(&self) {
        // While an answer is out it is looked again, soon.
        let out = self.usage.as_ref().is_some_and(|asked| !asked.is_finished());
        let soon = out.then(|| Instant::now() + LOOK_AGAIN);
        sleep_until(self.usage_due.max(soon.unwrap_or(self.usage_due))).await;
    }

    /// Asks workers what the instances use that are seen; all, where those that use most come first.
    pub(super) fn ask_usage(&mut self, model: &Model) {
        if self.usage.as_ref().is_some_and(|asked| !asked.is_finished()) {
            return;
        }
        let every = matches!(model.sort, Column::Cpu | Column::Memory);
        let many = every && model.rows.len() > MANY;
        self.usage_due = Instant::now() + USAGE_EVERY[usize::from(many)];
        let seen = || model.seen(view::table_height(model));
        let rows: Box<dyn Iterator<Item = _>> =
            if every { Box::new(model.rows.iter()) } else { Box::new(seen()) };
        let asks = UsageAsks::new(rows);
        let (connection, sender) = (self.connection.clone(), self.sender.clone());
        let samples = Arc::clone(&self.samples);
        self.usage = Some(tokio::spawn(async move {
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
