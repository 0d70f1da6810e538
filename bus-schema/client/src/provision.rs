//! Making the buckets and the stream of events, by whichever daemon comes first.

use std::time::Duration;

use dsbus_schema::storage::{Bucket, events_stream};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::stream::{bucket_config, difference, events_config};
use crate::wire::ANSWER_MAX;
use crate::{Bus, Error, ack};

/// For the making of one stream: on a cluster it elects a leader first.
const CREATE_MAX: Duration = Duration::from_secs(10);
/// Replicas where the cluster is large enough: they outlive the loss of one node.
const REPLICAS: usize = 3;

/// How long the first daemon waits for the third node of a cluster that is just starting.
const NODES_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether somebody has made what one may not make oneself.
const MADE_POLL: Duration = Duration::from_secs(2);
/// The same where what every fleet has is there, and something else is not.
const DENIED_POLL: Duration = Duration::from_secs(10);
/// Between two looks at how many nodes there are.
const NODES_POLL: Duration = Duration::from_secs(1);

impl Bus {
    /// Makes what is missing and checks the rest. Daemons that start at once may all do this.
    /// `replicas`: 3 where the cluster has three nodes or more, else 1, unless given; when given,
    /// streams that have fewer get more.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a stream of that name exists that dsbus cannot use;
    /// [`Error::NoResponders`] while `JetStream` has no leader: try again.
    pub async fn provision(&self, replicas: Option<usize>) -> Result<(), Error> {
        let mut wanted = Bucket::ALL.map(|bucket| bucket_config(self.fleet(), bucket)).to_vec();
        wanted.push(events_config(self.fleet()));
        let mut room = replicas;
        for mut wanted in wanted {
            // Looking first: whoever comes later needs no permission to make streams.
            let name = wanted["name"].as_str().unwrap_or_default().to_owned();
            match self.stream_info(&name, ANSWER_MAX).await {
                Ok(there) => self.check(&name, &wanted, there.config, replicas).await?,
                Err(Error::NotProvisioned) => {
                    let replicas = match room {
                        Some(replicas) => replicas,
                        None => *room.insert(self.room().await),
                    };
                    wanted["num_replicas"] = replicas.into();
                    self.make(&name, &wanted).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The same for daemons that may not make them, as `dsbus auth` lets schedulers only: waits until
    /// somebody has.
    ///
    /// # Errors
    /// As [`Bus::provision`], but for [`Error::Denied`].
    pub async fn provision_or_wait(&self) -> Result<(), Error> {
        let mut told = false;
        loop {
            match self.provision(None).await {
                Err(Error::Denied { what }) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(
                            "waits for a scheduler to make the buckets: these credentials may not \
                             ({what})"
                        );
                    }
                }
                done => return done,
            }
            // Only looks, which is permitted: what is denied is in the server's log each time.
            if self.provisioned().await == Ok(true) {
                sleep(DENIED_POLL).await;
            }
            while self.provisioned().await != Ok(true) {
                sleep(MADE_POLL).await;
            }
        }
    }

    /// Whether everything is there that a fleet cannot be without.
    ///
    /// # Errors
    /// Whatever keeps the server from answering.
    pub async fn provisioned(&self) -> Result<bool, Error> {
        let buckets = Bucket::STATE.map(|bucket| bucket.stream(self.fleet()));
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
    async fn room(&self) -> usize {
        let nodes = || self.client().server_info().connect_urls.len();
        if self.client().server_info().cluster.is_none() {
            return 1;
        }
        let third = async {
            while nodes() < REPLICAS {
                sleep(NODES_POLL).await;
                // async-nats keeps what the server said of the cluster when it connected.
                self.reconnect().await;
            }
        };
        if timeout(NODES_MAX, third).await.is_ok() {
            return REPLICAS;
        }
        tracing::warn!(nodes = nodes(), "fewer than three nodes: what is made now has one replica");
        1
    }

    async fn make(&self, name: &str, wanted: &Value) -> Result<(), Error> {
        match self.api(&format!("STREAM.CREATE.{name}"), wanted, CREATE_MAX).await {
            Ok(_) => {
                tracing::info!(stream = name, "made");
                Ok(())
            }
            // Somebody else was faster, and wants another number of replicas.
            Err(Error::Api { code: ack::STREAM_EXISTS, .. }) => {
                let there = self.stream_info(name, ANSWER_MAX).await?;
                self.check(name, wanted, there.config, None).await
            }
            Err(error) => Err(error),
        }
    }

    async fn check(
        &self,
        name: &str,
        wanted: &Value,
        mut there: Value,
        replicas: Option<usize>,
    ) -> Result<(), Error> {
        if let Some(why) = difference(wanted, &there) {
            let why = format!("made by somebody else: {why}");
            return Err(Error::malformed(format!("stream {name}"), why));
        }
        let replicas = replicas.unwrap_or(1) as u64;
        if there["num_replicas"].as_u64().is_some_and(|has| has < replicas) {
            there["num_replicas"] = replicas.into();
            self.api(&format!("STREAM.UPDATE.{name}"), &there, CREATE_MAX).await?;
            tracing::info!(stream = name, replicas, "has more replicas now");
        }
        Ok(())
    }
}
