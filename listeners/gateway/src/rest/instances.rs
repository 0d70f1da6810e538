//! `/instances`.

use std::sync::Arc;
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::call::{
    Clear, Cleared, STDIN_BYTES_MAX, STDIN_PAUSE_MAX, SignalAsk, SignalSent, StdinAsk, StdinTaken,
};
use dsbus_schema::command::{Explanation, Verb, code};
use dsbus_schema::ids::{Epoch, InstanceId, ProgramName, Target, WorkerName};
use dsbus_schema::program::Signal;
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::act::{self, ActedRows, Patience};
use super::answer::{Json, Shared};
use super::api::{Api, Call};
use super::given::{Given, Nothing};
use super::refusal::Refusal;
use super::{log, look, wait};
use crate::http::Gateway;

/// How long a worker may take: it waits 5 s for its supervisor.
const ANSWER_MAX: Duration = Duration::from_secs(7);
/// How long a child may take to read what is written to it.
const READ_MAX: Duration = Duration::from_secs(15);

pub(super) fn add(api: Api) -> Api {
    let mut api = api
        .get("/instances", "Instances, as they stand", list)
        .get("/instances/{name}", "An instance, as it stands", one)
        .get("/instances/{name}/explain", "Why it is where it is, or waits", explain)
        .get("/instances/{name}/log", "What it printed, and prints", log::log)
        .post("/instances/{name}/signal", "Sends a signal to its process", signal)
        .post("/instances/{name}/stdin", "Writes to its standard input", stdin)
        .post("/instances/{name}/clear", "Empties its logs", clear);
    for verb in act::VERBS {
        let path = format!("/instances/{{name}}/{}", verb.name());
        api =
            api.post(&path, &format!("Does {} with it", verb.name()), move |call| acts(verb, call));
    }
    api
}

/// Which instances.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Only those of this program.
    #[serde(default)]
    program: Option<ProgramName>,
    /// Only those on this worker.
    #[serde(default)]
    worker: Option<WorkerName>,
    /// Only those in this state.
    #[serde(default)]
    state: Option<State>,
    /// Only those of this group's programs.
    #[serde(default)]
    group: Option<ProgramName>,
}

impl Given for Which {}

async fn list(call: Call<Which>) -> Result<Json<Vec<Shared<InstanceRow>>>, Refusal> {
    let Which { program, worker, state, group } = call.query;
    let known = look::known(&call.gateway)?;
    let of_group = |row: &InstanceRow, group: &ProgramName| {
        let spec = known.programs().get(&row.program).map(|program| &program.spec);
        spec.and_then(|spec| spec.group.as_ref()).unwrap_or(&row.program) == group
    };
    let fits = |row: &&Arc<InstanceRow>| {
        program.as_ref().is_none_or(|program| *program == row.program)
            && worker.as_ref().is_none_or(|worker| row.worker.as_ref() == Some(worker))
            && state.is_none_or(|state| state == row.state)
            && group.as_ref().is_none_or(|group| of_group(row, group))
    };
    Ok(Json(known.rows().values().filter(fits).map(Shared::of).collect()))
}

/// The row of an instance that a path names.
///
/// # Errors
/// When there is none.
pub(super) fn row(gateway: &Gateway, name: &str) -> Result<Arc<InstanceRow>, Refusal> {
    let known = look::known(gateway)?;
    let id: Option<InstanceId> = name.parse().ok();
    let row = id.and_then(|id| known.rows().get(&id).cloned());
    row.ok_or_else(|| Refusal::no("instance", name))
}

fn target(name: &str) -> Result<InstanceId, Refusal> {
    name.parse().map_err(|_| Refusal::no("instance", name))
}

async fn one(call: Call) -> Result<Json<Shared<InstanceRow>>, Refusal> {
    row(&call.gateway, &call.name).map(Shared).map(Json)
}

async fn explain(call: Call) -> Result<Json<Explanation>, Refusal> {
    let names = [Target::Instance(target(&call.name)?)];
    let (gateway, user) = (&call.gateway, &call.caller.user);
    let last = |one: &Explanation| one.name.clone();
    let mut all = look::all(gateway, user, Verb::Explain, &names, last).await?;
    all.pop().map(Json).ok_or_else(|| Refusal::no("instance", &call.name))
}

async fn acts(verb: Verb, call: Call<Patience>) -> Result<ActedRows, Refusal> {
    let names = vec![Target::Instance(target(&call.name)?)];
    act::act((&call.gateway, &call.caller.user), verb, names, &call.query).await
}

/// The child that is meant.
struct Child {
    worker: WorkerName,
    name: InstanceId,
    epoch: Epoch,
    pid: i32,
}

fn child(gateway: &Gateway, name: &str) -> Result<Child, Refusal> {
    let row = row(gateway, name)?;
    match (&row.worker, row.pid) {
        (Some(worker), Some(pid)) => {
            Ok(Child { worker: worker.clone(), name: row.name.clone(), epoch: row.epoch, pid })
        }
        _ => Err(Refusal::new(
            code::CONFLICT,
            format!("{name} has no process: it is {}", wait::describe(&row)),
        )),
    }
}

/// Which signal.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ToSend {
    /// By name (`USR1`, `SIGUSR1`) or number.
    signal: Signal,
}

impl Given for ToSend {}

async fn signal(call: Call<Nothing, ToSend>) -> Result<Json<SignalSent>, Refusal> {
    let Child { worker, name, epoch, pid } = child(&call.gateway, &call.name)?;
    let ask =
        SignalAsk { name, epoch, pid, signal: call.body.signal, by: call.caller.user.clone() };
    let bus = call.gateway.fleet.bus().speaking_for(call.caller.user);
    let sent = bus.hand(&worker, Verb::Signal, &ask, ANSWER_MAX).await;
    sent.map(Json).map_err(|e| Refusal::of_worker(&worker, e))
}

/// What to write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ToWrite {
    /// As it is: whoever wants the end of a line says `\n`.
    text: String,
    /// Close it behind that.
    #[serde(default)]
    eof: bool,
}

impl Given for ToWrite {}

/// How much was written.
#[derive(Debug, Serialize, JsonSchema)]
struct Written {
    /// To whom.
    name: InstanceId,
    /// Bytes.
    bytes: u64,
}

async fn stdin(call: Call<Nothing, ToWrite>) -> Result<Json<Written>, Refusal> {
    let Child { worker, name, epoch, pid } = child(&call.gateway, &call.name)?;
    let ToWrite { text, eof } = call.body;
    let (bus, writer, deadline) = (
        call.gateway.fleet.bus().speaking_for(call.caller.user.clone()),
        Uuid::now_v7(),
        Instant::now() + READ_MAX,
    );
    let mut written = 0;
    loop {
        let left = &text.as_bytes()[written..];
        let part = &left[..left.len().min(STDIN_BYTES_MAX)];
        let ask = StdinAsk {
            name: name.clone(),
            epoch,
            pid,
            writer,
            offset: written as u64,
            base64: StdinAsk::encoded(part),
            eof: eof && part.len() == left.len(),
            by: call.caller.user.clone(),
        };
        let taken: Result<StdinTaken, Error> =
            bus.hand(&worker, Verb::Stdin, &ask, ANSWER_MAX).await;
        let taken = taken.map_err(|e| Refusal::of_worker(&worker, e))?;
        written = usize::try_from(taken.through).unwrap_or(usize::MAX).min(text.len());
        if written == text.len() && (!eof || taken.closed) {
            return Ok(Json(Written { name, bytes: written as u64 }));
        }
        if Instant::now() >= deadline {
            let why = format!("{name} does not read: it took {written} of {} bytes", text.len());
            return Err(Refusal::new(code::CONFLICT, why));
        }
        // It is full; the child has to read first.
        if part.len() < STDIN_BYTES_MAX || taken.through == ask.offset {
            sleep(STDIN_PAUSE_MAX / 10).await;
        }
    }
}

async fn clear(call: Call) -> Result<Json<Cleared>, Refusal> {
    let row = row(&call.gateway, &call.name)?;
    let Some(worker) = &row.worker else {
        let why = format!("{} is on no worker: {}", row.name, wait::describe(&row));
        return Err(Refusal::new(code::CONFLICT, why));
    };
    let ask = Clear { name: row.name.clone(), forget: false };
    let bus = call.gateway.fleet.bus().speaking_for(call.caller.user.clone());
    let cleared = bus.hand(worker, Verb::Clear, &ask, ANSWER_MAX).await;
    cleared.map(Json).map_err(|e| Refusal::of_worker(worker, e))
}
