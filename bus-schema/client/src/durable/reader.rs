//! The loop behind a durable consumer: pull after pull, on whatever connection there is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{HeaderValue, Message, StatusCode, Subscriber};
use bytes::Bytes;
use dsbus_schema::event::Event;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at};

use super::book::{Arrival, Fate, Word};
use super::config::{NOT_PINNED, Pull, after, is_final};
use super::opening::LOOK_EVERY;
use super::{DurableOptions, GROUP, Share, Shared, nanos};
use crate::consumer::{API_MAX, Delivery};
use crate::entry::is_honest;
use crate::{Bus, Error};

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
    pub(super) bus: Bus,
    pub(super) stream: String,
    pub(super) options: DurableOptions,
    pub(super) shared: Arc<Shared>,
    /// What NATS calls us while we are the one who reads.
    pub(super) pin: Option<String>,
    /// When it is asked whether all is here that was delivered before.
    ask_at: Instant,
    /// When it is asked how far all readers are.
    pub(super) look_at: Instant,
    /// When it is said what became of events, where there is something to say.
    say_at: Option<Instant>,
    /// The consumer is to be adapted, once no other reader has it.
    pub(super) adapt_later: bool,
    /// When the stream was made that the book is about.
    pub(super) created: Option<String>,
    /// Since when the stream ends before what was heard of.
    pub(super) behind: Option<Instant>,
    /// The last complaint, which is made once only.
    pub(super) complaint: Option<Error>,
}

/// Why reading ended.
enum End {
    Dropped,
    Closed,
    Lost,
    Changed,
}

impl Reader {
    pub(super) fn new(
        bus: Bus,
        stream: String,
        options: DurableOptions,
        shared: Arc<Shared>,
    ) -> Reader {
        Reader {
            bus,
            stream,
            options,
            shared,
            pin: None,
            ask_at: Instant::now(),
            look_at: Instant::now(),
            say_at: None,
            adapt_later: false,
            created: None,
            behind: None,
            complaint: None,
        }
    }

    pub(super) async fn run(
        mut self,
        failing: mpsc::Sender<Error>,
        mut closed: oneshot::Receiver<()>,
    ) {
        let mut changes = self.bus.connections();
        loop {
            changes.mark_unchanged();
            let opened = if self.bus.connected() { self.open().await } else { Ok(None) };
            let end = match opened {
                Ok(Some(at)) => self.read(at, &mut changes, &failing, &mut closed).await,
                Ok(None) => End::Lost,
                // What was reached before fails now by no mistake of ours.
                Err(error) if !*self.shared.opened.borrow() && is_final(&error) => {
                    // Whoever listens hears it; and if nobody does, nobody needs to.
                    drop(failing.send(error).await);
                    return;
                }
                Err(error) => {
                    self.complain(error);
                    End::Lost
                }
            };
            // What was on its way may be lost; and what comes on may come before it comes again.
            self.shared.lock().cut_off();
            match end {
                End::Dropped => return,
                End::Closed => return self.leave().await,
                End::Changed => {}
                End::Lost => tokio::select! {
                    () = sleep(RETRY) => {}
                    _ = changes.changed() => {}
                    () = failing.closed() => return,
                    _ = &mut closed => return,
                },
            }
        }
    }

    async fn read(
        &mut self,
        (inbox, mut subscriber): (String, Subscriber),
        changes: &mut watch::Receiver<u64>,
        failing: &mpsc::Sender<Error>,
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
                () = failing.closed() => return End::Dropped,
                _ = &mut *closed => {
                    // Before anything is given back: it would be delivered to us.
                    drop(subscriber.unsubscribe().await);
                    return End::Closed;
                }
                _ = changes.changed() => return End::Changed,
                () = shared.settled.notified() => {
                    self.say_soon().await;
                    continue;
                }
                () = sleep_until(self.say_at.unwrap_or(until)), if self.say_at.is_some() => {
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
                () = sleep_until(self.ask_at), if shared.lock().has_gathered() => {
                    self.gather().await;
                    continue;
                }
                () = sleep_until(self.look_at) => {
                    self.look_again().await;
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
            let first = !shared.lock().has_gathered();
            self.take(&message);
            if first {
                self.ask_at = Instant::now() + ASK_FIRST;
            }
        }
    }

    /// Hands out what was gathered, when nothing is missing that was delivered before.
    async fn gather(&mut self) {
        self.ask_at = Instant::now() + ASK_AGAIN;
        let Ok(info) = self.info().await else { return };
        let pending = info["num_ack_pending"].as_u64().unwrap_or(u64::MAX);
        if self.shared.lock().gather(pending) {
            self.shared.arrived.notify_one();
            self.shared.settled.notify_one();
        }
    }

    /// Sees how far all readers are. What keeps it from that keeps it from reading, too, and is seen
    /// there.
    async fn look_again(&mut self) {
        self.look_at = Instant::now() + LOOK_EVERY;
        if let Ok(info) = self.info().await
            && let Err(error) = self.look(&info).await
        {
            self.complain(error);
        }
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
            self.shared.lock().unpinned();
            self.shared.settled.notify_one();
        }
        after(status.as_u16(), message.description.as_deref().unwrap_or_default())
    }

    /// Takes note of a delivery.
    fn take(&mut self, message: &Message) {
        let Some(reply) = message.reply.as_deref() else { return };
        let Some(delivery) = Delivery::parse(reply) else { return };
        let header = |name| message.headers.as_ref().and_then(|headers| headers.get(name));
        if let Some(pin) = header("Nats-Pin-Id").map(HeaderValue::as_str)
            && self.pin.as_deref() != Some(pin)
        {
            self.pin = Some(pin.to_owned());
            if self.adapt_later {
                self.look_at = Instant::now();
            }
        }
        let shared = &self.shared;
        if !self.options.wants(&message.subject) {
            shared.lock().skipped(&delivery, reply);
            return shared.settled.notify_one();
        }
        let fate = shared.lock().delivered(&delivery, reply);
        let number = match fate {
            Fate::New(number) => number,
            Fate::Held => return,
            Fate::Done => return shared.settled.notify_one(),
        };
        let Delivery { seq, time, tries, .. } = delivery;
        match serde_json::from_slice::<Event>(&message.payload) {
            Ok(event) if !is_honest(&event, &message.subject) => {
                shared.lock().settle(seq, number, true);
                shared.settled.notify_one();
            }
            Ok(event) => {
                shared.lock().arrived(Arrival { event, seq, time, tries, number });
                shared.arrived.notify_one();
            }
            Err(error) => {
                // It would come for ever, and nothing after it.
                tracing::warn!(seq, subject = %message.subject, "left out, not an event: {error}");
                shared.lock().settle(seq, number, true);
                shared.settled.notify_one();
            }
        }
    }

    /// Says what is to be said of events that were settled; together, while there are more to come.
    async fn say_soon(&mut self) {
        if self.shared.lock().len() > 0 {
            self.say_at.get_or_insert_with(|| Instant::now() + TOGETHER);
        } else {
            self.say_all().await;
        }
    }

    /// Says it now.
    async fn say_all(&mut self) {
        self.say_at = None;
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
    async fn leave(&mut self) {
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

    pub(super) fn complain(&mut self, error: Error) {
        if self.complaint.as_ref() != Some(&error) {
            tracing::warn!(consumer = self.options.name, "cannot read events: {error}");
            self.complaint = Some(error);
        }
    }
}
