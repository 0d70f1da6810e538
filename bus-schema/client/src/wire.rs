//! One question, one answer, one time limit: everything that waits for an answer goes through here.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::{Bus, Error, ack};

/// For a call of the `JetStream` API, or an acknowledgement.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(2);

impl Bus {
    /// Sends `body` and waits for one answer. Nothing is sent while disconnected: async-nats would
    /// keep it and deliver it after the caller has given up.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        body: Bytes,
        within: Duration,
    ) -> Result<Message, Error> {
        let mut request = async_nats::Request::new().payload(body).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        self.send(subject, request, within).await
    }

    /// The same for whoever may not be trusted: the answer comes to an inbox that is made for it, so
    /// that it tells nothing of where the answers of others are awaited. (async-nats has one for all
    /// answers, whose names follow one another.)
    pub(crate) async fn ask_apart(
        &self,
        subject: &str,
        body: Bytes,
        within: Duration,
    ) -> Result<Message, Error> {
        let request = async_nats::Request::new().payload(body).timeout(None);
        self.send(subject, request.inbox(self.new_inbox()), within).await
    }

    /// A subject of answers that nobody can guess.
    pub(crate) fn new_inbox(&self) -> String {
        let one = self.client().new_inbox();
        let prefix = one.rsplit_once('.').map_or("_INBOX", |(prefix, _)| prefix);
        format!("{prefix}.{}", uuid::Uuid::new_v4().simple())
    }

    async fn send(
        &self,
        subject: &str,
        request: async_nats::Request,
        within: Duration,
    ) -> Result<Message, Error> {
        let (denials, subjects) = (self.denials(), [subject]);
        if !self.connected() {
            return Err(Error::Disconnected);
        }
        // The limit is around all of it: handing a command to async-nats can wait, too.
        let sent = timeout(within, self.client().send_request(subject.to_owned(), request));
        tokio::select! {
            answer = sent => match answer {
                Err(_) => Err(Error::Timeout),
                Ok(Ok(message)) => Ok(message),
                Ok(Err(error)) => Err(match error.kind() {
                    RequestErrorKind::TimedOut => Error::Timeout,
                    RequestErrorKind::NoResponders => Error::NoResponders,
                    RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                        Error::malformed(subject, error)
                    }
                    RequestErrorKind::Other => Error::Disconnected,
                }),
            },
            what = denial(denials, &subjects) => Err(Error::Denied { what }),
        }
    }

    /// Asks something that answers as `JetStream` does.
    pub(crate) async fn ask_js(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        body: Bytes,
        within: Duration,
    ) -> Result<Value, Error> {
        let message = self.ask(subject, headers, body, within).await?;
        ack::read(subject, &message.payload)
    }

    /// Calls the `JetStream` API.
    pub(crate) async fn api(
        &self,
        call: &str,
        body: &Value,
        within: Duration,
    ) -> Result<Value, Error> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        self.ask_js(&format!("$JS.API.{call}"), None, body, within).await
    }
}

/// Waits until the server says that a publish to one of `subjects` was denied. The server does not
/// answer such a publish; this is all there is.
pub(crate) async fn denial(
    mut denials: broadcast::Receiver<String>,
    subjects: &[impl AsRef<str>],
) -> String {
    loop {
        match denials.recv().await {
            Ok(denied) if subjects.iter().any(|s| s.as_ref() == denied) => {
                return format!("publish to {denied}");
            }
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
