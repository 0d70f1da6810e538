//! Events: published once each, read from the stream or heard in passing.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_nats::{HeaderMap, Subscriber};
use dsbus_schema::event::{Event, Source};
use dsbus_schema::storage::events_stream;
use dsbus_schema::subject;
use futures::{Stream, StreamExt};
use uuid::Uuid;

use crate::entry::is_honest;
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
        let (seq, again) = self.try_event(source, e).await?;
        if !again || !self.is_taken(source, e, seq).await {
            return Ok(seq);
        }
        // Whoever may publish events can take the id of another one that is still to come.
        tracing::warn!(id = %e.id, seq, "an event of somebody else has this one's id: told by another");
        let other = Event { id: Uuid::new_v4(), ..e.clone() };
        self.try_event(source, &other).await.map(|(seq, _)| seq)
    }

    /// Says as well whether the stream had it already.
    async fn try_event(&self, source: &Source, e: &Event) -> Result<(u64, bool), Error> {
        let subject = subject::event(self.fleet(), source, &e.data);
        let body = serde_json::to_vec(e).map_err(|error| Error::malformed(&subject, error))?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", e.id.to_string());
        let answer = self.ask_js(&subject, Some(headers), body.into(), ANSWER_MAX).await?;
        let again = answer["duplicate"].as_bool().unwrap_or_default();
        Ok((ack::sequence(&subject, &answer)?, again))
    }

    /// Whether something else stands where the stream says that it has this event. Who may not look
    /// does not know.
    async fn is_taken(&self, source: &Source, e: &Event, seq: u64) -> bool {
        let ask = serde_json::json!({ "seq": seq });
        let there = self.message(&events_stream(self.fleet()), &ask).await;
        let subject = subject::event(self.fleet(), source, &e.data);
        matches!(there, Ok(Some(there)) if there["subject"].as_str() != Some(&subject))
    }

    /// The last event on a subject, which may have wildcards.
    ///
    /// # Errors
    /// [`Error::NotProvisioned`], [`Error::Malformed`], and whatever keeps the server from
    /// answering.
    pub async fn last_event(&self, subject: &str) -> Result<Option<Event>, Error> {
        let found = self.last_message(&events_stream(self.fleet()), subject).await?;
        found.map_or(Ok(None), |entry| entry.event())
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
                    Ok(event) if is_honest(&event, &message.subject) => {
                        return Poll::Ready(Some(event));
                    }
                    Ok(_) => {}
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
