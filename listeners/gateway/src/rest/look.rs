//! What is looked at, and not changed: who asks, groups, what happens.

use std::sync::RwLockReadGuard;

use dsbus_schema::command::{ANSWER_BYTES_MAX, Ask, GroupRow, RolloutRow, Verb, code};
use dsbus_schema::ids::{FleetName, InstanceId, ProgramName, Target, UserName};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::{Json, Live};
use super::api::{Api, Call};
use super::refusal::Refusal;
use crate::fleet::Known;
use crate::http::{Caller, Gateway};

pub(super) fn add(api: Api) -> Api {
    api.get("/me", "Who asks, and whether what is known is current", me)
        .get("/stream", "What happens, from now on", stream)
        .get("/groups", "Groups, as they stand", groups)
        .get("/rollouts", "Rollouts that are going on", rollouts)
}

/// Who asks, and what he asks.
#[derive(Debug, Serialize, JsonSchema)]
struct Me {
    /// His name; `anonymous` where nobody has to say one.
    user: UserName,
    /// `viewer` (looks) or `operator` (acts).
    role: String,
    /// What a page sends as header `X-CSRF-Token` with whatever it changes, where its cookie says who
    /// it is.
    token: Option<String>,
    /// The fleet.
    fleet: FleetName,
    /// Why no scheduler answers, while none does: what is known grows old.
    silent: Option<String>,
    /// dsbus version of the gateway.
    version: String,
}

async fn me(call: Call) -> Result<Json<Me>, Refusal> {
    let Caller { user, role, token } = call.caller;
    Ok(Json(Me {
        user,
        role: role.name().to_owned(),
        token,
        fleet: call.gateway.fleet.bus().fleet().clone(),
        silent: call.gateway.fleet.known().silent().map(str::to_owned),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

async fn stream(call: Call) -> Result<Live, Refusal> {
    Ok(Live(call.gateway.stream.read()))
}

async fn groups(call: Call) -> Result<Json<Vec<GroupRow>>, Refusal> {
    let last = |row: &GroupRow| InstanceId::new(row.name.clone(), 0);
    Ok(Json(all(&call.gateway, &call.caller.user, Verb::Groups, &[], last).await?))
}

async fn rollouts(call: Call) -> Result<Json<Vec<RolloutRow>>, Refusal> {
    let last = |row: &RolloutRow| InstanceId::new(row.program.clone(), 0);
    Ok(Json(all(&call.gateway, &call.caller.user, Verb::Rollouts, &[], last).await?))
}

/// What is known.
///
/// # Errors
/// While not everything was heard.
pub(super) fn known(gateway: &Gateway) -> Result<RwLockReadGuard<'_, Known>, Refusal> {
    let known = gateway.fleet.known();
    if known.is_complete() {
        Ok(known)
    } else {
        Err(Refusal::new(code::UNAVAILABLE, "the fleet is not known yet; ask again in a second"))
    }
}

/// All rows of an answer that comes in parts; `last` is where the next one begins.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn all<T: DeserializeOwned + Serialize + Sync>(
    gateway: &Gateway,
    user: &UserName,
    verb: Verb,
    names: &[Target],
    last: impl Fn(&T) -> InstanceId,
) -> Result<Vec<T>, Refusal> {
    let mut ask = Ask { names: names.to_vec(), ..Ask::default() };
    let mut rows: Vec<T> = Vec::new();
    loop {
        let part: Vec<T> = gateway.fleet.command(user, verb, &ask).await?;
        // Parts are ended by a row of less than half of one; a smaller part is the last.
        let bytes = serde_json::to_vec(&part).map_or(0, |part| part.len());
        rows.extend(part);
        ask.after = rows.last().map(&last);
        if bytes < ANSWER_BYTES_MAX / 2 {
            return Ok(rows);
        }
    }
}

/// A program's name out of a path.
///
/// # Errors
/// When no program can be named so.
pub(super) fn program_name(text: &str) -> Result<ProgramName, Refusal> {
    text.parse().map_err(|_| Refusal::no("program", text))
}
