//! `/programs`: what is declared. Values of environments are secrets, and stay here.

use std::sync::Arc;

use dsbus_schema::command::{
    Applied, Apply, Create, Envelope, RevisionRow, RolloutAct, RolloutRow, RolloutStep, Scale, Verb,
};
use dsbus_schema::ids::{InstanceId, ProgramId, ProgramName, Target, UserName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::program::{Command, NUMPROCS_MAX, Program, ProgramSpec};
use dsbus_schema::rollout::{Rollout, RolloutState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use uuid::Uuid;

use axum::http::Method;
use axum::routing::MethodFilter;

use super::act::{self, ActedRows, Patience};
use super::answer::Json;
use super::api::{Api, Call};
use super::given::{Given, Nothing};
use super::look::{self, program_name};
use super::refusal::Refusal;
use crate::http::Gateway;

pub(super) fn add(api: Api) -> Api {
    let put = (Method::PUT, MethodFilter::PUT);
    let delete = (Method::DELETE, MethodFilter::DELETE);
    let mut api = api
        .get("/programs", "What is declared", list)
        .route(put, "/programs", "Declares programs: all of them, or none", apply)
        .get("/programs/{name}", "A declaration, without the values of its environment", one)
        .post("/programs/{name}", "Declares a new program", create)
        .route(delete, "/programs/{name}", "Stops its instances, and forgets it", remove)
        .post("/programs/{name}/scale", "Changes how many copies it has", scale)
        .get("/programs/{name}/history", "Its revisions, oldest first", history)
        .post("/programs/{name}/rollout", "Steers its rollout", rollout);
    for verb in act::VERBS {
        let path = format!("/programs/{{name}}/{}", verb.name());
        let about = format!("Does {} with all of its instances", verb.name());
        api = api.post(&path, &about, move |call| acts(verb, call));
    }
    api
}

/// A program in a list.
#[derive(Debug, Serialize, JsonSchema)]
struct ProgramRow {
    /// Its name.
    name: ProgramName,
    /// Its identity.
    id: ProgramId,
    /// Its revision.
    revision: u64,
    /// Its group; its own name where it has none.
    group: ProgramName,
    /// How many copies it has.
    numprocs: u32,
    /// What runs.
    command: Command,
    /// Whether it starts by itself.
    autostart: bool,
    /// It is being removed.
    removing: bool,
    /// Its rollout, while there is one.
    rollout: Option<RolloutInfo>,
    /// When this revision was declared.
    changed: Option<Timestamp>,
    /// By whom.
    by: Option<UserName>,
}

/// A rollout that is not over.
#[derive(Debug, Serialize, JsonSchema)]
struct RolloutInfo {
    /// The revision before.
    stable: u64,
    /// How far it may go.
    state: RolloutState,
    /// The canaries were found good, or there are none.
    promoted: bool,
    /// Why it is in this state.
    reason: Option<String>,
    /// When it began.
    since: Timestamp,
}

impl RolloutInfo {
    fn of(rollout: &Rollout) -> RolloutInfo {
        RolloutInfo {
            stable: rollout.stable.revision,
            state: rollout.state,
            promoted: rollout.promoted,
            reason: rollout.reason.clone(),
            since: rollout.since,
        }
    }
}

impl ProgramRow {
    fn of(program: &Arc<Program>) -> ProgramRow {
        let spec = &program.spec;
        ProgramRow {
            name: program.name.clone(),
            id: program.id,
            revision: program.revision,
            group: spec.group.clone().unwrap_or_else(|| program.name.clone()),
            numprocs: spec.numprocs,
            command: spec.command.clone(),
            autostart: spec.autostart,
            removing: program.removing,
            rollout: program.rollout.as_deref().map(RolloutInfo::of),
            changed: program.changed,
            by: program.by.clone(),
        }
    }
}

async fn list(call: Call) -> Result<Json<Vec<ProgramRow>>, Refusal> {
    Ok(Json(look::known(&call.gateway)?.programs().values().map(ProgramRow::of).collect()))
}

/// A declaration.
#[derive(Debug, Serialize, JsonSchema)]
struct Declared {
    /// As in the list.
    #[serde(flatten)]
    row: ProgramRow,
    /// Every key of the declaration; `environment` has the names, and null for each value.
    spec: Map<String, Value>,
}

async fn one(call: Call) -> Result<Json<Declared>, Refusal> {
    let name = program_name(&call.name)?;
    let program = look::known(&call.gateway)?.programs().get(&name).cloned();
    let program = program.ok_or_else(|| Refusal::no("program", &call.name))?;
    Ok(Json(Declared { row: ProgramRow::of(&program), spec: without_values(&program.spec) }))
}

/// A declaration that may leave the gateway.
fn without_values(spec: &ProgramSpec) -> Map<String, Value> {
    let Ok(Value::Object(mut spec)) = serde_json::to_value(spec) else { return Map::new() };
    if let Some(environment) = spec.get_mut("environment").and_then(Value::as_object_mut) {
        environment.values_mut().for_each(|value| *value = Value::Null);
    }
    spec
}

fn envelope() -> Envelope {
    Envelope { id: Some(Uuid::now_v7()), version: None }
}

/// Programs to declare.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ToDeclare {
    /// By name; each a table of the keys of a program.
    #[schemars(with = "BTreeMap<ProgramName, ProgramSpec>")]
    programs: BTreeMap<ProgramName, Map<String, Value>>,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
}

impl Given for ToDeclare {}

async fn apply(call: Call<Nothing, ToDeclare>) -> Result<Json<Applied>, Refusal> {
    let ToDeclare { programs, dry_run } = call.body;
    let apply = Apply { envelope: envelope(), programs, dry_run };
    Ok(Json(call.gateway.fleet.command(&call.caller.user, Verb::Apply, &apply).await?))
}

/// The keys of a program.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Keys(Map<String, Value>);

impl JsonSchema for Keys {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Keys".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<ProgramSpec>()
    }
}

impl Given for Keys {}

async fn create(call: Call<Nothing, Keys>) -> Result<Json<Applied>, Refusal> {
    let name = program_name(&call.name).map_err(|_| {
        Refusal::bad("name", "a program's name has letters, digits, _ and -, at most 64 of them")
    })?;
    let create = Create { envelope: envelope(), name, program: call.body.0 };
    Ok(Json(call.gateway.fleet.command(&call.caller.user, Verb::Create, &create).await?))
}

async fn remove(call: Call<Patience>) -> Result<ActedRows, Refusal> {
    acts(Verb::Remove, call).await
}

async fn acts(verb: Verb, call: Call<Patience>) -> Result<ActedRows, Refusal> {
    let names = vec![target(&call.gateway, &call.name)?];
    act::act((&call.gateway, &call.caller.user), verb, names, &call.query).await
}

/// The program that a path names: never a group, which the name would mean as well.
fn target(gateway: &Gateway, text: &str) -> Result<Target, Refusal> {
    let name = program_name(text)?;
    let known = look::known(gateway)?;
    let groups = |program: &Arc<Program>| program.spec.group.as_ref() == Some(&name);
    // One that was declared just now may not be known here yet.
    if !known.programs().contains_key(&name) && known.programs().values().any(groups) {
        return Err(Refusal::no("program", text));
    }
    drop(known);
    Ok(Target::Program(name))
}

/// How many copies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Copies {
    /// How many.
    #[schemars(range(min = 1, max = NUMPROCS_MAX))]
    numprocs: u32,
}

impl Given for Copies {}

async fn scale(call: Call<Nothing, Copies>) -> Result<Json<Applied>, Refusal> {
    let programs = BTreeMap::from([(program_name(&call.name)?, call.body.numprocs)]);
    let scale = Scale { envelope: envelope(), programs };
    Ok(Json(call.gateway.fleet.command(&call.caller.user, Verb::Scale, &scale).await?))
}

async fn history(call: Call) -> Result<Json<Vec<RevisionRow>>, Refusal> {
    let names = [target(&call.gateway, &call.name)?];
    let last = |row: &RevisionRow| InstanceId::new(row.program.clone(), 0);
    let (gateway, user) = (&call.gateway, &call.caller.user);
    Ok(Json(look::all(gateway, user, Verb::History, &names, last).await?))
}

/// What to do with a rollout.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "if" = { "required": ["to"], "properties": { "to": { "type": "integer" } } },
    "then" = { "properties": { "step": { "const": "undo" } } }
))]
struct Step {
    /// What.
    step: RolloutStep,
    /// For `undo`: the revision to go back to; the one before unless said.
    #[serde(default)]
    to: Option<u64>,
}

impl Given for Step {}

async fn rollout(call: Call<Nothing, Step>) -> Result<Json<Vec<RolloutRow>>, Refusal> {
    let names = vec![target(&call.gateway, &call.name)?];
    let Step { step, to } = call.body;
    let act = RolloutAct { envelope: envelope(), names, step, to };
    Ok(Json(call.gateway.fleet.command(&call.caller.user, Verb::Rollout, &act).await?))
}
