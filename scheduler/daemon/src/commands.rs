//! Commands: read, decide, write by compare-and-set, tell, answer. The answer comes only after the
//! write it tells of is acknowledged, so an answered command is never lost; and after it is in the
//! audit log, unless that stores nothing.

pub(crate) mod act;
mod adrift;
mod ask;
mod capable;
mod declare;
mod floods;
mod hands;
mod history;
mod order;
mod rebalance;
mod recover;
pub(crate) mod resolve;
pub(crate) mod revise;
mod rollout;
mod workers;

use dsbus_client::{Answer, Bus, Entry, Error, Refusal, Request, Served, Write};
use dsbus_schema::command::{Envelope, Verb, code};
use dsbus_schema::goal::Sender;
use dsbus_schema::ids::{ProgramName, UserName};
use dsbus_schema::program::Program;
use dsbus_schema::reading;
use dsbus_schema::storage::Bucket;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use uuid::Uuid;

use floods::Floods;
use resolve::{Meant, did_you_mean, nearest};

use crate::grants::{GrantsFile, Touched};
use crate::pulse::Pulse;
use crate::run::Shared;
use crate::tell::audit::Heard;
use crate::tell::outbox::Outbox;
use crate::{clock, writes};

/// How often a compare-and-set is tried before the command is refused. Fifty clients that write to
/// one program at once each win within fifty rounds.
const RACES_MAX: usize = 200;
/// How long a command waits for this scheduler to have heard of what is on the bus already.
const HEAR_WITHIN: Duration = Duration::from_millis(700);

/// Answers commands until the result is dropped; and tells `stats` whoever asks.
pub(crate) async fn serve(
    bus: Bus,
    (shared, outbox, pulse): (Shared, Outbox, Pulse),
    (id, grants): (&str, Arc<GrantsFile>),
    stats: impl Fn() -> serde_json::Value + Send + Sync + 'static,
) -> Result<Served, Error> {
    let floods = Arc::default();
    let (bus_of_all, name) = (bus.clone(), id.to_owned());
    let commander = Commander { bus: bus_of_all, shared, outbox, pulse, id: name, grants, floods };
    bus.serve_commands(id, stats, move |request| {
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
    outbox: Outbox,
    pulse: Pulse,
    /// This scheduler.
    id: String,
    /// Who may command what.
    grants: Arc<GrantsFile>,
    /// Whose refusals are told.
    floods: Arc<Mutex<Floods>>,
}

impl Commander {
    async fn answer(&self, request: Request) -> Result<Answer, Refusal> {
        let (user, verb) = (&request.user, request.verb);
        if self.pulse.is_stale(clock::now()) {
            tracing::warn!("{user}: {} came while this scheduler was frozen; ignored", verb.name());
            return Err(Refusal::silent());
        }
        if !self.shared.lock().ready() {
            // A bucket is being heard anew: whoever knows it all answers.
            return Err(Refusal::silent());
        }
        if !changes(verb) {
            request.understood()?;
            return self.carry_out(verb, user, &request.body).await;
        }
        let heard = Heard::of(request.verb, &request.body, Uuid::now_v7());
        let answer = match request.understood() {
            Ok(()) if self.floods().is_flood(user, clock::now()) => {
                let text = format!(
                    "{user} has commanded too often what is not granted; commands of {user} are \
                     looked at again in a minute"
                );
                Err(Refusal::new(code::FORBIDDEN, text))
            }
            Ok(()) => self.carry_out(verb, user, &heard.body).await,
            Err(refusal) => Err(refusal),
        };
        match &answer {
            Ok(_) => tracing::info!("{user}: {}", verb.name()),
            Err(refusal) => tracing::info!("{user}: {} refused: {}", verb.name(), refusal.text),
        }
        let silent = match &answer {
            Ok(_) => Some(0),
            Err(refusal) => {
                let forbidden = refusal.code == code::FORBIDDEN;
                self.floods().refused(user, forbidden, clock::now())
            }
        };
        // Of a user who is refused all the time, some is told, and how much is not.
        if let Some(untold) = silent
            && let Some(told) = heard.told(self.bus.fleet(), &request, &answer, (&self.id, untold))
        {
            self.outbox.tell_first(told).await;
        }
        answer
    }

    fn floods(&self) -> MutexGuard<'_, Floods> {
        // A panic in it leaves a count that is no worse than another.
        self.floods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what a user may not do to these.
    fn permit(&self, by: &UserName, verb: Verb, touched: Touched<'_>) -> Result<(), Refusal> {
        self.grants.judge(by, verb, touched).map_err(|why| Refusal::new(code::FORBIDDEN, why))
    }

    /// The same for programs.
    fn permit_programs<'a>(
        &self,
        by: &UserName,
        verb: Verb,
        names: impl IntoIterator<Item = &'a ProgramName>,
    ) -> Result<(), Refusal> {
        let names: Vec<&ProgramName> = names.into_iter().collect();
        self.permit(by, verb, Touched::Programs(&names))
    }

    async fn carry_out(&self, verb: Verb, by: &UserName, body: &[u8]) -> Result<Answer, Refusal> {
        match verb {
            Verb::Apply => json(&self.apply(by, read(body)?).await?),
            Verb::Create => json(&self.create(by, read(body)?).await?),
            Verb::Scale => json(&self.scale(by, read(body)?).await?),
            Verb::Start
            | Verb::Stop
            | Verb::Restart
            | Verb::Reload
            | Verb::Enable
            | Verb::Disable => json(&self.act(verb, by, read(body)?).await?),
            Verb::Remove => json(&self.remove(by, read(body)?).await?),
            Verb::Rollout => json(&self.rollout(by, read(body)?).await?),
            Verb::Cordon | Verb::Uncordon | Verb::Drain | Verb::Undrain => {
                json(&self.steer_workers(verb, by, read(body)?).await?)
            }
            Verb::Forget => json(&self.forget(by, read(body)?).await?),
            Verb::Rebalance => json(&self.rebalance(by, &read(body)?).await?),
            Verb::Signal => json(&self.signal(by, read(body)?).await?),
            Verb::Stdin => json(&self.stdin(by, read(body)?).await?),
            Verb::Clear => json(&self.clear(by, read(body)?).await?),
            Verb::Recover => json(&self.recover(by, read(body)?).await?),
            Verb::Status => self.status(read(body)?).await?.answer(),
            Verb::Workers => json(&self.workers(&read(body)?).await?),
            Verb::Rollouts => json(&self.rollouts(&read(body)?).await?),
            Verb::History => json(&self.history(&read(body)?).await?),
            Verb::Explain => json(&self.explain(&read(body)?).await?),
            Verb::Groups => json(&self.groups(&read(body)?).await?),
        }
    }

    /// Reads a program as the bus has it now, and its sequence; 0 when it never was.
    async fn program(&self, name: &ProgramName) -> Result<(Option<Program>, u64), Refusal> {
        let entry = self.bus.get(Bucket::Programs, name.as_str()).await.map_err(unavailable)?;
        let Some(entry) = entry else { return Ok((None, 0)) };
        let program = entry.json().map_err(unavailable)?;
        Ok((program, entry.seq))
    }

    /// Who sends a command, which acts now.
    fn sender<'a>(&self, by: &'a UserName) -> Sender<'a> {
        // By the clock of NATS, which every scheduler reads alike.
        let now = self.shared.lock().latest().unwrap_or_else(clock::wall);
        Sender { by, at: now.unix_seconds() }
    }

    /// Reads a goal, and folds it: so nobody overwrites what he has not derived events from.
    async fn goal_entry(&self, key: &str) -> Result<Option<Entry>, Refusal> {
        let entry = self.bus.get(Bucket::Goals, key).await.map_err(unavailable)?;
        if let Some(entry) = &entry {
            self.fold(Bucket::Goals, entry);
        }
        Ok(entry)
    }

    /// Writes a goal, and folds it: the watch may not deliver what is soon overwritten.
    async fn write_goal(&self, write: Write) -> Result<u64, Error> {
        let seq = self.bus.write(Bucket::Goals, write.clone()).await?;
        self.fold(Bucket::Goals, &writes::entry(&write, seq, clock::wall(), &self.id));
        Ok(seq)
    }

    fn fold(&self, bucket: Bucket, entry: &Entry) {
        let due = {
            let mut core = self.shared.lock();
            if !core.ready() {
                return;
            }
            if let Err(e) = core.fold(bucket, entry, clock::now()) {
                tracing::error!("left out {bucket:?} {}: {e}", entry.key);
            }
            core.take_told()
        };
        self.outbox.push(due);
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
        | Verb::Rebalance
        | Verb::Signal
        | Verb::Stdin
        | Verb::Clear
        | Verb::Recover => true,
    }
}

/// The command's id; a new one where the sender gave none.
fn id(envelope: &Envelope) -> Uuid {
    envelope.id.unwrap_or_else(Uuid::now_v7)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    reading::message(body).map_err(|wrong| {
        Refusal::new(code::BAD_REQUEST, format!("the request could not be read: {wrong}"))
    })
}

fn json<T: Serialize>(answer: &T) -> Result<Answer, Refusal> {
    serde_json::to_vec(answer).map(Answer::from).map_err(|e| {
        Refusal::new(code::UNAVAILABLE, format!("the answer could not be written: {e}"))
    })
}

/// The bus did not do what was asked; whether it was written is not known, so the sender may send
/// the same id again.
#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unavailable(error: Error) -> Refusal {
    Refusal::new(code::UNAVAILABLE, format!("the bus did not answer: {error}"))
}
