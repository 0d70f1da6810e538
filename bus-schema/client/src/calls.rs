//! Calls that are taken one by one and answered with bytes: for answers that are large, or wait, and
//! want a connection of their own.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Subject, Subscriber};
use bytes::Bytes;
use dsbus_schema::call::WorkerVerb;
use dsbus_schema::command::code;
use dsbus_schema::ids::WorkerName;
use dsbus_schema::{reading, subject, version};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::serve::{is_inbox, written};
use crate::{Bus, Error, Refusal};

/// How long an answer may take to leave this process, on a line that is slow; later, its reader has
/// asked again.
const SENDING_MAX: Duration = Duration::from_secs(10);

/// Calls of one verb to one worker. Dropping it ends them.
#[derive(Debug)]
pub struct Calls {
    client: Client,
    heard: Subscriber,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    client: Client,
    reply: Subject,
    body: Bytes,
}

impl Bus {
    /// Takes the calls of one verb to worker `w` from now on.
    ///
    /// # Errors
    /// [`Error::Disconnected`] when the connection is closed for good.
    pub async fn take_calls(&self, w: &WorkerName, verb: WorkerVerb) -> Result<Calls, Error> {
        let subject = subject::worker(self.fleet(), w, verb);
        let client = self.client().clone();
        let heard = client.queue_subscribe(subject, subject::QUEUE.to_owned()).await;
        Ok(Calls { heard: heard.map_err(|_| Error::Disconnected)?, client })
    }
}

impl Calls {
    /// The next call that wants an answer; `None` when the connection is closed for good. Cancelling
    /// this loses nothing.
    pub async fn next(&mut self) -> Option<Call> {
        loop {
            let message = self.heard.next().await?;
            if let Some(reply) = message.reply.filter(|reply| is_inbox(reply)) {
                return Some(Call { client: self.client.clone(), reply, body: message.payload });
            }
        }
    }
}

impl Call {
    /// What was asked.
    ///
    /// # Errors
    /// A refusal of what cannot be read.
    pub fn read<Q: DeserializeOwned>(&self) -> Result<Q, Refusal> {
        let bad = |text: String| Refusal::new(code::BAD_REQUEST, text);
        let wrong = |wrong: reading::Wrong| bad(format!("the request could not be read: {wrong}"));
        let asked: Map<String, Value> = reading::message(&self.body).map_err(wrong)?;
        let named = asked.get("version").and_then(Value::as_u64);
        version::check(named.map(|named| u32::try_from(named).unwrap_or(u32::MAX))).map_err(bad)?;
        reading::value(Value::Object(asked)).map_err(wrong)
    }

    /// Answers, and waits until that has left this process, so that whoever limits how many answers
    /// are made at once limits how many wait here.
    pub async fn answer(self, answer: Vec<u8>) {
        let sent = async {
            // If it cannot be sent, whoever asked will time out, and ask again; to be kept until there
            // is a connection again it is too large.
            if self.client.connection_state() == State::Connected
                && self.client.publish(self.reply, answer.into()).await.is_ok()
            {
                drop(self.client.flush().await);
            }
        };
        drop(timeout(SENDING_MAX, sent).await);
    }

    /// Says no.
    pub async fn refuse(self, refusal: Refusal) {
        let (body, headers): (Bytes, HeaderMap) = written(refusal);
        let sent = self.client.publish_with_headers(self.reply, headers, body);
        drop(timeout(SENDING_MAX, sent).await);
    }
}
