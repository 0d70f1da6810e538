//! What changes processes: asked of the fleet, waited for, and told as Supervisor's faults.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::command::{self, Acted, Verb, code};
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{InstanceId, Target};
use dsbus_schema::program::Signal;
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;
use tokio::time::Instant;

use super::controller::targets;
use super::processes::Process;
use crate::commands::act::envelope;
use crate::commands::{clear, signal};
use crate::connection::Connection;
use crate::describe::Unstarted;
use crate::failure::Failure;
use crate::wait::{self, Goal, Want};
use crate::{describe, output};

/// How long a start or a stop is waited for. Supervisor waits for ever; a fleet can lack a machine
/// for it.
const DONE_MAX: Duration = Duration::from_secs(60);

/// How an action on a process ended: Supervisor's faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It did not fail.
    None,
    BadName,
    NoFile,
    NotExecutable,
    AlreadyStarted,
    NotRunning,
    SpawnError,
    AbnormalTermination,
    BadSignal,
    Failed,
    /// Refused, for a reason of ours.
    Refused(String),
}

impl Fault {
    /// What is told; nothing of a success.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Fault::None => None,
            Fault::BadName => Some("no such process"),
            Fault::NoFile => Some("no such file"),
            Fault::NotExecutable => Some("file is not executable"),
            Fault::AlreadyStarted => Some("already started"),
            Fault::NotRunning => Some("not running"),
            Fault::SpawnError => Some("spawn error"),
            Fault::AbnormalTermination => Some("abnormal termination"),
            Fault::BadSignal => Some("bad signal name"),
            Fault::Failed => Some("failed"),
            Fault::Refused(why) => Some(why),
        }
    }

    /// The exit code of supervisorctl.
    pub(super) fn code(&self) -> u8 {
        match self {
            Fault::None | Fault::AlreadyStarted | Fault::NotRunning => 0,
            Fault::SpawnError | Fault::AbnormalTermination => 7,
            Fault::BadName
            | Fault::NoFile
            | Fault::NotExecutable
            | Fault::BadSignal
            | Fault::Failed
            | Fault::Refused(_) => 1,
        }
    }

    /// Whether Supervisor knows it before it starts anything.
    pub(super) fn is_early(&self) -> bool {
        matches!(self, Fault::NoFile | Fault::NotExecutable)
    }
}

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

/// What became of a start; `None` while that is open.
fn started(wanted: &Wanted, row: &InstanceRow) -> Option<Fault> {
    if row.acted.run != wanted.run || row.acted.starts < wanted.starts {
        return None;
    }
    match row.state {
        State::Running | State::Exited => Some(Fault::None),
        State::Backoff | State::Fatal => Some(failed(row)),
        State::Stopped | State::Pending | State::Starting | State::Stopping | State::Unknown => {
            None
        }
    }
}

/// Why a try failed.
fn failed(row: &InstanceRow) -> Fault {
    match row.spawnerr.as_deref().map(Unstarted::of) {
        Some(Unstarted::NoFile(_)) => Fault::NoFile,
        Some(Unstarted::NotExecutable) => Fault::NotExecutable,
        // Supervisor notes a spawn error of one that ended too early, too.
        Some(Unstarted::NoInterpreter | Unstarted::Refused | Unstarted::Other) | None => {
            Fault::SpawnError
        }
    }
}

/// What became of a stop; `None` while that is open.
fn stopped(wanted: &Wanted, row: &InstanceRow) -> Option<Fault> {
    let acted = row.acted.run == wanted.run;
    (acted && !row.state.may_have_child() && row.pid.is_none()).then_some(Fault::None)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_start_failed() {
        let mut row: InstanceRow = serde_json::from_value(serde_json::json!({
            "name": "web:0", "id": "00000000-0000-0000-0000-000000000001", "program": "web",
            "index": 0, "state": "BACKOFF", "statecode": 30, "worker": "w1", "pid": null,
            "epoch": 1, "revision": 1, "since": null, "restarts": 0, "exit": null, "reason": null,
            "spawnerr": null, "stderr_line": null, "stdout_logfile": null, "stderr_logfile": null,
            "wanted": { "run": true, "starts": 1, "restarts": 0, "reloads": 0 },
            "acted": { "run": true, "starts": 1, "restarts": 0, "reloads": 0 }, "ok": false,
        }))
        .unwrap();
        for (why, fault) in [
            (None, Fault::SpawnError),
            (Some("/no/such does not exist"), Fault::NoFile),
            (Some("no file such is in any directory of PATH (/bin)"), Fault::NoFile),
            (Some("/etc/passwd is not executable: it has mode 644"), Fault::NotExecutable),
            (Some("/etc is a directory, and cannot be executed"), Fault::NotExecutable),
            (Some("there is no user nobody-such"), Fault::SpawnError),
            (Some("directory /no/such does not exist"), Fault::SpawnError),
        ] {
            row.spawnerr = why.map(str::to_owned);
            let wanted = row.wanted;
            assert_eq!(started(&wanted, &row), Some(fault), "{why:?}");
            // An older failure says nothing of this start.
            assert_eq!(started(&Wanted { starts: 2, ..wanted }, &row), None);
        }
    }
}
