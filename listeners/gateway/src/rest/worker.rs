//! `/workers`.

use dsbus_schema::command::{Envelope, Verb, WorkerAct, WorkerActed};
use dsbus_schema::ids::WorkerName;
use dsbus_schema::status::WorkerRow;
use uuid::Uuid;

use super::answer::{Json, Shared};
use super::api::{Api, Call};
use super::look;
use super::refusal::Refusal;

/// What can be done with a worker, and what that is.
const VERBS: [(Verb, &str); 5] = [
    (Verb::Drain, "Gives its instances away, and takes no new ones"),
    (Verb::Undrain, "Takes instances again"),
    (Verb::Cordon, "Takes no new instances, and keeps those that it has"),
    (Verb::Uncordon, "Takes new instances again"),
    (Verb::Forget, "Forgets it; only one that is lost"),
];

pub(super) fn add(api: Api) -> Api {
    let mut api = api.get("/workers", "Workers, as they stand", list).get(
        "/workers/{name}",
        "A worker, as it stands",
        one,
    );
    for (verb, about) in VERBS {
        let path = format!("/workers/{{name}}/{}", verb.name());
        api = api.post(&path, about, move |call| acts(verb, call));
    }
    api
}

async fn list(call: Call) -> Result<Json<Vec<Shared<WorkerRow>>>, Refusal> {
    Ok(Json(look::known(&call.gateway)?.workers().values().map(Shared::of).collect()))
}

fn name(text: &str) -> Result<WorkerName, Refusal> {
    text.parse().map_err(|_| Refusal::no("worker", text))
}

async fn one(call: Call) -> Result<Json<Shared<WorkerRow>>, Refusal> {
    let name = name(&call.name)?;
    let found = look::known(&call.gateway)?.workers().get(&name).cloned();
    found.map(Shared).map(Json).ok_or_else(|| Refusal::no("worker", &call.name))
}

async fn acts(verb: Verb, call: Call) -> Result<Json<WorkerActed>, Refusal> {
    let envelope = Envelope { id: Some(Uuid::now_v7()), version: None };
    let act = WorkerAct { envelope, names: vec![name(&call.name)?] };
    let fleet = &call.gateway.fleet;
    let mut acted: Vec<WorkerActed> = fleet.command(&call.caller.user, verb, &act).await?;
    acted.pop().map(Json).ok_or_else(|| Refusal::no("worker", &call.name))
}
