//! Commands: read, decide, write by compare-and-set, answer. The answer comes only after the write
//! it tells of is acknowledged, so an answered command is never lost.

pub(crate) mod act;
mod ask;
mod capable;
pub(crate) mod declare;

use dsbus_client::{Bus, Error, Refusal, Request, Served};
use dsbus_schema::command::{Envelope, Verb, code};
use dsbus_schema::ids::{InstanceId, ProgramName, Target};
use dsbus_schema::program::Program;
use dsbus_schema::storage::Bucket;
use dsbus_schema::version;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::pin::pin;
use std::time::Duration;
use uuid::Uuid;

use crate::clock;
use crate::pulse::Pulse;
use crate::run::Shared;

/// How often a compare-and-set is tried before the command is refused. Fifty clients that write to
/// one program at once each win within fifty rounds.
const RACES_MAX: usize = 200;
/// How long a command waits for this scheduler to have heard of what is on the bus already.
const HEAR_WITHIN: Duration = Duration::from_millis(700);
/// Names that differ by no more than this are suggested.
const SIMILARITY_MIN: f64 = 0.75;

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
        let body = &request.body;
        let answer = match verb {
            Verb::Apply => json(&self.apply(read(body)?).await?),
            Verb::Create => json(&self.create(read(body)?).await?),
            Verb::Start | Verb::Stop | Verb::Restart | Verb::Reload => {
                json(&self.act(verb, read(body)?).await?)
            }
            Verb::Remove => json(&self.remove(read(body)?).await?),
            Verb::Status => json(&self.status(read(body)?).await?),
            Verb::Workers => json(&self.workers(&read(body)?).await?),
        };
        if !matches!(verb, Verb::Status | Verb::Workers) {
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

    /// Reads a program that must exist.
    async fn known(&self, name: &ProgramName) -> Result<Program, Refusal> {
        self.program(name).await?.0.ok_or_else(|| self.unknown(name.as_str()))
    }

    /// Waits, for a short while, until the view has everything that is on the bus now: so whoever
    /// was answered by another scheduler finds here what was answered there, also when this one was
    /// frozen meanwhile.
    async fn fresh(&self) -> Result<(), Refusal> {
        let last = |bucket| async move {
            let last = self.bus.get(bucket, ">").await.map_err(unavailable)?;
            Ok((bucket, last.map_or(0, |entry| entry.seq)))
        };
        let all = futures::future::try_join_all(Bucket::ALL.map(last)).await?;
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

    /// The instances that the names mean, by program, sorted and without repeats.
    async fn resolve(&self, names: &[Target]) -> Result<Vec<Meant>, Refusal> {
        self.fresh().await?;
        let mut meant: Vec<Meant> = Vec::new();
        for name in names {
            match name {
                Target::All => {
                    let core = self.shared.lock();
                    let all = core.view.programs.values().filter(|p| !p.value.removing);
                    meant.extend(all.map(|p| Meant { program: p.value.clone(), index: None }));
                }
                Target::Program(name) => {
                    let program = self.known(name).await?;
                    meant.push(Meant { program, index: None });
                }
                Target::Id(id) => {
                    let name = {
                        let core = self.shared.lock();
                        core.view
                            .programs
                            .values()
                            .find(|p| p.value.id == *id)
                            .map(|p| p.value.name.clone())
                    };
                    let Some(name) = name else {
                        return Err(Refusal::new(
                            code::NOT_FOUND,
                            format!("no program has the id {id}"),
                        ));
                    };
                    let program = self.known(&name).await?;
                    meant.push(Meant { program, index: None });
                }
                Target::Instance(InstanceId { program, index }) => {
                    let program = self.known(program).await?;
                    let placed = InstanceId::new(program.name.clone(), *index);
                    let retiring = self.shared.lock().view.placements.contains_key(&placed);
                    if *index >= program.spec.numprocs && !retiring {
                        let (name, n) = (&program.name, program.spec.numprocs);
                        let text =
                            format!("no instance {name}:{index}: {name} has {n}, from {name}:0");
                        return Err(Refusal::new(code::NOT_FOUND, text));
                    }
                    meant.push(Meant { program, index: Some(*index) });
                }
            }
        }
        meant.sort_by(|a, b| (&a.program.name, a.index).cmp(&(&b.program.name, b.index)));
        meant.dedup_by(|a, b| a.program.name == b.program.name && a.index == b.index);
        // A program that is meant whole covers its instances that are named, too.
        let whole: Vec<_> =
            meant.iter().filter(|m| m.index.is_none()).map(|m| m.program.name.clone()).collect();
        meant.retain(|m| m.index.is_none() || !whole.contains(&m.program.name));
        Ok(meant)
    }

    fn unknown(&self, name: &str) -> Refusal {
        let core = self.shared.lock();
        let near = nearest(name, core.view.programs.keys().map(ProgramName::as_str));
        let hint = near.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
        Refusal::new(code::NOT_FOUND, format!("no program is named {name:?}{hint}"))
    }
}

/// The known name that is most like `name`, if one is; case does not count.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .map(|known| (strsim::jaro_winkler(&name, &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// A program, or one instance of it, that a command is about.
#[derive(Debug, Clone)]
struct Meant {
    program: Program,
    index: Option<u32>,
}

impl Meant {
    fn instances(&self) -> Vec<InstanceId> {
        match self.index {
            Some(index) => vec![InstanceId::new(self.program.name.clone(), index)],
            None => self.program.instances().collect(),
        }
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
