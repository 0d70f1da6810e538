//! Start, stop and their like, of one, of many, and waiting for it.

use std::time::Duration;

use dsbus_schema::command::Verb;
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{InstanceId, Target};
use dsbus_schema::lenient::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Json;
use super::api::{Api, Call};
use super::given::Given;
use super::refusal::Refusal;
use super::wait::{self, Goal, Verdict};
use crate::http::Gateway;

/// Longest that an answer waits. Whoever is between would give up a longer one.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// What can be done with instances: the last part of a path.
pub(super) const VERBS: [Verb; 6] =
    [Verb::Start, Verb::Stop, Verb::Restart, Verb::Reload, Verb::Enable, Verb::Disable];

pub(super) fn add(api: Api) -> Api {
    api.post("/act", "Acts on many at once", many)
}

/// Whether the answer waits.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Patience {
    /// Answer when it is so, or this time is up, at most ten minutes: `30`, `30s`, `500ms`. Else at once.
    #[serde(default)]
    #[schemars(
        with = "String",
        regex(pattern = r"^([1-5]?[0-9]{1,2}(\.[0-9]+)?|[1-5]?[0-9]{1,2}(ms|s)|600s?)$")
    )]
    wait: Option<Span>,
}

impl Given for Patience {}

/// What can be done with many.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Deed {
    Start,
    Stop,
    Restart,
    Reload,
    Enable,
    Disable,
    Remove,
}

impl Deed {
    fn verb(self) -> Verb {
        match self {
            Deed::Start => Verb::Start,
            Deed::Stop => Verb::Stop,
            Deed::Restart => Verb::Restart,
            Deed::Reload => Verb::Reload,
            Deed::Enable => Verb::Enable,
            Deed::Disable => Verb::Disable,
            Deed::Remove => Verb::Remove,
        }
    }
}

/// Acts on many at once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Many {
    /// What to do.
    verb: Deed,
    /// With what.
    #[schemars(length(min = 1))]
    names: Vec<Target>,
}

impl Given for Many {}

/// What is wanted of an instance now, and, where that was waited for, what became of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ActedRow {
    /// The instance.
    name: InstanceId,
    /// What is wanted of it now.
    wanted: Wanted,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Outcome>,
    /// How it stands, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// It is so.
    Done,
    /// It will not be so by itself.
    Failed,
    /// The time was up.
    Waiting,
}

/// By name.
pub(super) type ActedRows = Json<Vec<ActedRow>>;

async fn many(call: Call<Patience, Many>) -> Result<ActedRows, Refusal> {
    let Many { verb, names } = call.body;
    if names.is_empty() {
        return Err(Refusal::bad("names", "name at least one; \"all\" is everything"));
    }
    let who = (&call.gateway, &call.caller.user);
    act(who, verb.verb(), names, &call.query).await
}

/// Acts, and waits if that is wanted.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn act(
    (gateway, user): (&Gateway, &dsbus_schema::ids::UserName),
    verb: Verb,
    names: Vec<Target>,
    patience: &Patience,
) -> Result<ActedRows, Refusal> {
    let limit = patience.wait.map(|span| span.0);
    if limit.is_some_and(|limit| limit > WAIT_MAX) {
        return Err(Refusal::bad("wait", "at most ten minutes; ask again after that"));
    }
    let acted = gateway.fleet.act(user, verb, names).await?;
    let mut verdicts = match limit {
        Some(limit) => wait::wait(&gateway.fleet, acted.clone(), Goal::of(verb), limit).await,
        None => std::collections::BTreeMap::new(),
    };
    let row = |one: dsbus_schema::command::ActedInstance| {
        let (result, detail) = match verdicts.remove(&one.name) {
            None => (None, None),
            Some(Verdict::Done(how)) => (Some(Outcome::Done), Some(how)),
            Some(Verdict::Failed(why)) => (Some(Outcome::Failed), Some(why)),
            Some(Verdict::Waiting(how)) => (Some(Outcome::Waiting), Some(how)),
        };
        ActedRow { name: one.name, wanted: one.wanted, result, detail }
    };
    Ok(Json(acted.into_iter().map(row).collect()))
}
