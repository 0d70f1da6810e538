//! What schedulers and workers count of themselves, asked of all at once.

use std::time::Duration;

use dsbus_schema::ids::FleetName;
use dsbus_schema::stats::{SCHEDULER_ENDPOINT, SchedulerStats, WORKER_ENDPOINT, WorkerStats};
use dsbus_schema::storage::events_stream;
use dsbus_schema::subject;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::wire::ANSWER_MAX;
use crate::{Bus, Error};

/// Most answers that are taken; more than a fleet has daemons.
const ANSWERS_MAX: usize = 10_000;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stats {
    /// Of a scheduler.
    Scheduler(SchedulerStats),
    /// Of a worker.
    Worker(WorkerStats),
}

impl Bus {
    /// How many events were ever stored in the fleet's stream, and how long NATS took to say so.
    ///
    /// # Errors
    /// [`Error::NotProvisioned`], and whatever keeps the server from answering.
    pub async fn events_stored(&self) -> Result<(u64, Duration), Error> {
        let begin = Instant::now();
        let info = self.stream_info(&events_stream(self.fleet()), ANSWER_MAX).await?;
        Ok((info.state.last_seq, begin.elapsed()))
    }

    /// Asks every scheduler and every worker of the fleet what it counts of itself, and takes what is
    /// answered until `is_all` says that everybody has, or the time is up.
    ///
    /// # Errors
    /// [`Error::Disconnected`].
    pub async fn stats(
        &self,
        within: Duration,
        is_all: impl Fn(&[Stats]) -> bool + Send,
    ) -> Result<Vec<Stats>, Error> {
        if !self.connected() {
            return Err(Error::Disconnected);
        }
        let end = Instant::now() + within;
        let inbox = self.new_inbox();
        let heard = self.client().subscribe(inbox.clone()).await;
        let mut heard = heard.map_err(|_| Error::Disconnected)?;
        for service in [subject::SERVICE, subject::SERVICE_WORKER] {
            let to = subject::stats(service);
            let sent = self.client().publish_with_reply(to, inbox.clone(), bytes::Bytes::new());
            sent.await.map_err(|e| Error::malformed(service, e))?;
        }
        let mut told = Vec::new();
        while told.len() < ANSWERS_MAX && !is_all(&told) {
            let Ok(Some(message)) = timeout_at(end, heard.next()).await else { break };
            // Where there is none of a kind, NATS says so by a message without a body.
            told.extend(read(&message.payload, self.fleet()));
        }
        Ok(told)
    }
}

/// What a daemon tells, where it is one of this fleet. One of a version that counts nothing does not
/// even say who it is.
fn read(body: &[u8], fleet: &FleetName) -> Option<Stats> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let endpoints = answer["endpoints"].as_array()?;
    let data =
        |name: &str| endpoints.iter().find(|one| one["name"] == name).map(|one| &one["data"]);
    match answer["name"].as_str()? {
        subject::SERVICE => {
            let stats = SchedulerStats::deserialize(data(SCHEDULER_ENDPOINT)?).ok()?;
            (stats.fleet == *fleet).then_some(Stats::Scheduler(stats))
        }
        subject::SERVICE_WORKER => {
            let stats = WorkerStats::deserialize(data(WORKER_ENDPOINT)?).ok()?;
            (stats.fleet == *fleet).then_some(Stats::Worker(stats))
        }
        _ => None,
    }
}
