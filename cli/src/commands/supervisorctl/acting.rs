//! What changes processes: asked of the fleet, waited for, and told as Supervisor's faults.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::command::{self, Acted, Verb, code};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{InstanceId, Target};
use dsbus_schema::program::Signal;
use dsbus_schema::status::InstanceRow;
use tokio::time::Instant;

use super::controller::targets;
use crate::commands::act::envelope;
use crate::commands::{clear, signal};
use crate::connection::Connection;
use crate::failure::Failure;
use crate::wait::{self, Goal, Want};
use crate::{describe, output};
use dsbus_gateway::faults::{Fault, started, stopped};
use dsbus_gateway::processes::Process;

/// How long a start or a stop is waited for. Supervisor waits for ever; a fleet can lack a machine
/// for it.
const DONE_MAX: Duration = Duration::from_secs(60);

/// Starts processes, and waits until each runs or its first try has failed.
///
/// # Errors
/// When nobody answers.
pub(super) async fn start(c: &Connection, processes: &[&Process]) -> Result<Vec<Fault>, Failure> {
    let faults = act(c, Verb::Start, processes, started).await?;
    // Supervisor does not even try these; here they would be tried again.
    let tried = processes.iter().zip(&faults).filter(|(_, fault)| fault.is_early());
    let tried: Vec<&Process> = tried.map(|(one, _)| *one).collect();
    act(c, Verb::Stop, &tried, stopped).await?;
    Ok(faults)
}

/// Stops processes, and waits until they have stopped.
///
/// # Errors
/// When nobody answers.
pub(super) async fn stop(c: &Connection, processes: &[&Process]) -> Result<Vec<Fault>, Failure> {
    act(c, Verb::Stop, processes, stopped).await
}

async fn act(
    connection: &Connection,
    verb: Verb,
    processes: &[&Process],
    judge: fn(&Wanted, &InstanceRow) -> Option<Fault>,
) -> Result<Vec<Fault>, Failure> {
    if processes.is_empty() {
        return Ok(Vec::new());
    }
    let names = targets(processes);
    let request = command::Act::new(envelope(), names.clone());
    let acted: Acted = match connection.bus.command(verb, &request).await {
        Ok(acted) => acted,
        Err(Error::Refused { code, text, .. }) if code != code::UNAVAILABLE => {
            return Ok(vec![Fault::Refused(text); processes.len()]);
        }
        Err(e) => return Err(connection.explain(e).await),
    };
    let mut left: BTreeMap<InstanceId, Wanted> =
        acted.instances.into_iter().map(|one| (one.name, one.wanted)).collect();
    let mut faults: BTreeMap<InstanceId, Fault> = BTreeMap::new();
    let deadline = Instant::now() + DONE_MAX;
    let mut feed = wait::feed(connection).await;
    loop {
        let rows = connection.status(&names).await?;
        let over = Instant::now() >= deadline;
        for row in rows {
            let Some(wanted) = left.get(&row.name) else { continue };
            let fault = judge(wanted, &row).or_else(|| {
                over.then(|| {
                    output::note(format_args!("{}: {}", row.name, describe::state(&row)));
                    Fault::AbnormalTermination
                })
            });
            if let Some(fault) = fault {
                left.remove(&row.name);
                faults.insert(row.name, fault);
            }
        }
        if left.is_empty() || over {
            let fault = |one: &&Process| faults.remove(&one.row.name).unwrap_or(Fault::Failed);
            return Ok(processes.iter().map(fault).collect());
        }
        wait::pause(&mut feed, deadline).await;
    }
}

/// Empties the logs of processes; one that is nowhere has none.
pub(super) async fn clear(c: &Connection, processes: &[&Process]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for one in processes {
        let done = one.row.worker.is_none() || clear::clear(c, &one.row).await.is_ok();
        faults.push(if done { Fault::None } else { Fault::Failed });
    }
    faults
}

/// Sends a signal to a process.
pub(super) async fn signal(c: &Connection, signal: &str, process: &Process) -> Fault {
    let Ok(signal) = signal.to_uppercase().parse::<Signal>() else { return Fault::BadSignal };
    if !process.signallable() {
        return Fault::NotRunning;
    }
    match signal::send(c, &process.row, signal).await {
        Ok(_) => Fault::None,
        Err(failure) => Fault::Refused(failure.message),
    }
}

/// Removes the programs of processes, and waits until they are gone.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn remove(c: &Connection, processes: &[&Process]) -> Result<(), Failure> {
    let mut names: Vec<Target> =
        processes.iter().map(|one| Target::Program(one.row.program.clone())).collect();
    names.dedup();
    let request = command::Act::new(envelope(), names);
    let acted: Acted = c.command(Verb::Remove, &request).await?;
    let wants: Vec<Want> =
        acted.instances.into_iter().map(|one| Want { name: one.name, goal: Goal::Gone }).collect();
    wait::wait(c, &wants, DONE_MAX, |_| Ok(())).await?;
    Ok(())
}
