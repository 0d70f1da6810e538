//! The loop behind a durable consumer: pull after pull, on whatever connection there is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{HeaderValue, Message, StatusCode, Subscriber};
use bytes::Bytes;
use dsbus_schema::event::Event;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at};

use super::book::{Fate, Word};
use super::config::{NOT_PINNED, Pull, adapted, after, is_final};
use super::{Begin, DurableOptions, GROUP, Heard, Share, Shared, nanos};
use crate::consumer::{API_MAX, Delivery};
use crate::{Bus, Error};

/// `err_code` of a consumer that is not there.
pub(super) const NO_CONSUMER: u64 = 10014;
/// Between two attempts to reach the consumer, and after a pull that ended at once.
const RETRY: Duration = Duration::from_millis(200);
/// How long a pull waits for events; well below [`super::STAND_BY`], which pulls keep off.
const PULL: Duration = Duration::from_secs(2);
/// How often a pull without a delivery says that it lives: NATS wants at most half of [`PULL`].
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A pull that is silent for longer is gone.
const SILENCE_MAX: Duration = Duration::from_millis(2500);
/// How often it is said that what is held is still worked on: several times per
/// [`super::ACK_WAIT`].
const WORKING_EVERY: Duration = Duration::from_secs(1);
/// When it is first asked whether an earlier reader still holds something: soon, since everything
/// waits for it, but after what was delivered together has come.
const ASK_FIRST: Duration = Duration::from_millis(2);
/// And how long after that again.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// What is settled within this is said in one write, while more is held.
const TOGETHER: Duration = Duration::from_millis(1);
/// For saying the last words.
const CLOSE_MAX: Duration = Duration::from_secs(2);

pub(super) struct Reader {
    bus: Bus,
    stream: String,
    options: DurableOptions,
    shared: Arc<Shared>,
    /// What NATS calls us while we are the one who reads.
    pin: Option<String>,
    /// What comes before all is here that an earlier reader had; then it is told in its order. NATS
    /// keeps no order among events that come again.
    gathered: Option<BTreeMap<u64, Heard>>,
    /// When it is asked whether all is here.
    ask_at: Instant,
    /// When the stream was made that we read.
    created: Option<String>,
    /// The last complaint, which is made once only.
    complaint: Option<Error>,
}

/// Why reading ended.
enum End {
    Dropped,
    Closed,
    Lost,
    Changed,
}

/// Nobody listens any more.
struct Dropped;

/// One who reads alone first gathers.
fn gathering(options: &DurableOptions) -> Option<BTreeMap<u64, Heard>> {
    (options.share == Share::One).then(BTreeMap::new)
}

impl Reader {
    pub(super) fn new(
        bus: Bus,
        stream: String,
        options: DurableOptions,
        shared: Arc<Shared>,
    ) -> Reader {
        Reader {
            gathered: gathering(&options),
            bus,
            stream,
            options,
            shared,
            pin: None,
            ask_at: Instant::now(),
            created: None,
            complaint: None,
        }
    }

    pub(super) async fn run(
        mut self,
        heard: mpsc::Sender<Result<Heard, Error>>,
        mut closed: oneshot::Receiver<()>,
    ) {
        let mut changes = self.bus.connections();
        loop {
            changes.mark_unchanged();
            let opened = if self.bus.connected() { self.open().await } else { Ok(None) };
            let end = match opened {
                Ok(Some(at)) => self.read(at, &mut changes, &heard, &mut closed).await,
                Ok(None) => End::Lost,
                // What was reached before fails now by no mistake of ours.
                Err(error) if !*self.shared.opened.borrow() && is_final(&error) => {
                    // Whoever listens hears it; and if nobody does, nobody needs to.
                    drop(heard.send(Err(error)).await);
                    return;
                }
                Err(error) => {
                    self.complain(error);
                    End::Lost
                }
            };
            match end {
                End::Dropped => return,
                End::Closed => return self.leave().await,
                End::Changed => {}
                End::Lost => tokio::select! {
                    () = sleep(RETRY) => {}
                    _ = changes.changed() => {}
                    () = heard.closed() => return,
                    _ = &mut closed => return,
                },
            }
        }
    }

    /// Sees that the consumer is there and as it is wanted, and listens for what it delivers.
    async fn open(&mut self) -> Result<Option<(String, Subscriber)>, Error> {
        self.options.check()?;
        let stream = self.bus.stream_info(&self.stream, API_MAX).await?;
        let same = self.created.as_ref().is_none_or(|created| *created == stream.created);
        self.created = Some(stream.created);
        let call = format!("CONSUMER.INFO.{}.{}", self.stream, self.options.name);
        let mut config = self.options.config();
        match self.bus.api(&call, &Value::Null, API_MAX).await {
            Ok(there) => {
                if let Some(adapted) = adapted(&there["config"], &config) {
                    self.make(&adapted).await?;
                }
            }
            Err(Error::Api { code: NO_CONSUMER, .. }) => {
                let next = self.shared.lock().next();
                let begin = match next {
                    None => self.options.begin,
                    Some(next) if same => Begin::Sequence(next),
                    // All that is in the new stream is new.
                    Some(_) => Begin::All,
                };
                begin.put_into(&mut config);
                self.make(&config).await?;
            }
            Err(other) => return Err(other),
        }
        let inbox = self.bus.client().new_inbox();
        let subscriber = self.bus.client().subscribe(inbox.clone()).await;
        self.shared.opened.send_replace(true);
        self.complaint = None;
        subscriber.map(|subscriber| Some((inbox, subscriber))).map_err(|_| Error::Disconnected)
    }

    async fn make(&self, config: &Value) -> Result<(), Error> {
        let name = &self.options.name;
        let mut call = format!("CONSUMER.CREATE.{}.{name}", self.stream);
        if let [one] = self.options.subjects.as_slice() {
            call = format!("{call}.{one}");
        }
        let body = json!({ "stream_name": self.stream, "config": config });
        self.bus.api(&call, &body, API_MAX).await.map(drop)
    }

    async fn read(
        &mut self,
        (inbox, mut subscriber): (String, Subscriber),
        changes: &mut watch::Receiver<u64>,
        heard: &mpsc::Sender<Result<Heard, Error>>,
        closed: &mut oneshot::Receiver<()>,
    ) -> End {
        let shared = self.shared.clone();
        let mut working = interval(WORKING_EVERY);
        working.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // How many events the pull may still deliver, when it was sent, and until when it may be silent.
        let (mut wanted, mut pulled, mut silent_until) = (0, Instant::now(), Instant::now());
        loop {
            if wanted == 0
                && let Some(room) = self.due(pulled)
            {
                (wanted, pulled) = (room, Instant::now());
                silent_until = pulled + SILENCE_MAX;
                if !self.pull(&inbox, wanted).await {
                    return End::Lost;
                }
            }
            // Without a pull there is nothing to hear.
            let until = if wanted == 0 { Instant::now() + SILENCE_MAX } else { silent_until };
            let message = tokio::select! {
                () = heard.closed() => return End::Dropped,
                _ = &mut *closed => {
                    // Before anything is given back: it would be delivered to us.
                    drop(subscriber.unsubscribe().await);
                    return End::Closed;
                }
                _ = changes.changed() => return End::Changed,
                () = shared.settled.notified() => {
                    self.say_all().await;
                    continue;
                }
                _ = working.tick() => {
                    let words = shared.lock().working();
                    self.say(words.into()).await;
                    continue;
                }
                () = sleep_until(pulled + PULL), if wanted == 0 && self.pin.is_some() => continue,
                message = timeout_at(until, subscriber.next()) => message,
                () = sleep_until(self.ask_at), if self.has_gathered() => {
                    if self.gather(heard).await.is_err() {
                        return End::Dropped;
                    }
                    continue;
                }
            };
            let Ok(Some(message)) = message else { return End::Lost };
            silent_until = Instant::now() + SILENCE_MAX;
            if let Some(status) = message.status {
                match self.status(status, &message) {
                    Pull::On => {}
                    Pull::Lost => return End::Lost,
                    Pull::Over => {
                        wanted = 0;
                        if pulled.elapsed() < RETRY {
                            sleep(RETRY).await;
                        }
                    }
                }
                continue;
            }
            wanted = wanted.saturating_sub(1);
            let Some(next) = self.take(&message) else { continue };
            match &mut self.gathered {
                Some(gathered) => {
                    if gathered.is_empty() {
                        self.ask_at = Instant::now() + ASK_FIRST;
                    }
                    gathered.insert(next.seq, next);
                }
                None if heard.send(Ok(next)).await.is_err() => return End::Dropped,
                None => {}
            }
        }
    }

    fn has_gathered(&self) -> bool {
        self.gathered.as_ref().is_some_and(|gathered| !gathered.is_empty())
    }

    /// Tells what was gathered, when nothing is held by an earlier reader any more.
    async fn gather(&mut self, heard: &mpsc::Sender<Result<Heard, Error>>) -> Result<(), Dropped> {
        self.ask_at = Instant::now() + ASK_AGAIN;
        let call = format!("CONSUMER.INFO.{}.{}", self.stream, self.options.name);
        let Ok(info) = self.bus.api(&call, &Value::Null, API_MAX).await else { return Ok(()) };
        let pending = info["num_ack_pending"].as_u64().unwrap_or(u64::MAX);
        if pending > self.shared.lock().len() as u64 {
            return Ok(());
        }
        for (_, next) in self.gathered.take().unwrap_or_default() {
            heard.send(Ok(next)).await.map_err(|_| Dropped)?;
        }
        Ok(())
    }

    /// How many events are to be pulled now.
    fn due(&self, pulled: Instant) -> Option<usize> {
        let most = self.shared.hold.load(Ordering::Relaxed);
        self.options.room(most, self.shared.lock().len(), pulled.elapsed() >= PULL)
    }

    /// Asks for so many events. Whether that could be sent.
    async fn pull(&self, inbox: &str, wanted: usize) -> bool {
        let mut body = json!({
            "batch": wanted,
            "expires": nanos(PULL),
            "idle_heartbeat": nanos(HEARTBEAT),
        });
        if self.options.share == Share::One {
            body["group"] = GROUP.into();
            if let Some(pin) = &self.pin {
                body["id"] = pin.as_str().into();
            }
        }
        let call = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.options.name);
        let (client, body) = (self.bus.client(), Bytes::from(body.to_string()));
        self.bus.connected()
            && client.publish_with_reply(call, inbox.to_owned(), body).await.is_ok()
    }

    fn status(&mut self, status: StatusCode, message: &Message) -> Pull {
        if status.as_u16() == NOT_PINNED {
            // We were the one who reads, and are not any more.
            self.pin = None;
            if self.gathered.is_none() {
                self.gathered = gathering(&self.options);
            }
        }
        after(status.as_u16(), message.description.as_deref().unwrap_or_default())
    }

    /// Takes note of a delivery; gives it when it is to be told.
    fn take(&mut self, message: &Message) -> Option<Heard> {
        let reply = message.reply.as_deref()?;
        let delivery = Delivery::parse(reply)?;
        let header = |name| message.headers.as_ref().and_then(|headers| headers.get(name));
        if let Some(pin) = header("Nats-Pin-Id").map(HeaderValue::as_str) {
            self.pin = Some(pin.to_owned());
        }
        let seq = delivery.seq;
        match self.shared.lock().delivered(seq, reply) {
            Fate::New => {}
            Fate::Held => return None,
            Fate::Done => {
                self.shared.settled.notify_one();
                return None;
            }
        }
        match serde_json::from_slice::<Event>(&message.payload) {
            Ok(event) => Some(Heard {
                event,
                seq,
                time: delivery.time,
                tries: delivery.tries,
                shared: self.shared.clone(),
                settled: false,
            }),
            Err(error) => {
                // It would come for ever, and nothing after it.
                tracing::warn!(seq, subject = %message.subject, "left out, not an event: {error}");
                self.shared.lock().settle(seq, true);
                self.shared.settled.notify_one();
                None
            }
        }
    }

    /// Says what is to be said of events that were settled; together, while there are more to come.
    async fn say_all(&self) {
        if self.shared.lock().len() > 0 {
            sleep(TOGETHER).await;
        }
        let words = self.shared.lock().words();
        let unsaid = self.say(words).await;
        self.shared.lock().unsaid(unsaid);
    }

    /// Says it, and gives back what could not be said: nothing is queued while disconnected.
    async fn say(&self, mut words: VecDeque<Word>) -> VecDeque<Word> {
        while let Some(Word { reply, text }) = words.pop_front() {
            let (client, body) = (self.bus.client(), Bytes::from_static(text.as_bytes()));
            let said = self.bus.connected() && client.publish(reply.clone(), body).await.is_ok();
            if !said {
                words.push_front(Word { reply, text });
                break;
            }
        }
        words
    }

    /// The last words, and that another one may read.
    async fn leave(&self) {
        let leaving = async {
            self.shared.lock().give_back();
            self.say_all().await;
            if self.pin.is_some() {
                let call = format!("CONSUMER.UNPIN.{}.{}", self.stream, self.options.name);
                let body = json!({ "group": GROUP });
                if let Err(error) = self.bus.api(&call, &body, API_MAX).await {
                    tracing::debug!("the next reader must wait: {error}");
                }
            }
            // If it cannot be flushed, what was held comes again.
            drop(self.bus.client().flush().await);
        };
        drop(tokio::time::timeout(CLOSE_MAX, leaving).await);
    }

    fn complain(&mut self, error: Error) {
        if self.complaint.as_ref() != Some(&error) {
            tracing::warn!(consumer = self.options.name, "cannot read events: {error}");
            self.complaint = Some(error);
        }
    }
}
