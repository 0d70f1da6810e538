//! Durable consumers: listeners that go on where they ended, with NATS remembering where.
//!
//! Each event comes at least once: again after a reader died with it, gave it back, or was cut off.
//! Within one reader it comes once, whatever happens to servers and connections meanwhile; unless
//! the stream itself loses what was in it.

mod book;
mod config;
mod opening;
mod reader;

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsbus_schema::event::Event;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::events_stream;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::ack::NO_CONSUMER;
use crate::{Bus, Error};
use book::{Arrival, Book};
use reader::Reader;

/// An event that its reader has died with comes again after this: a reader says every second that
/// it still works on it.
pub const ACK_WAIT: Duration = Duration::from_secs(4);
/// A reader that was frozen or cut off for longer than this makes room for another one
/// ([`Share::One`]). Longer than [`ACK_WAIT`], so that the other one first gets what the first had.
pub const STAND_BY: Duration = Duration::from_secs(6);
/// The priority group of all readers of a consumer that is read by one.
const GROUP: &str = "reader";

/// Where a durable consumer begins that does not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With what is stored from now on.
    New,
    /// With everything that is kept.
    All,
    /// With what was stored since then.
    Time(Timestamp),
    /// With this sequence of the stream.
    Sequence(u64),
}

/// Who gets an event of a consumer that has several readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// One reader gets all of them, in the order of the stream. Others stand by, and the next one
    /// takes over when the first leaves (at once) or is silent for [`STAND_BY`].
    One,
    /// Each goes to one of them, whoever asks first. No order across readers.
    Many,
}

/// A durable consumer of events.
#[derive(Debug, Clone)]
pub struct DurableOptions {
    /// Its name, 1 to 64 of `[A-Za-z0-9_-]`; readers that give the same share it.
    pub name: String,
    /// Subjects, at least one; see [`dsbus_schema::filter::Filter::subjects`]. NATS is asked for one
    /// that holds them all, and what is not meant is left out here: of several it reads what is
    /// stored already far more slowly.
    pub subjects: Vec<String>,
    /// Where it begins, if it does not exist yet.
    pub begin: Begin,
    /// Who gets an event.
    pub share: Share,
    /// Most events that its readers may hold at once, together.
    pub window: NonZeroU16,
}

impl Bus {
    /// Reads events through a durable consumer, which is made if it is not there, and adapted if it
    /// has other subjects, once no other reader has it ([`Share::One`]). Must be called on a tokio runtime; goes on through every loss of the
    /// connection, of servers and of the consumer itself.
    pub fn durable(&self, options: DurableOptions) -> Durable {
        let (failing, failed) = mpsc::channel(1);
        let (close, closed) = oneshot::channel();
        let shared = Arc::new(Shared {
            book: Mutex::new(Book::new(options.share == Share::One)),
            settled: Notify::new(),
            arrived: Notify::new(),
            opened: watch::Sender::new(false),
            hold: AtomicU16::new(options.window.get()),
        });
        let stream = events_stream(self.fleet());
        let reader = Reader::new(self.clone(), stream, options, shared.clone());
        let task = tokio::spawn(reader.run(failing, closed));
        Durable { failed, close, task, shared }
    }

    /// Forgets a durable consumer, and with it how far it got. Whether there was one.
    ///
    /// # Errors
    /// Whatever keeps the server from answering.
    pub async fn forget_durable(&self, name: &str) -> Result<bool, Error> {
        let call = format!("CONSUMER.DELETE.{}.{name}", events_stream(self.fleet()));
        match self.api(&call, &Value::Null, crate::wire::ANSWER_MAX).await {
            Ok(_) => Ok(true),
            Err(Error::Api { code: NO_CONSUMER, .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }
}

/// A reader of a durable consumer. When it is dropped, as when it dies, what it holds comes again
/// after [`ACK_WAIT`]; [`Durable::close`] gives it back at once.
#[derive(Debug)]
pub struct Durable {
    /// Why there is nothing to read, and never will be.
    failed: mpsc::Receiver<Error>,
    close: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
    shared: Arc<Shared>,
}

impl Durable {
    /// When the consumer is there for the first time: what is stored from then on is heard, wherever
    /// it begins.
    pub fn opened(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut opened = self.shared.opened.subscribe();
        async move {
            // Whoever reads is gone, and hears nothing any more.
            if opened.wait_for(|opened| *opened).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Holds no more than so many events at once from now on, of the window that all readers share:
    /// what a slow reader has not taken, another one may ([`Share::Many`]). As many as the window
    /// unless set.
    pub fn hold(&self, most: NonZeroU16) {
        self.shared.hold.store(most.get(), Ordering::Relaxed);
        self.shared.settled.notify_one();
    }

    /// The next event. Cancelling this loses nothing.
    ///
    /// # Errors
    /// When the consumer cannot be made and never will: its name or subjects are wrong, another
    /// kind of consumer has its name, or permissions forbid it. Nothing follows then.
    pub async fn next(&mut self) -> Result<Heard, Error> {
        loop {
            if let Some(heard) = self.next_here() {
                return Ok(heard);
            }
            tokio::select! {
                () = self.shared.arrived.notified() => {}
                failed = self.failed.recv() => match failed {
                    Some(error) => return Err(error),
                    // The runtime is shutting down, or the error was told already.
                    None => std::future::pending().await,
                },
            }
        }
    }

    /// The next event, if one is here already. An error is left for [`Durable::next`].
    pub fn next_here(&mut self) -> Option<Heard> {
        let Arrival { event, seq, time, tries, number } = self.shared.lock().next()?;
        let shared = self.shared.clone();
        Some(Heard { event, seq, time, tries, number, shared, settled: false })
    }

    /// Leaves: acknowledges what was acknowledged, gives back the rest, and lets another reader
    /// take over, as far as the bus can be reached.
    pub async fn close(self) {
        // The task may have ended with an error.
        let _ = self.close.send(());
        drop(self.task.await);
    }
}

/// An event, and the duty to say what became of it. Dropped, it is given back; as long as it is
/// held, it does not come again.
#[derive(Debug)]
pub struct Heard {
    /// The event.
    pub event: Event,
    /// Its sequence in the stream.
    pub seq: u64,
    /// When it was stored.
    pub time: Timestamp,
    /// How often it was delivered, to whomever: 1 at first.
    pub tries: u64,
    /// Its number among the deliveries to this reader.
    number: u64,
    shared: Arc<Shared>,
    settled: bool,
}

impl Heard {
    /// It is done with: it does not come again. Sent aside; a reader that is killed in this moment
    /// may find it again.
    pub fn ack(mut self) {
        self.settle(true);
    }

    /// Gives it back: it comes again at once, to whoever asks first.
    pub fn back(mut self) {
        self.settle(false);
    }

    fn settle(&mut self, done: bool) {
        self.settled = true;
        self.shared.lock().settle(self.seq, self.number, done);
        self.shared.settled.notify_one();
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(false);
        }
    }
}

/// What a reader's task and its events share.
#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    settled: Notify,
    arrived: Notify,
    /// Whether the consumer was there.
    opened: watch::Sender<bool>,
    /// Most events that this reader holds.
    hold: AtomicU16,
}

impl Shared {
    /// Never held over an await.
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
