//! Events: published once each, read from the stream or heard in passing.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_nats::{HeaderMap, Subscriber};
use dsbus_schema::event::{Event, Source};
use dsbus_schema::storage::events_stream;
use dsbus_schema::subject;
use futures::{Stream, StreamExt};

use crate::wire::ANSWER_MAX;
use crate::{Bus, Error, ack};

impl Bus {
    /// Publishes an event and waits until it is stored. An event whose id is stored already counts
    /// as stored, so this may be tried again.
    ///
    /// # Errors
    /// Whatever kept it from being acknowledged within 2 s.
    pub async fn publish_event(&self, source: &Source, e: &Event) -> Result<(), Error> {
        self.store_event(source, e).await.map(|_| ())
    }

    /// As [`Bus::publish_event`], and returns the sequence under which it is stored.
    ///
    /// # Errors
    /// The same.
    pub async fn store_event(&self, source: &Source, e: &Event) -> Result<u64, Error> {
        let subject = subject::event(self.fleet(), source, &e.data);
        let body = serde_json::to_vec(e).map_err(|error| Error::malformed(&subject, error))?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", e.id.to_string());
        let answer = self.ask_js(&subject, Some(headers), body.into(), ANSWER_MAX).await?;
        ack::sequence(&subject, &answer)
    }

    /// The last event on a subject, which may have wildcards.
    ///
    /// # Errors
    /// [`Error::NotProvisioned`], [`Error::Malformed`], and whatever keeps the server from
    /// answering.
    pub async fn last_event(&self, subject: &str) -> Result<Option<Event>, Error> {
        let found = self.last_message(&events_stream(self.fleet()), subject).await?;
        found.map_or(Ok(None), |entry| entry.json())
    }

    /// Events as they pass, past the stream: some may be missed. A hint that it is worth asking.
    ///
    /// # Errors
    /// [`Error::Disconnected`] when the connection is closed for good.
    pub async fn event_feed(&self, subject: &str) -> Result<EventFeed, Error> {
        let heard = self.client().subscribe(subject.to_owned()).await;
        heard.map(EventFeed).map_err(|_| Error::Disconnected)
    }
}

/// See [`Bus::event_feed`].
#[derive(Debug)]
pub struct EventFeed(Subscriber);

impl Stream for EventFeed {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            match self.0.poll_next_unpin(cx) {
                Poll::Ready(Some(message)) => match serde_json::from_slice(&message.payload) {
                    Ok(event) => return Poll::Ready(Some(event)),
                    Err(error) => {
                        tracing::warn!(subject = %message.subject, "not an event: {error}");
                    }
                },
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
