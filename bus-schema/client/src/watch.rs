//! Watching keys and events: what is there, then what changes, for ever.
//!
//! NATS's own watchers can stay blind for good after the death of a stream's leader. This one makes
//! a new consumer whenever the old one is silent for longer than its heartbeats allow, misses a
//! message, or the connection changed; and goes on after the last sequence it delivered.

use std::pin::Pin;
use std::task::{Context, Poll};

use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::{Bucket, events_stream};
use futures::Stream;
use tokio::sync::{mpsc, watch};

use crate::tail::{Start, Tail};
use crate::{Bus, Entry, Error};

/// Items that a slow reader may be behind; then the server waits, too (flow control).
pub const WATCH_QUEUE_MAX: usize = 1024;

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all that a watch tells are entries")]
pub enum Item {
    /// An entry; in the order of their sequences, none twice, none left out.
    Entry(Entry),
    /// What was there at the beginning, or at the last reset, has been told. Comes once each, also
    /// when nothing was there.
    CaughtUp,
    /// The stream was lost and made anew, or went back in time: forget everything; what is there
    /// now follows, and then [`Item::CaughtUp`].
    Reset,
}

/// Where to begin with events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The last so many.
    Last(u64),
    /// Those that come.
    New,
    /// Everything that is kept.
    All,
    /// Those stored since then.
    Time(Timestamp),
    /// Those from this sequence on.
    Sequence(u64),
}

/// A watch. It never ends; dropping it ends it, and leaves nothing behind on the server that does
/// not go away by itself.
#[derive(Debug)]
pub struct Watch {
    pub(crate) items: mpsc::Receiver<Item>,
    /// Why it cannot be read, while permissions forbid it.
    pub(crate) denied: watch::Receiver<Option<Error>>,
}

impl Watch {
    /// The next item. Cancelling this loses nothing.
    pub async fn next(&mut self) -> Item {
        match self.items.recv().await {
            Some(item) => item,
            // The runtime is shutting down.
            None => std::future::pending().await,
        }
    }

    /// The same for whoever waits for an answer, and not for ever.
    ///
    /// # Errors
    /// [`Error::Denied`] while the connection's permissions forbid to read it.
    pub async fn next_or_denied(&mut self) -> Result<Item, Error> {
        tokio::select! {
            biased;
            item = self.items.recv() => match item {
                Some(item) => Ok(item),
                // The runtime is shutting down.
                None => std::future::pending().await,
            },
            error = denial(&mut self.denied) => Err(error),
        }
    }
}

/// Waits until reading is forbidden.
async fn denial(denied: &mut watch::Receiver<Option<Error>>) -> Error {
    match denied.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(error)) => error.clone(),
        // The watch has ended: that is told otherwise.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

impl Stream for Watch {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.items.poll_recv(cx)
    }
}

impl Bus {
    /// Watches the keys of `filter` (`>`, `w1.>`): their last entries, in the order in which they
    /// were written, then every later one. `name` begins the consumer's name, as NATS shows it to
    /// its administrator. Must be called on a tokio runtime.
    pub fn watch(&self, b: Bucket, filter: &str, name: &str) -> Watch {
        let prefix = b.subject(self.fleet(), "").len();
        let (stream, filter) = (b.stream(self.fleet()), b.subject(self.fleet(), filter));
        let tail = Tail::new(self.clone(), stream, filter, name, Start::LastPerKey);
        tail.cut(prefix).begin()
    }

    /// Watches the events of `subject`; each entry's key is its whole subject.
    pub fn watch_events(&self, subject: &str, from: From, name: &str) -> Watch {
        let stream = events_stream(self.fleet());
        let filter = subject.to_owned();
        let tail = Tail::new(self.clone(), stream, filter, name, Start::Events(from));
        tail.begin()
    }
}
