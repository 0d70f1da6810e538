//! An independent listener: a durable consumer of plain async-nats on the stream of events, which
//! shares no code with the client of the daemons.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use dsbus_schema::event::{Event, Fact, PlacementChange};
use dsbus_schema::ids::FleetName;
use dsbus_schema::storage::events_stream;
use futures::StreamExt;
use uuid::Uuid;

use crate::Outcome;
use crate::clock::{look, now, rest, wall_offset};

const NAME: &str = "chaos-ear";
/// One fetch; whoever hears nothing for so long asks anew.
const FETCH: Duration = Duration::from_secs(1);
const FETCH_MAX: usize = 200;
/// After this time what was not acknowledged is sent again.
const ACK_WAIT: Duration = Duration::from_secs(2);
/// After a failure.
const AGAIN: Duration = Duration::from_millis(200);

/// That an instance was placed somewhere.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) instance: String,
    pub(crate) to: String,
    pub(crate) epoch: u64,
    /// Nanoseconds on CLOCK_BOOTTIME.
    pub(crate) at: u64,
    pub(crate) reason: String,
}

/// What was heard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    ids: BTreeSet<Uuid>,
    /// Sequences by instance and epoch.
    sequences: BTreeMap<(String, u64), BTreeSet<u64>>,
    pub(crate) placed: Vec<Placed>,
    pub(crate) total: u64,
    pub(crate) twice: u64,
    /// Types of events, counted.
    pub(crate) kinds: BTreeMap<String, u64>,
    /// Messages of the stream that were delivered, by sequence of the stream.
    delivered: u64,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Ear {
    heard: Arc<Mutex<Heard>>,
    listening: tokio::task::JoinHandle<()>,
    client: async_nats::Client,
}

impl Ear {
    /// Listens from the beginning of the stream.
    pub(crate) async fn listen(urls: &[String]) -> Outcome<Ear> {
        let client = async_nats::ConnectOptions::new()
            .name(NAME)
            .ping_interval(Duration::from_secs(2))
            .connect(urls)
            .await?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let listening = tokio::spawn(go(client.clone(), Arc::clone(&heard)));
        Ok(Ear { heard, listening, client })
    }

    /// What was heard so far.
    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until all that is in the stream now was heard.
    pub(crate) async fn catch_up(&self, within: Duration) -> Outcome<()> {
        let js = jetstream::new(self.client.clone());
        let name = events_stream(&FleetName::default());
        let last = look("the end of the stream", within, AGAIN, async || {
            let mut stream = js.get_stream(&name).await.map_err(|e| e.to_string())?;
            let info = stream.info().await.map_err(|e| e.to_string())?;
            Ok(info.state.last_sequence)
        })
        .await?;
        look("all events", within, AGAIN, async || {
            let delivered = self.heard().delivered;
            if delivered >= last { Ok(()) } else { Err(format!("{delivered} of {last}")) }
        })
        .await
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn go(client: async_nats::Client, heard: Arc<Mutex<Heard>>) {
    let offset = wall_offset();
    loop {
        if let Err(_failed) = hear(&client, &heard, offset).await {
            // A leader that died: the durable consumer goes on where it was.
            rest(AGAIN).await;
        }
    }
}

async fn hear(client: &async_nats::Client, heard: &Mutex<Heard>, offset: i128) -> Outcome<()> {
    let js = jetstream::new(client.clone());
    let stream = js.get_stream(events_stream(&FleetName::default())).await?;
    let config = pull::Config {
        durable_name: Some(NAME.to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        // What was on its way when a server was cut off comes again soon.
        ack_wait: ACK_WAIT,
        ..pull::Config::default()
    };
    let consumer: PullConsumer = stream.get_or_create_consumer(NAME, config).await?;
    loop {
        let fetch = consumer.fetch().max_messages(FETCH_MAX).expires(FETCH).messages();
        let mut messages = tokio::time::timeout(FETCH * 3, fetch).await??;
        while let Some(message) = tokio::time::timeout(FETCH * 3, messages.next()).await? {
            let message = message?;
            let sequence = message.info().map_or(0, |info| info.stream_sequence);
            let event: Event = serde_json::from_slice(&message.payload)?;
            heard.lock().unwrap_or_else(PoisonError::into_inner).hear(event, sequence, offset);
            message.ack().await?;
        }
    }
}

impl Heard {
    fn hear(&mut self, event: Event, sequence: u64, offset: i128) {
        self.delivered = self.delivered.max(sequence);
        if !self.ids.insert(event.id) {
            self.twice += 1;
            return;
        }
        self.total += 1;
        *self.kinds.entry(event.data.type_name().to_owned()).or_default() += 1;
        match event.data {
            // Number 0 is a scheduler's word, and not a worker's.
            Fact::Process(fact) if fact.seq > 0 => {
                let of = (fact.name.to_string(), fact.epoch.0);
                self.sequences.entry(of).or_default().insert(fact.seq);
            }
            Fact::Placement(fact) if fact.change != PlacementChange::Removed => {
                let at = event.time.unix_nanos() - offset;
                self.placed.push(Placed {
                    instance: fact.name.to_string(),
                    to: fact.to.map(|w| w.to_string()).unwrap_or_default(),
                    epoch: fact.epoch.0,
                    at: u64::try_from(at).unwrap_or_else(|_| now()),
                    reason: fact.reason,
                });
            }
            _ => {}
        }
    }

    /// Events that were never heard: one line for each gap. `last` knows how far the events of an
    /// instance go under its epoch.
    pub(crate) fn gaps(&self, last: &BTreeMap<(String, u64), u64>) -> Vec<String> {
        let none = BTreeSet::new();
        let of: BTreeSet<&(String, u64)> = self.sequences.keys().chain(last.keys()).collect();
        let mut gaps = Vec::new();
        for key in of {
            let seen = self.sequences.get(key).unwrap_or(&none);
            let end = seen.last().copied().unwrap_or(0).max(last.get(key).copied().unwrap_or(0));
            let missing: Vec<u64> = (1..=end).filter(|seq| !seen.contains(seq)).collect();
            if !missing.is_empty() {
                gaps.push(format!("{} epoch {}: {missing:?} of {end}", key.0, key.1));
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_found() {
        let mut heard = Heard::default();
        for (epoch, seq) in [(3, 1), (3, 2), (7, 1), (7, 3)] {
            heard.sequences.entry(("web:0".to_owned(), epoch)).or_default().insert(seq);
        }
        assert_eq!(heard.gaps(&BTreeMap::new()), ["web:0 epoch 7: [2] of 3"]);
        let last = BTreeMap::from([(("web:0".to_owned(), 3), 3)]);
        assert_eq!(heard.gaps(&last).len(), 2);
    }
}
