//! What is read: entries of buckets, and events.

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use dsbus_schema::moment::Timestamp;
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
            Value::Put(body) => {
                serde_json::from_slice(body).map(Some).map_err(|e| Error::malformed(&self.key, e))
            }
            Value::Deleted | Value::Expired => Ok(None),
        }
    }
}

/// What a stored message means. `None` for a forged one: one that got into the stream as the reply
/// to a direct get, whose requester aimed the reply at a subject that it may not publish to.
pub(crate) fn value(headers: Option<&HeaderMap>, payload: Bytes) -> Option<Value> {
    let Some(headers) = headers else { return Some(Value::Put(payload)) };
    if headers.get("Nats-Stream").is_some() || headers.get("Nats-Subject").is_some() {
        return None;
    }
    if let Some(reason) = headers.get("Nats-Marker-Reason") {
        return Some(if reason.as_str() == "MaxAge" { Value::Expired } else { Value::Deleted });
    }
    match headers.get("KV-Operation").map(HeaderValue::as_str) {
        Some("DEL" | "PURGE") => Some(Value::Deleted),
        _ => Some(Value::Put(payload)),
    }
}
