//! `addProcessGroup` and `removeProcessGroup`: a fleet has no file of which a group may be active or
//! not; what comes nearest is that its programs are disabled, or removed.

use std::time::Duration;

use dsbus_schema::command::Verb;
use dsbus_schema::ids::Target;
use dsbus_schema::status::DISABLED;

use super::call::Desk;
use super::fault::{Faults, Wrong};
use super::value::Value;
use crate::processes::Process;

/// How long programs may take to be gone: they do not run any more, but a worker may be busy.
const GONE_MAX: Duration = Duration::from_secs(60);

/// Enables what is disabled; a group that is not is there already.
pub(super) async fn add(desk: &Desk, name: &str) -> Result<Value, Wrong> {
    let members = desk.view()?.group(name)?;
    let disabled = |one: &&Process| one.row.reason.as_deref() == Some(DISABLED);
    let disabled = members.iter().map(AsRef::as_ref).filter(disabled);
    let mut names: Vec<Target> =
        disabled.map(|one| Target::Program(one.row.program.clone())).collect();
    names.dedup();
    if names.is_empty() {
        return Err(Faults::AlreadyAdded.about(name));
    }
    let acted = desk.fleet.act(&desk.caller.user, Verb::Enable, names).await?;
    let until = desk
        .fleet
        .until(acted, GONE_MAX, |_, row| {
            row.is_none_or(|row| row.reason.as_deref() != Some(DISABLED)).then_some(())
        })
        .await;
    all_or(until.late.is_empty(), "some of it are not enabled yet")
}

/// Removes the programs of a group, all of which have stopped.
pub(super) async fn remove(desk: &Desk, name: &str) -> Result<Value, Wrong> {
    let members = desk.view()?.group(name)?;
    if desk.worker.is_some() {
        let said =
            "what is declared is the fleet's, and not one worker's: ask at /RPC2 of the fleet";
        return Err(Faults::Failed.about(said));
    }
    if members.iter().any(|one| !one.stopped()) {
        return Err(Faults::StillRunning.about(name));
    }
    let mut names: Vec<Target> =
        members.iter().map(|one| Target::Program(one.row.program.clone())).collect();
    names.dedup();
    let acted = desk.fleet.act(&desk.caller.user, Verb::Remove, names).await?;
    let gone = |row: Option<&_>| row.is_none().then_some(());
    let until = desk.fleet.until(acted, GONE_MAX, |_, row| gone(row)).await;
    all_or(until.late.is_empty(), "some of it are not gone yet")
}

fn all_or(all: bool, said: &str) -> Result<Value, Wrong> {
    if all { Ok(true.into()) } else { Err(Faults::Failed.about(said)) }
}
