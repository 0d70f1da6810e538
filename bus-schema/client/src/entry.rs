//! What is read: entries of buckets, and events.

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use dsbus_schema::event::Event;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::reading;
use dsbus_schema::signature::{HEADER_SIGNATURE, HEADER_SIGNER, Stamp};
use dsbus_schema::storage::HEADER_SCHEDULER;
use serde::de::DeserializeOwned;

use crate::Error;

/// One entry of a bucket, or one message of the events stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key; of an event, the whole subject.
    pub key: String,
    /// Sequence in the stream: the revision that a write expects.
    pub seq: u64,
    /// What stands there.
    pub value: Value,
    /// When it was written, by the server's clock.
    pub time: Timestamp,
    /// The scheduler that wrote it, where one did.
    pub by: Option<String>,
    /// What a tombstone says; nothing, mostly.
    pub note: Bytes,
    /// Of a placement: who signed it.
    pub seal: Option<Seal>,
}

/// Who vouches for a placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seal {
    /// This process wrote it itself; nothing that is read from the bus says that.
    Ours(Stamp),
    /// So its headers say, which nobody has checked yet.
    Signed {
        /// Public key.
        signer: String,
        /// What was signed with it.
        stamp: Stamp,
        /// The signature, in base64.
        signature: String,
    },
}

impl Seal {
    /// What was signed with it.
    pub fn stamp(&self) -> Stamp {
        match self {
            Seal::Ours(stamp) | Seal::Signed { stamp, .. } => *stamp,
        }
    }
}

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A body.
    Put(Bytes),
    /// A tombstone: somebody deleted it.
    Deleted,
    /// The marker that NATS left when the TTL ran out.
    Expired,
    /// Forged: the answer to a request, whose sender aimed it at a subject that he may not publish
    /// to. What stood here is overwritten.
    Copied,
}

impl Entry {
    /// The body, read; `None` when it is deleted or expired.
    ///
    /// # Errors
    /// [`Error::Malformed`], which names the key and what is wrong.
    pub fn json<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        match &self.value {
            Value::Put(body) => read_json(&self.key, body),
            Value::Deleted | Value::Expired => Ok(None),
            Value::Copied => Err(Error::malformed(
                &self.key,
                "it is an answer of the server, aimed here by somebody",
            )),
        }
    }

    /// The event that it is. `Ok(None)` for one that says something else of itself than its subject
    /// does: nobody may pass it on, since permissions are about subjects.
    ///
    /// # Errors
    /// As [`Entry::json`].
    pub fn event(&self) -> Result<Option<Event>, Error> {
        Ok(self.json::<Event>()?.filter(|event| is_honest(event, &self.key)))
    }

    /// What its tombstone says, read; `None` when it says nothing, or is none.
    ///
    /// # Errors
    /// As [`Entry::json`].
    pub fn said<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        if self.note.is_empty() {
            return Ok(None);
        }
        read_json(&self.key, &self.note)
    }
}

/// Whether an event says of itself what its subject does; else that is logged.
pub(crate) fn is_honest(event: &Event, subject: &str) -> bool {
    let honest = event.is_on(subject);
    if !honest {
        tracing::warn!(subject, source = event.source, "left out: an event of somebody else");
    }
    honest
}

/// Reads what stands under a key. What is wrong with it is said by its field, in plain words.
fn read_json<T: DeserializeOwned>(key: &str, body: &[u8]) -> Result<Option<T>, Error> {
    serde_json::from_slice(body).map(Some).map_err(|e| {
        let wrong = reading::message::<T>(body).err();
        Error::malformed(key, wrong.map_or_else(|| e.to_string(), |wrong| wrong.to_string()))
    })
}

/// How answers of the `JetStream` API, of micro services, and acknowledgements begin. Nothing of ours
/// begins so.
const ANSWERS: [&[u8]; 3] =
    [b"{\"type\":\"io.nats.", b"{\"stream\":\"KV_", b"{\"stream\":\"DSBUS_"];

/// Whether a payload is an answer of the server.
fn is_answer(payload: &[u8]) -> bool {
    ANSWERS.iter().any(|begin| payload.starts_with(begin))
}

/// What a stored message means.
pub(crate) fn read(
    key: String,
    seq: u64,
    time: Timestamp,
    headers: Option<&HeaderMap>,
    payload: Bytes,
) -> Entry {
    let header = |name: &str| headers?.get(name).map(HeaderValue::as_str);
    let copied = header("Nats-Stream").is_some() || header("Nats-Subject").is_some();
    let copied = copied || is_answer(&payload);
    let value = match (header("Nats-Marker-Reason"), header("KV-Operation")) {
        _ if copied => Value::Copied,
        (Some("MaxAge"), _) => Value::Expired,
        (Some(_), _) | (None, Some("DEL" | "PURGE")) => Value::Deleted,
        (None, _) => Value::Put(payload.clone()),
    };
    let note = if value == Value::Deleted { payload } else { Bytes::new() };
    let by = header(HEADER_SCHEDULER).map(str::to_owned);
    let vouched = header(HEADER_SIGNER).zip(header(HEADER_SIGNATURE).and_then(Stamp::parse));
    let seal = vouched.map(|(signer, (stamp, signature))| {
        let (signer, signature) = (signer.to_owned(), signature.to_owned());
        Seal::Signed { signer, stamp, signature }
    });
    Entry { key, seq, value, time, by, note, seal }
}
