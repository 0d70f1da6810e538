//! Commands: read, decide, write by compare-and-set, answer. The answer comes only after the write
//! it tells of is acknowledged, so an answered command is never lost.

pub(crate) mod act;
mod ask;
mod capable;
mod declare;
mod history;
mod order;
mod rebalance;
mod resolve;
pub(crate) mod revise;
mod rollout;
mod workers;

use dsbus_client::{Bus, Error, Refusal, Request, Served};
use dsbus_schema::command::{Envelope, Verb, code};
use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::Program;
use dsbus_schema::storage::Bucket;
use dsbus_schema::version;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::pin::pin;
use std::time::Duration;
use uuid::Uuid;

use resolve::{Meant, did_you_mean, nearest};

use crate::clock;
use crate::pulse::Pulse;
use crate::run::Shared;

/// How often a compare-and-set is tried before the command is refused. Fifty clients that write to
/// one program at once each win within fifty rounds.
const RACES_MAX: usize = 200;
/// How long a command waits for this scheduler to have heard of what is on the bus already.
const HEAR_WITHIN: Duration = Duration::from_millis(700);

/// Answers commands until the result is dropped.
pub(crate) async fn serve(
    bus: &Bus,
    shared: Shared,
    pulse: Pulse,
    id: &str,
) -> Result<Served, Error> {
    let commander = Commander { bus: bus.clone(), shared, pulse };
    bus.serve_commands(id, move |request| {
        let commander = commander.clone();
        async move { commander.answer(request).await }
    })
    .await
}

/// Whoever answers.
#[derive(Debug, Clone)]
struct Commander {
    bus: Bus,
    shared: Shared,
    pulse: Pulse,
}

impl Commander {
    async fn answer(&self, request: Request) -> Result<serde_json::Value, Refusal> {
        let (user, verb) = (request.user, request.verb);
        if self.pulse.is_stale(clock::now()) {
            tracing::warn!("{user}: {} came while this scheduler was frozen; ignored", verb.name());
            return Err(Refusal::silent());
        }
        if !self.shared.lock().ready() {
            // A bucket is being heard anew: whoever knows it all answers.
            return Err(Refusal::silent());
        }
        let body = &request.body;
        let answer = match verb {
            Verb::Apply => json(&self.apply(&user, read(body)?).await?),
            Verb::Create => json(&self.create(&user, read(body)?).await?),
            Verb::Scale => json(&self.scale(&user, read(body)?).await?),
            Verb::Start
            | Verb::Stop
            | Verb::Restart
            | Verb::Reload
            | Verb::Enable
            | Verb::Disable => json(&self.act(verb, read(body)?).await?),
            Verb::Remove => json(&self.remove(read(body)?).await?),
            Verb::Rollout => json(&self.rollout(&user, read(body)?).await?),
            Verb::Cordon | Verb::Uncordon | Verb::Drain | Verb::Undrain => {
                json(&self.steer_workers(verb, &user, read(body)?).await?)
            }
            Verb::Forget => json(&self.forget(read(body)?).await?),
            Verb::Rebalance => json(&self.rebalance(&read(body)?).await?),
            Verb::Status => json(&self.status(read(body)?).await?),
            Verb::Workers => json(&self.workers(&read(body)?).await?),
            Verb::Rollouts => json(&self.rollouts(&read(body)?).await?),
            Verb::History => json(&self.history(&read(body)?).await?),
            Verb::Explain => json(&self.explain(&read(body)?).await?),
            Verb::Groups => json(&self.groups(&read(body)?).await?),
        };
        if changes(verb) {
            tracing::info!("{user}: {}", verb.name());
        }
        answer
    }

    /// Reads a program as the bus has it now, and its sequence; 0 when it never was.
    async fn program(&self, name: &ProgramName) -> Result<(Option<Program>, u64), Refusal> {
        let entry = self.bus.get(Bucket::Programs, name.as_str()).await.map_err(unavailable)?;
        let Some(entry) = entry else { return Ok((None, 0)) };
        let program = entry.json().map_err(unavailable)?;
        Ok((program, entry.seq))
    }

    /// Waits, for a short while, until the view has everything that is on the bus now: so whoever
    /// was answered by another scheduler finds here what was answered there, also when this one was
    /// frozen meanwhile.
    async fn fresh(&self) -> Result<(), Refusal> {
        let last = |bucket| async move {
            let last = self.bus.get(bucket, ">").await.map_err(unavailable)?;
            Ok((bucket, last.map_or(0, |entry| entry.seq)))
        };
        let all = futures::future::try_join_all(Bucket::STATE.map(last)).await?;
        let all: Vec<_> = all.into_iter().filter(|(_, seq)| *seq > 0).collect();
        let heard = async {
            loop {
                // Registered before the look, so that nothing is missed between the two.
                let mut folded = pin!(self.shared.folded.notified());
                folded.as_mut().enable();
                if self.shared.lock().has_heard(&all) {
                    return;
                }
                folded.await;
            }
        };
        // What is not heard in time is answered from what is known; the caller asks again.
        let _ = tokio::time::timeout(HEAR_WITHIN, heard).await;
        Ok(())
    }
}

/// Whether a command changes anything, and belongs in the log.
fn changes(verb: Verb) -> bool {
    match verb {
        Verb::Status
        | Verb::Workers
        | Verb::Rollouts
        | Verb::History
        | Verb::Explain
        | Verb::Groups => false,
        Verb::Apply
        | Verb::Create
        | Verb::Scale
        | Verb::Start
        | Verb::Stop
        | Verb::Restart
        | Verb::Reload
        | Verb::Enable
        | Verb::Disable
        | Verb::Remove
        | Verb::Rollout
        | Verb::Cordon
        | Verb::Uncordon
        | Verb::Drain
        | Verb::Undrain
        | Verb::Forget
        | Verb::Rebalance => true,
    }
}

/// The command's id; a new one where the sender gave none.
fn id(envelope: &Envelope) -> Uuid {
    envelope.id.unwrap_or_else(Uuid::now_v7)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    let bad = |e: serde_json::Error| {
        Refusal::new(code::BAD_REQUEST, format!("the request could not be read: {e}"))
    };
    let envelope: Envelope = serde_json::from_slice(body).map_err(bad)?;
    version::check(envelope.version).map_err(|why| Refusal::new(code::BAD_REQUEST, why))?;
    serde_json::from_slice(body).map_err(bad)
}

fn json<T: Serialize>(answer: &T) -> Result<serde_json::Value, Refusal> {
    serde_json::to_value(answer).map_err(|e| {
        Refusal::new(code::UNAVAILABLE, format!("the answer could not be written: {e}"))
    })
}

/// The bus did not do what was asked; whether it was written is not known, so the sender may send
/// the same id again.
#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unavailable(error: Error) -> Refusal {
    Refusal::new(code::UNAVAILABLE, format!("the bus did not answer: {error}"))
}
