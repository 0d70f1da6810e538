//! Asking schedulers and workers.

use std::time::Duration;

use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use async_nats::{HeaderValue, Message, StatusCode};
use bytes::Bytes;
use dsbus_schema::call::WorkerVerb;
use dsbus_schema::command::{Ask, HEADER_NEXT, Refused, Verb};
use dsbus_schema::ids::{Target, WorkerName};
use dsbus_schema::status::InstanceRow;
use dsbus_schema::subject;
use futures::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::{Bus, Error};

/// One scheduler has this long; then all are asked.
const ONE_ANSWER_MAX: Duration = Duration::from_secs(1);
/// All schedulers have this long.
const ALL_ANSWER_MAX: Duration = Duration::from_secs(1);
/// When one of all schedulers refused, a better answer of another is awaited for this long.
const BETTER_ANSWER_MAX: Duration = Duration::from_millis(300);

impl Bus {
    /// Asks the schedulers. One of them is asked; if it does not answer within 1 s, all are asked
    /// under the same id, which makes the command act once. A body without an `id` gets one.
    ///
    /// # Errors
    /// [`Error::NoScheduler`] at once when none is there; [`Error::Refused`]; [`Error::Timeout`]
    /// after 2 s, after which it may have been done.
    pub async fn command<Q: Serialize, A: DeserializeOwned>(
        &self,
        verb: Verb,
        q: &Q,
    ) -> Result<A, Error> {
        read(&self.answer_to(verb, q).await?)
    }

    /// Last known states of what `names` mean; of everything when there are none. Answers come in
    /// parts; the next one is on its way while one is being read.
    ///
    /// # Errors
    /// As [`Bus::command`].
    pub async fn status(&self, names: &[Target]) -> Result<Vec<InstanceRow>, Error> {
        let mut ask = Ask { names: names.to_vec(), ..Ask::default() };
        let mut parts: Vec<JoinHandle<Result<Vec<InstanceRow>, Error>>> = Vec::new();
        let last: Vec<InstanceRow> = loop {
            let message = self.answer_to(Verb::Status, &ask).await?;
            let Some(next) = header(&message, HEADER_NEXT) else { break read(&message)? };
            let after = next.parse().map_err(|e| Error::malformed(HEADER_NEXT, e))?;
            ask.after = Some(after);
            parts.push(spawn_blocking(move || read(&message)));
        };
        let mut rows = Vec::new();
        for part in parts {
            rows.extend(part.await.map_err(|e| Error::malformed("status", e))??);
        }
        rows.extend(last);
        Ok(rows)
    }

    /// The answer to a command that was not refused.
    async fn answer_to<Q: Serialize>(&self, verb: Verb, q: &Q) -> Result<Message, Error> {
        let to_one = subject::command(self.fleet(), self.user(), verb);
        let to_all = subject::command_all(self.fleet(), self.user(), verb);
        let body = with_id(&to_one, q)?;
        let one = self.ask(&to_one, None, body.clone(), ONE_ANSWER_MAX + ALL_ANSWER_MAX);
        tokio::pin!(one);
        match timeout(ONE_ANSWER_MAX, &mut one).await {
            Ok(Ok(message)) => return accepted(message),
            Ok(Err(Error::NoResponders)) => return self.ask_all(&to_all, body).await,
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
        // The first one may be slow only: its answer counts as well.
        tokio::select! {
            Ok(message) = &mut one => accepted(message),
            answer = self.ask_all(&to_all, body) => match answer {
                // Somebody does listen, and is frozen: it may still act.
                Err(Error::NoScheduler) => Err(Error::Timeout),
                answer => answer,
            },
        }
    }

    /// Asks every scheduler, and takes the first answer that is not a refusal, or the first refusal.
    async fn ask_all(&self, subject: &str, body: Bytes) -> Result<Message, Error> {
        if !self.connected() {
            return Err(Error::Disconnected);
        }
        let inbox = self.new_inbox();
        let closed = |_| Error::Disconnected;
        let mut answers = self.client().subscribe(inbox.clone()).await.map_err(closed)?;
        let sent = self.client().publish_with_reply(subject.to_owned(), inbox, body).await;
        sent.map_err(|e| Error::malformed(subject, e))?;
        let mut refusal = None;
        let end = sleep(ALL_ANSWER_MAX);
        tokio::pin!(end);
        loop {
            let message = tokio::select! {
                message = answers.next() => message,
                () = &mut end => None,
            };
            match message {
                None => return Err(refusal.unwrap_or(Error::Timeout)),
                Some(m) if m.status == Some(StatusCode::NO_RESPONDERS) => {
                    return Err(Error::NoScheduler);
                }
                Some(m) => match accepted(m) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => {
                        if refusal.is_none() {
                            let soon = tokio::time::Instant::now() + BETTER_ANSWER_MAX;
                            let sooner = soon.min(end.deadline());
                            end.as_mut().reset(sooner);
                            refusal = Some(error);
                        }
                    }
                },
            }
        }
    }

    /// Asks one worker.
    ///
    /// # Errors
    /// [`Error::NoResponders`] when nothing is connected under this name; [`Error::Timeout`];
    /// [`Error::Refused`].
    pub async fn call_worker<Q: Serialize, A: DeserializeOwned>(
        &self,
        w: &WorkerName,
        verb: WorkerVerb,
        q: &Q,
        timeout: Duration,
    ) -> Result<A, Error> {
        let subject = subject::worker(self.fleet(), w, verb);
        let body = serde_json::to_vec(q).map_err(|e| Error::malformed(&subject, e))?;
        read(&accepted(self.ask_apart(&subject, body.into(), timeout).await?)?)
    }
}

fn with_id<Q: Serialize>(subject: &str, q: &Q) -> Result<Bytes, Error> {
    let mut body = serde_json::to_value(q).map_err(|e| Error::malformed(subject, e))?;
    if body.is_null() {
        body = Value::Object(serde_json::Map::new());
    }
    let Some(object) = body.as_object_mut() else {
        return Err(Error::malformed(subject, "a command is a JSON object"));
    };
    if object.get("id").is_none_or(Value::is_null) {
        object.insert("id".to_owned(), Uuid::now_v7().to_string().into());
    }
    Ok(body.to_string().into())
}

fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.as_ref()?.get(name).map(HeaderValue::as_str)
}

/// An answer; the refusal in its headers is an error.
fn accepted(message: Message) -> Result<Message, Error> {
    let Some(text) = header(&message, NATS_SERVICE_ERROR) else { return Ok(message) };
    let code = header(&message, NATS_SERVICE_ERROR_CODE);
    let code = code.and_then(|code| code.parse().ok()).unwrap_or(0);
    // Another implementation may refuse with the headers alone.
    let body = serde_json::from_slice(&message.payload).unwrap_or_else(|_| Refused {
        code,
        error: text.to_owned(),
        problems: Vec::new(),
    });
    Err(Error::Refused { code, text: body.error, problems: body.problems })
}

fn read<A: DeserializeOwned>(answer: &Message) -> Result<A, Error> {
    serde_json::from_slice(&answer.payload)
        .map_err(|e| Error::malformed("an answer", format!("it cannot be read: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_always_has_an_id() {
        let id = |body: Bytes| serde_json::from_slice::<Value>(&body).unwrap()["id"].clone();
        let given = serde_json::json!({ "id": "0190-x" });
        assert_eq!(id(with_id("x", &given).unwrap()), "0190-x");
        for without in [Value::Null, serde_json::json!({}), serde_json::json!({ "id": null })] {
            let made = id(with_id("x", &without).unwrap());
            assert!(Uuid::parse_str(made.as_str().unwrap()).is_ok());
        }
        assert!(with_id("x", &[1]).is_err());
    }
}
