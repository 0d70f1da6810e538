//! Seeing that the consumer is there, where it should be, and as it is wanted.

use std::time::Duration;

use async_nats::Subscriber;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Share;
use super::config::{Adapt, adapt, subjects};
use super::reader::Reader;
use crate::Error;
use crate::ack::NO_CONSUMER;
use crate::consumer::API_MAX;
use crate::stream::StreamInfo;
use crate::tail::{Kinship, judge};

/// How often it is asked how far all readers are: a consumer that is made anew begins there.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// And how often while it is to be adapted, once no other reader has it.
const LOOK_SOON: Duration = Duration::from_secs(1);

impl Reader {
    /// Sees that the consumer is there and as it is wanted, and listens for what it delivers.
    /// Nothing when that is to be tried again.
    pub(super) async fn open(&mut self) -> Result<Option<(String, Subscriber)>, Error> {
        self.options.check()?;
        let stream = self.bus.stream_info(&self.stream, API_MAX).await?;
        if !self.compare(&stream) {
            return Ok(None);
        }
        let info = match self.info().await {
            Err(Error::Api { code: NO_CONSUMER, .. }) => match self.make_anew(&stream).await? {
                Some(info) => info,
                None => return Ok(None),
            },
            info => info?,
        };
        if !self.look(&info).await? {
            return Ok(None);
        }
        let inbox = self.bus.new_inbox();
        let subscriber = self.bus.client().subscribe(inbox.clone()).await;
        self.shared.opened.send_replace(true);
        self.complaint = None;
        subscriber.map(|subscriber| Some((inbox, subscriber))).map_err(|_| Error::Disconnected)
    }

    /// Sees whether the stream is the one that the book is about. Whether that is known.
    fn compare(&mut self, stream: &StreamInfo) -> bool {
        let same = self.created.as_ref().is_none_or(|created| *created == stream.created);
        let behind = stream.state.last_seq < self.shared.lock().last();
        self.behind = behind.then(|| self.behind.unwrap_or_else(Instant::now));
        let behind = self.behind.map(|since| since.elapsed());
        match judge(same, behind, stream.replicas()) {
            Kinship::Same => {}
            Kinship::Stale => {
                self.complain(Error::malformed(&self.stream, "it ends before what was read"));
                return false;
            }
            Kinship::Other => {
                tracing::warn!(stream = self.stream, same, "the stream is not the one it was");
                let mut book = self.shared.lock();
                if same {
                    book.went_back();
                } else {
                    book.made_anew();
                }
                self.shared.arrived.notify_one();
                self.behind = None;
            }
        }
        self.created = Some(stream.created.clone());
        true
    }

    pub(super) async fn info(&self) -> Result<Value, Error> {
        let call = format!("CONSUMER.INFO.{}.{}", self.stream, self.options.name);
        self.bus.api(&call, &Value::Null, API_MAX).await
    }

    /// Makes the consumer, which is not there. Nothing when it began in another stream than it
    /// should.
    async fn make_anew(&self, stream: &StreamInfo) -> Result<Option<Value>, Error> {
        let begin = self.shared.lock().begin(self.options.begin);
        let mut config = self.options.config();
        begin.put_into(&mut config);
        let info = match self.make(&config).await {
            // Another reader may have been quicker, and have begun elsewhere.
            Err(error @ Error::Api { .. }) => {
                return self.info().await.map(Some).map_err(|_| error);
            }
            made => made?,
        };
        if self.bus.stream_info(&self.stream, API_MAX).await?.created == stream.created {
            return Ok(Some(info));
        }
        self.bus.forget_durable(&self.options.name).await?;
        Ok(None)
    }

    /// Notes how far all readers are, and adapts the consumer, unless another reader has it.
    /// Whether it can be read.
    pub(super) async fn look(&mut self, info: &Value) -> Result<bool, Error> {
        if let Some(floor) = info["ack_floor"]["stream_seq"].as_u64() {
            self.shared.lock().acknowledged(floor);
        }
        let wanted = self.options.config();
        let (old, new) = (subjects(&info["config"]), subjects(&wanted));
        let was_later = self.adapt_later;
        let adapt = adapt(info, &wanted, self.pin.as_deref());
        self.adapt_later = adapt == Adapt::Later;
        self.look_at = Instant::now() + if self.adapt_later { LOOK_SOON } else { LOOK_EVERY };
        match adapt {
            Adapt::No => {}
            Adapt::Now(config) => {
                if old != new {
                    let consumer = &self.options.name;
                    tracing::warn!(consumer, old, new, "the consumer gets other subjects");
                }
                self.make(&config).await?;
            }
            Adapt::Later => {
                if !was_later {
                    let consumer = &self.options.name;
                    tracing::warn!(
                        consumer,
                        old,
                        new,
                        "another reader of this name has it with other subjects or limits: they \
                         stay until it leaves"
                    );
                }
                // One of several cannot stand by.
                return Ok(self.options.share == Share::One);
            }
        }
        Ok(true)
    }

    async fn make(&self, config: &Value) -> Result<Value, Error> {
        let (name, subject) = (&self.options.name, self.options.subject());
        let call = format!("CONSUMER.CREATE.{}.{name}.{subject}", self.stream);
        let body = json!({ "stream_name": self.stream, "config": config });
        self.bus.api(&call, &body, API_MAX).await
    }
}
