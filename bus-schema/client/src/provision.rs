//! Making the buckets and the stream of events, by whichever daemon comes first.

use std::time::Duration;

use dsbus_schema::storage::{Bucket, events_stream};
use serde_json::Value;

use crate::stream::{bucket_config, difference, events_config};
use crate::wire::ANSWER_MAX;
use crate::{Bus, Error, ack};

/// For the making of one stream: on a cluster it elects a leader first.
const CREATE_MAX: Duration = Duration::from_secs(10);
/// Replicas where the cluster is large enough: they outlive the loss of one node.
const REPLICAS: usize = 3;

impl Bus {
    /// Makes what is missing and checks the rest. Daemons that start at once may all do this.
    /// `replicas`: 3 where the cluster has three nodes or more, else 1, unless given.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a stream of that name exists that dsbus cannot use;
    /// [`Error::NoResponders`] while `JetStream` has no leader: try again.
    pub async fn provision(&self, replicas: Option<usize>) -> Result<(), Error> {
        let replicas = replicas.unwrap_or_else(|| self.replicas());
        for bucket in Bucket::ALL {
            self.ensure(&bucket_config(self.fleet(), bucket, replicas)).await?;
        }
        self.ensure(&events_config(self.fleet(), replicas)).await
    }

    /// Whether everything is there.
    ///
    /// # Errors
    /// Whatever keeps the server from answering.
    pub async fn provisioned(&self) -> Result<bool, Error> {
        let buckets = Bucket::ALL.map(|bucket| bucket.stream(self.fleet()));
        for stream in buckets.into_iter().chain([events_stream(self.fleet())]) {
            match self.stream_info(&stream, ANSWER_MAX).await {
                Ok(_) => {}
                Err(Error::NotProvisioned) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// How many replicas the cluster has room for, as far as this connection's server knows.
    fn replicas(&self) -> usize {
        let info = self.client().server_info();
        let nodes = info.connect_urls.len();
        if info.cluster.is_some() && nodes >= REPLICAS {
            return REPLICAS;
        }
        if info.cluster.is_some() {
            tracing::warn!(
                nodes,
                "this cluster shows fewer than three nodes: what is made now has one replica"
            );
        }
        1
    }

    async fn ensure(&self, wanted: &Value) -> Result<(), Error> {
        let name = wanted["name"].as_str().unwrap_or_default();
        // Looking first: whoever comes later needs no permission to make streams.
        match self.stream_info(name, ANSWER_MAX).await {
            Ok(there) => return usable(name, wanted, &there.config),
            Err(Error::NotProvisioned) => {}
            Err(error) => return Err(error),
        }
        match self.api(&format!("STREAM.CREATE.{name}"), wanted, CREATE_MAX).await {
            Ok(_) => {
                tracing::info!(stream = name, "made");
                Ok(())
            }
            Err(Error::Api { code: ack::STREAM_EXISTS, .. }) => {
                let there = self.stream_info(name, ANSWER_MAX).await?;
                usable(name, wanted, &there.config)
            }
            Err(error) => Err(error),
        }
    }
}

fn usable(name: &str, wanted: &Value, there: &Value) -> Result<(), Error> {
    let Some(why) = difference(wanted, there) else { return Ok(()) };
    Err(Error::malformed(format!("stream {name}"), format!("made by somebody else: {why}")))
}
