//! The loop behind a watch: consumer after consumer, entry after entry.

mod kinship;
mod recent;

use std::time::Duration;

use async_nats::{HeaderValue, Message, StatusCode, Subscriber};
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::consumer::{API_MAX, Deliver, Delivery, Opened};
use crate::{Bus, Error, From, Item, Value, WATCH_QUEUE_MAX, Watch, entry};

pub(crate) use kinship::{Kinship, judge};
use recent::{Recent, Seen};

/// Between two attempts to make a consumer.
const RETRY: Duration = Duration::from_millis(200);
/// The same where permissions forbid it: a server that is told others ends the connections of those
/// whom it concerns, so that looking again is for what nobody thought of.
const DENIED_RETRY: Duration = Duration::from_secs(10);
/// Heartbeats come every second; when none came for this long, the consumer is gone.
const SILENCE_MAX: Duration = Duration::from_millis(2500);
/// What was written over while a stream was opened again is delivered by then, and when nothing has
/// waited so often: it is not missed before.
const MISSED_AFTER: Duration = Duration::from_secs(3);
const MISSED_QUIET: u64 = 3;

/// Header of a write that replaces others; `all` of the stream.
const ROLLUP: &str = "Nats-Rollup";
/// Header of what ends by itself, as its marker does.
const TTL: &str = "Nats-TTL";

/// Where a watch begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start {
    /// With the last entry of each key.
    LastPerKey,
    /// Somewhere in the events.
    Events(From),
}

/// One watch's state.
pub(crate) struct Tail {
    bus: Bus,
    stream: String,
    filter: String,
    name: String,
    start: Start,
    /// Bytes of every subject that are not key.
    prefix: usize,
    /// Sequence to go on from; `None` before the first consumer, and after a reset.
    next: Option<u64>,
    /// What was read right before that, of a bucket.
    recent: Recent,
    /// When the stream was made that `next` is about.
    created: Option<String>,
    /// Since when the stream ends before what was read.
    behind: Option<Instant>,
    caught_up: bool,
    /// The write that emptied the bucket, and was told of.
    emptied: Option<u64>,
    /// The last complaint, which is made once only.
    complaint: Option<Error>,
    /// That permissions forbid it, for whoever waits.
    denied: watch::Sender<Option<Error>>,
}

/// Why reading ended.
enum End {
    /// Nobody reads the watch any more.
    Dropped,
    /// The consumer is gone, or missed something.
    Lost,
    /// Permissions forbid it.
    Denied,
    /// The connection changed.
    Changed,
}

/// Nobody reads the watch any more.
struct Dropped;

/// What a server says between deliveries: a question, or that nothing is left up to `end`, of what the
/// server has that keeps the consumer: it may lag behind the leader of the stream.
enum Beat {
    Question,
    Idle { end: u64 },
}

/// Why reading stops at once.
enum Stop {
    /// Nobody reads the watch any more.
    Dropped,
    /// The stream is not the one that was read, or begins anew.
    Other,
}

impl Tail {
    pub(crate) fn new(bus: Bus, stream: String, filter: String, name: &str, start: Start) -> Tail {
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
        Tail {
            bus,
            stream,
            filter,
            name,
            start,
            prefix: 0,
            next: None,
            recent: Recent::default(),
            created: None,
            behind: None,
            caught_up: false,
            emptied: None,
            complaint: None,
            denied: watch::Sender::new(None),
        }
    }

    /// Cuts so many bytes off every subject.
    pub(crate) fn cut(mut self, prefix: usize) -> Tail {
        self.prefix = prefix;
        self
    }

    /// Begins, on a task of its own that ends when the receiver is dropped.
    pub(crate) fn begin(self) -> Watch {
        let (sender, items) = mpsc::channel(WATCH_QUEUE_MAX);
        let denied = self.denied.subscribe();
        tokio::spawn(self.run(sender));
        Watch { items, denied }
    }

    async fn run(mut self, items: mpsc::Sender<Item>) {
        let mut changes = self.bus.connections();
        loop {
            changes.mark_unchanged();
            let end = if self.bus.connected() {
                match self.open().await {
                    Ok(Some((subscriber, opened))) => {
                        self.read(subscriber, opened, &mut changes, &items).await
                    }
                    Ok(None) => match self.reset(&items).await {
                        Ok(()) => continue,
                        Err(Dropped) => End::Dropped,
                    },
                    Err(error @ Error::Denied { .. }) => {
                        self.denied.send_replace(Some(error.clone()));
                        self.complain(error);
                        End::Denied
                    }
                    Err(error) => {
                        self.complain(error);
                        End::Lost
                    }
                }
            } else {
                End::Lost
            };
            let rest = match end {
                End::Dropped => return,
                End::Changed => continue,
                End::Lost => RETRY,
                End::Denied => DENIED_RETRY,
            };
            tokio::select! {
                () = sleep(rest) => {}
                _ = changes.changed() => {}
                () = items.closed() => return,
            }
        }
    }

    /// Makes a consumer that goes on where the last one ended. `None` when the stream is not the
    /// one that was read so far.
    async fn open(&mut self) -> Result<Option<(Subscriber, Opened)>, Error> {
        let deliver = self.deliver().await?;
        let inbox = self.bus.new_inbox();
        // First the subscription: a consumer without one delivers nothing.
        let subscriber = self.bus.client().subscribe(inbox.clone()).await;
        let subscriber = subscriber.map_err(|_| Error::Disconnected)?;
        let opened =
            self.bus.push_consumer(&self.stream, &self.filter, &self.name, &inbox, deliver).await?;
        // A stream that was made anew before this moment shows it here; one that is made anew later
        // takes the consumer with it, and shows it next time.
        let same = self.created.as_ref().is_none_or(|created| *created == opened.stream.created);
        let behind = self.next.is_some_and(|next| opened.stream.state.last_seq + 1 < next);
        self.behind = behind.then(|| self.behind.unwrap_or_else(Instant::now));
        let behind = self.behind.map(|since| since.elapsed());
        match judge(same, behind, opened.stream.replicas()) {
            Kinship::Same => {}
            Kinship::Stale => {
                return Err(Error::malformed(&self.stream, "it ends before what was read"));
            }
            Kinship::Other => {
                tracing::warn!(stream = self.stream, same, "the stream is not the one it was");
                self.behind = None;
                return Ok(None);
            }
        }
        self.created = Some(opened.stream.created.clone());
        self.complaint = None;
        self.denied.send_replace(None);
        Ok(Some((subscriber, opened)))
    }

    /// Where the next consumer begins.
    async fn deliver(&mut self) -> Result<Deliver, Error> {
        if let Some(next) = self.next {
            return Ok(Deliver::Sequence(self.recent.open().unwrap_or(next)));
        }
        let from = match self.start {
            Start::LastPerKey => return Ok(Deliver::LastPerKey),
            Start::Events(From::All) => return Ok(Deliver::All),
            Start::Events(From::Time(time)) => return Ok(Deliver::Time(time)),
            Start::Events(From::Sequence(seq)) => return Ok(Deliver::Sequence(seq)),
            Start::Events(From::New) => 0,
            Start::Events(From::Last(n)) => n,
        };
        let stream = self.bus.stream_info(&self.stream, API_MAX).await?;
        let range = (stream.state.first_seq.max(1), stream.state.last_seq + 1);
        let next = self.bus.nth_last(&self.stream, &self.filter, range, from).await?;
        self.created = Some(stream.created);
        self.next = Some(next);
        Ok(Deliver::Sequence(next))
    }

    async fn reset(&mut self, items: &mpsc::Sender<Item>) -> Result<(), Dropped> {
        self.next = None;
        self.recent.clear();
        self.created = None;
        self.caught_up = false;
        if let Start::Events(From::New | From::Sequence(_)) = self.start {
            // All that is in the new stream is new, and has other sequences.
            self.start = Start::Events(From::All);
        }
        items.send(Item::Reset).await.map_err(|_| Dropped)
    }

    async fn read(
        &mut self,
        subscriber: Subscriber,
        opened: Opened,
        changes: &mut watch::Receiver<u64>,
        items: &mpsc::Sender<Item>,
    ) -> End {
        let end = match self.read_on(subscriber, opened, changes, items).await {
            Ok(end) => return end,
            Err(Stop::Dropped) => Err(Dropped),
            Err(Stop::Other) => self.reset(items).await,
        };
        if end.is_ok() { End::Changed } else { End::Dropped }
    }

    async fn read_on(
        &mut self,
        mut subscriber: Subscriber,
        opened: Opened,
        changes: &mut watch::Receiver<u64>,
        items: &mpsc::Sender<Item>,
    ) -> Result<End, Stop> {
        // What was there when the consumer was made ends here at the latest.
        let barrier = opened.stream.state.last_seq;
        let (begun, mut quiet) = (Instant::now(), 0);
        if opened.pending == 0 {
            self.catch_up(items).await?;
        }
        let mut delivered = 0;
        loop {
            let message = tokio::select! {
                () = items.closed() => return Err(Stop::Dropped),
                _ = changes.changed() => return Ok(End::Changed),
                message = timeout(SILENCE_MAX, subscriber.next()) => message,
            };
            let Ok(Some(message)) = message else { return Ok(End::Lost) };
            if message.status.is_some() {
                let Some(beat) = self.status(message, delivered).await else {
                    return Ok(End::Lost);
                };
                if let Beat::Idle { end } = beat {
                    self.catch_up(items).await?;
                    quiet += u64::from(end >= barrier);
                    self.miss(quiet, begun)?;
                }
                continue;
            }
            let Some(delivery) = message.reply.as_deref().and_then(Delivery::parse) else {
                continue;
            };
            if delivery.number != delivered + 1 {
                return Ok(End::Lost);
            }
            delivered = delivery.number;
            self.tell(message, &delivery, items).await?;
            if delivery.pending == 0 || delivery.seq >= barrier {
                self.catch_up(items).await?;
            }
            quiet += u64::from(delivery.pending == 0 && delivery.seq >= barrier);
            self.miss(quiet, begun)?;
        }
    }

    /// Of a heartbeat or flow control; `None` when something was missed, or the consumer has ended.
    async fn status(&self, message: Message, delivered: u64) -> Option<Beat> {
        if message.status != Some(StatusCode::IDLE_HEARTBEAT) {
            return None;
        }
        if let Some(reply) = message.reply {
            // If it cannot be sent, the consumer stalls, falls silent, and is made anew.
            drop(self.bus.client().publish(reply, bytes::Bytes::new()).await);
            return Some(Beat::Question);
        }
        let headers = message.headers.unwrap_or_default();
        let header = |name| headers.get(name).map(HeaderValue::as_str);
        if let Some(last) = header("Nats-Last-Consumer")
            && last.parse() != Ok(delivered)
        {
            return None;
        }
        if let Some(stalled) = header("Nats-Consumer-Stalled") {
            let stalled = stalled.to_owned();
            drop(self.bus.client().publish(stalled, bytes::Bytes::new()).await);
            return Some(Beat::Question);
        }
        let end = header("Nats-Last-Stream").and_then(|end| end.parse().ok()).unwrap_or_default();
        Some(Beat::Idle { end })
    }

    async fn tell(
        &mut self,
        message: Message,
        delivery: &Delivery,
        items: &mpsc::Sender<Item>,
    ) -> Result<(), Stop> {
        let key = message.subject.get(self.prefix..).unwrap_or_default().to_owned();
        let (seq, headers) = (delivery.seq, message.headers.as_ref());
        let is_bucket = matches!(self.start, Start::LastPerKey);
        match self.recent.see(seq, delivery.time, &key) {
            Seen::New => {}
            Seen::Again => return Ok(()),
            Seen::Other => return Err(self.other("it has other entries than were read")),
        }
        self.next = Some(seq + 1);
        let entry = entry::read(key, seq, delivery.time, headers, message.payload);
        if is_bucket {
            let ends = headers.and_then(|headers| headers.get(TTL)).is_some();
            let stays = matches!(entry.value, Value::Put(_)) && !ends;
            self.recent.add(seq, delivery.time, &entry.key, stays);
        }
        if entry.value == Value::Copied {
            tracing::warn!(subject = %message.subject, seq, "somebody forged an entry");
            if !is_bucket {
                return Ok(());
            }
        }
        // Whoever may write one key of a bucket with markers can empty it by a header.
        let emptied = headers
            .and_then(|headers| headers.get(ROLLUP))
            .is_some_and(|what| what.as_str() == "all");
        items.send(Item::Entry(entry)).await.map_err(|_| Stop::Dropped)?;
        if emptied && is_bucket && self.emptied != Some(seq) {
            tracing::warn!(stream = self.stream, seq, "somebody has emptied the bucket");
            self.emptied = Some(seq);
            return Err(Stop::Other);
        }
        Ok(())
    }

    /// Ends with what was read and is not there any more.
    fn miss(&self, quiet: u64, begun: Instant) -> Result<(), Stop> {
        let due = quiet >= MISSED_QUIET && begun.elapsed() >= MISSED_AFTER;
        if due && !self.recent.is_there() {
            return Err(self.other("it lacks entries that were read"));
        }
        Ok(())
    }

    async fn catch_up(&mut self, items: &mpsc::Sender<Item>) -> Result<(), Stop> {
        if self.caught_up {
            return Ok(());
        }
        self.caught_up = true;
        items.send(Item::CaughtUp).await.map_err(|_| Stop::Dropped)
    }

    /// An old copy may have grown to where the stream was.
    fn other(&self, why: &str) -> Stop {
        tracing::warn!(stream = self.stream, "the stream is not the one it was: {why}");
        Stop::Other
    }

    fn complain(&mut self, error: Error) {
        if self.complaint.as_ref() != Some(&error) {
            tracing::warn!(stream = self.stream, filter = self.filter, "cannot watch: {error}");
            self.complaint = Some(error);
        }
    }
}
