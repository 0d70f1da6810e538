//! What is read: entries of buckets, and events.

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::reading;
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
        }
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

/// Reads what stands under a key. What is wrong with it is said by its field, in plain words.
fn read_json<T: DeserializeOwned>(key: &str, body: &[u8]) -> Result<Option<T>, Error> {
    serde_json::from_slice(body).map(Some).map_err(|e| {
        let wrong = reading::message::<T>(body).err();
        Error::malformed(key, wrong.map_or_else(|| e.to_string(), |wrong| wrong.to_string()))
    })
}

/// What a stored message means. `None` for a forged one: one that got into the stream as the reply
/// to a direct get, whose requester aimed the reply at a subject that it may not publish to.
pub(crate) fn read(
    key: String,
    seq: u64,
    time: Timestamp,
    headers: Option<&HeaderMap>,
    payload: Bytes,
) -> Option<Entry> {
    let header = |name: &str| headers?.get(name).map(HeaderValue::as_str);
    if header("Nats-Stream").is_some() || header("Nats-Subject").is_some() {
        return None;
    }
    let value = match (header("Nats-Marker-Reason"), header("KV-Operation")) {
        (Some("MaxAge"), _) => Value::Expired,
        (Some(_), _) | (None, Some("DEL" | "PURGE")) => Value::Deleted,
        (None, _) => Value::Put(payload.clone()),
    };
    let note = if value == Value::Deleted { payload } else { Bytes::new() };
    let by = header(HEADER_SCHEDULER).map(str::to_owned);
    Some(Entry { key, seq, value, time, by, note })
}
