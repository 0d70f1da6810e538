//! Reading and writing single keys, and atomic batches of them.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use dsbus_schema::ids::Epoch;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::signature::Stamp;
use dsbus_schema::storage::{Bucket, HEADER_SCHEDULER};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::wire::{ANSWER_MAX, denial};
use crate::{Bus, Entry, Error, ack, entry};

/// Most writes in one batch; NATS allows no more (ADR-50).
pub const BATCH_WRITES_MAX: usize = 1000;
/// Most entries of one key that are read: four times what a bucket keeps of it, since a busy key
/// may be written while it is read.
const HISTORY_READS_MAX: u32 = 256;
/// For the acknowledgement of a batch, which a single server stages on disk first.
const BATCH_ANSWER_MAX: Duration = Duration::from_secs(5);

/// One write. Build it with [`Write::put`] or [`Write::delete`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Key.
    pub key: String,
    /// Body; `None` leaves a tombstone.
    pub body: Option<Bytes>,
    /// What a tombstone says; nothing, mostly.
    pub note: Bytes,
    /// What must still be true for the write to happen.
    pub expect: Option<Expect>,
    /// When it expires, in seconds after the write.
    pub ttl_seconds: Option<u64>,
    /// Of a placement: what is signed with it.
    pub stamp: Option<Stamp>,
}

/// What a write depends on. Sequence 0 means: nothing is there, not even a tombstone or marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The last entry of its own key has this sequence.
    Own(u64),
    /// The last entry among these keys has this sequence.
    Guard {
        /// A key, or keys with wildcards. Rivals must use the same text: on three nodes guards
        /// that differ in text do not see each other in flight (measured).
        pattern: String,
        /// Its sequence.
        seq: u64,
    },
}

impl Write {
    /// Writes `body` under `key`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when `body` cannot be written as JSON.
    pub fn put<T: Serialize>(key: impl Into<String>, body: &T) -> Result<Write, Error> {
        let key = key.into();
        let body = serde_json::to_vec(body).map_err(|e| Error::malformed(&key, e))?;
        Ok(Write {
            key,
            body: Some(body.into()),
            note: Bytes::new(),
            expect: None,
            ttl_seconds: None,
            stamp: None,
        })
    }

    /// Leaves a tombstone under `key`.
    pub fn delete(key: impl Into<String>) -> Write {
        let (key, note) = (key.into(), Bytes::new());
        Write { key, body: None, note, expect: None, ttl_seconds: None, stamp: None }
    }

    /// A write of a placement, which is signed where its writer has a key.
    #[must_use]
    pub fn stamp(mut self, epoch: Epoch, after: u64) -> Write {
        self.stamp = Some(Stamp { epoch, after });
        self
    }

    /// Lets a tombstone say something.
    ///
    /// # Errors
    /// [`Error::Malformed`] when `note` cannot be written as JSON.
    pub fn saying<T: Serialize>(mut self, note: &T) -> Result<Write, Error> {
        self.note = serde_json::to_vec(note).map_err(|e| Error::malformed(&self.key, e))?.into();
        Ok(self)
    }

    /// What is sent.
    fn payload(self) -> Bytes {
        self.body.unwrap_or(self.note)
    }

    /// Only if the last entry of this key has sequence `seq`; 0: if there is none.
    #[must_use]
    pub fn expect(mut self, seq: u64) -> Write {
        self.expect = Some(Expect::Own(seq));
        self
    }

    /// Only if the last entry among the keys of `key_pattern` has sequence `seq`.
    #[must_use]
    pub fn guard(mut self, key_pattern: &str, seq: u64) -> Write {
        self.expect = Some(Expect::Guard { pattern: key_pattern.to_owned(), seq });
        self
    }

    /// Expires `s` seconds after the write, and leaves a marker then.
    #[must_use]
    pub fn ttl(mut self, s: u64) -> Write {
        self.ttl_seconds = Some(s);
        self
    }
}

impl Bus {
    /// The last entry of a key, or among the keys of a pattern; tombstones and markers are entries.
    /// It is read from the stream's leader.
    ///
    /// # Errors
    /// [`Error::NotProvisioned`], and whatever keeps the server from answering.
    pub async fn get(&self, b: Bucket, key: &str) -> Result<Option<Entry>, Error> {
        let subject = b.subject(self.fleet(), key);
        let found = self.last_message(&b.stream(self.fleet()), &subject).await?;
        Ok(found.map(|mut entry| {
            let prefix = b.subject(self.fleet(), "").len();
            entry.key.drain(..prefix);
            entry
        }))
    }

    /// Every entry of a key that the bucket keeps, oldest first; tombstones are entries. Read from
    /// the stream's leader, one by one: what is written meanwhile is read, too.
    ///
    /// # Errors
    /// As [`Bus::get`].
    pub async fn history(&self, b: Bucket, key: &str) -> Result<Vec<Entry>, Error> {
        let (stream, subject) = (b.stream(self.fleet()), b.subject(self.fleet(), key));
        let prefix = b.subject(self.fleet(), "").len();
        let (mut entries, mut from) = (Vec::new(), 1);
        for _ in 0..HISTORY_READS_MAX {
            let ask = json!({ "seq": from, "next_by_subj": subject });
            let Some(message) = self.message(&stream, &ask).await? else { break };
            let malformed = |why| Error::malformed(&subject, why);
            let seq = message["seq"].as_u64().ok_or_else(|| malformed("no sequence".to_owned()))?;
            from = seq + 1;
            let mut entry = read_message(message).map_err(malformed)?;
            entry.key.drain(..prefix);
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Writes one key, and returns its sequence.
    ///
    /// # Errors
    /// [`Error::LostRace`] when what it depends on is no longer so; [`Error::Timeout`] after which
    /// it may or may not be written; [`Error::NoResponders`] while the stream has no leader.
    pub async fn write(&self, b: Bucket, w: Write) -> Result<u64, Error> {
        self.write_within(b, w, ANSWER_MAX).await
    }

    /// Like [`Bus::write`], with a time limit of one's own.
    ///
    /// # Errors
    /// As [`Bus::write`].
    pub async fn write_within(&self, b: Bucket, w: Write, within: Duration) -> Result<u64, Error> {
        let subject = b.subject(self.fleet(), &w.key);
        let headers = self.headers(b, &w);
        let answer = self.ask_js(&subject, Some(headers), w.payload(), within).await?;
        ack::sequence(&subject, &answer)
    }

    /// Writes all of 1 to [`BATCH_WRITES_MAX`] keys or none, and returns the last one's sequence.
    ///
    /// # Errors
    /// As [`Bus::write`]. [`Error::Api`] with code 10176 means that a part was lost on the way:
    /// nothing was written.
    pub async fn batch(&self, b: Bucket, mut ws: Vec<Write>) -> Result<u64, Error> {
        let Some(last) = ws.pop() else {
            return Err(Error::malformed(b.name(self.fleet()), "an empty batch"));
        };
        if ws.is_empty() {
            return self.write(b, last).await;
        }
        if ws.len() >= BATCH_WRITES_MAX {
            let why = format!("a batch holds at most {BATCH_WRITES_MAX} writes");
            return Err(Error::malformed(b.name(self.fleet()), why));
        }
        if !self.connected() {
            return Err(Error::Disconnected);
        }
        let subjects: Vec<String> = ws.iter().map(|w| b.subject(self.fleet(), &w.key)).collect();
        let denials = self.denials();
        tokio::select! {
            answer = self.send_batch(b, ws, last) => answer,
            what = denial(denials, &subjects) => Err(Error::Denied { what }),
        }
    }

    async fn send_batch(&self, b: Bucket, ws: Vec<Write>, last: Write) -> Result<u64, Error> {
        let id = Uuid::now_v7().simple().to_string();
        let stamp = |headers: &mut HeaderMap, number: usize| {
            headers.insert("Nats-Batch-Id", id.as_str());
            headers.insert("Nats-Batch-Sequence", number.to_string());
        };
        let total = ws.len() + 1;
        let unacknowledged = async {
            for (i, w) in ws.into_iter().enumerate() {
                let mut headers = self.headers(b, &w);
                stamp(&mut headers, i + 1);
                let subject = b.subject(self.fleet(), &w.key);
                let body = w.payload();
                let sent = self.client().publish_with_headers(subject.clone(), headers, body).await;
                sent.map_err(|e| Error::malformed(subject, e))?;
            }
            Ok(())
        };
        let sent = tokio::time::timeout(BATCH_ANSWER_MAX, unacknowledged).await;
        sent.map_err(|_| Error::Timeout)??;
        let mut headers = self.headers(b, &last);
        stamp(&mut headers, total);
        headers.insert("Nats-Batch-Commit", "1");
        let subject = b.subject(self.fleet(), &last.key);
        let body = last.payload();
        let answer = self.ask_js(&subject, Some(headers), body, BATCH_ANSWER_MAX).await?;
        ack::sequence(&subject, &answer)
    }

    fn headers(&self, b: Bucket, w: &Write) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if w.body.is_none() {
            headers.insert("KV-Operation", "DEL");
        }
        if let Some(scheduler) = self.scheduler() {
            headers.insert(HEADER_SCHEDULER, scheduler);
        }
        if let (Some(signer), Bucket::Fleet) = (self.signer(), b) {
            signer.sign(self.fleet(), w, &mut headers);
        }
        if let Some(seconds) = w.ttl_seconds {
            headers.insert("Nats-TTL", seconds.to_string());
        }
        match &w.expect {
            None => {}
            Some(Expect::Own(seq)) => {
                headers.insert("Nats-Expected-Last-Subject-Sequence", seq.to_string());
            }
            Some(Expect::Guard { pattern, seq }) => {
                headers.insert("Nats-Expected-Last-Subject-Sequence", seq.to_string());
                headers.insert(
                    "Nats-Expected-Last-Subject-Sequence-Subject",
                    b.subject(self.fleet(), pattern),
                );
            }
        }
        headers
    }

    /// The last message on a subject, with its whole subject as the key.
    pub(crate) async fn last_message(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<Entry>, Error> {
        let ask = json!({ "last_by_subj": subject });
        let Some(message) = self.message(stream, &ask).await? else { return Ok(None) };
        read_message(message).map(Some).map_err(|why| Error::malformed(subject, why))
    }

    /// One stored message as the API gives it; `None` when there is none.
    pub(crate) async fn message(
        &self,
        stream: &str,
        ask: &serde_json::Value,
    ) -> Result<Option<serde_json::Value>, Error> {
        match self.api(&format!("STREAM.MSG.GET.{stream}"), ask, ANSWER_MAX).await {
            Ok(mut answer) => Ok(Some(answer["message"].take())),
            Err(Error::Api { code: ack::NO_MESSAGE, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Reads a message as `STREAM.MSG.GET` gives it.
fn read_message(message: serde_json::Value) -> Result<Entry, String> {
    let time = message["time"].as_str().unwrap_or_default();
    // A watch tells the same time: in whole milliseconds.
    let time = Timestamp::from_unix_nanos(Timestamp::parse(time)?.unix_nanos());
    let raw: async_nats::jetstream::stream::RawMessage =
        serde_json::from_value(message).map_err(|e| e.to_string())?;
    let message: async_nats::jetstream::message::StreamMessage =
        raw.try_into().map_err(|e: async_nats::Error| e.to_string())?;
    let (key, seq) = (message.subject.to_string(), message.sequence);
    let (headers, payload) = (&message.headers, message.payload);
    Ok(entry::read(key, seq, time, Some(headers), payload))
}
