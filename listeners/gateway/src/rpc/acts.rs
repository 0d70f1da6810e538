//! Methods that change processes. What is asked of the fleet is asked in the caller's name, and waited
//! for until Supervisor would answer.

use std::sync::Arc;
use std::time::Duration;

use dsbus_client::Error;
use dsbus_schema::call::{Clear, Cleared, SignalAsk, SignalSent};
use dsbus_schema::command::Verb;
use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::Target;
use dsbus_schema::program::{ProgramSpec, Signal};
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;
use futures::StreamExt;
use futures::stream;

use super::call::Desk;
use super::fault::{self, Faults, Wrong};
use super::value::Value;
use super::view::Found;
use crate::faults::{Fault, started, stopped};
use crate::processes::{Process, by_priority};

/// How long a start or a stop is waited for, beyond what the program itself may take for it. Supervisor
/// waits for ever; a fleet can lack a machine for it.
const BEYOND: Duration = Duration::from_secs(60);
/// How long it is waited until a worker has begun, where nobody wants to wait for the end.
const BEGUN_MAX: Duration = Duration::from_secs(5);
/// How long a worker may take: it waits 5 s for its supervisor.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(7);
/// Workers that are asked at once.
const CALLS_MAX: usize = 32;

type Judge = fn(&Wanted, Option<&InstanceRow>) -> Option<Fault>;

/// `startProcess`.
pub(super) async fn start(desk: &Desk, name: &str, wait: bool) -> Result<Value, Wrong> {
    match desk.view()?.found(name)? {
        Found::Group(members) => Ok(start_many(desk, members, wait).await),
        Found::One(one) => {
            if one.runs() {
                return Err(Faults::AlreadyStarted.about(name));
            }
            if one.row.state == State::Unknown {
                let said = format!("{name} is in an unknown process state");
                return Err(Faults::Failed.about(said));
            }
            let fault = start_these(desk, &[&one], wait).await.remove(0);
            told(desk, &one, fault, name).map(|()| true.into())
        }
    }
}

/// `startProcessGroup`.
pub(super) async fn start_group(desk: &Desk, name: &str, wait: bool) -> Result<Value, Wrong> {
    let members = desk.view()?.group(name)?;
    Ok(start_many(desk, members, wait).await)
}

/// `startAllProcesses`.
pub(super) async fn start_all(desk: &Desk, wait: bool) -> Result<Value, Wrong> {
    let all = desk.view()?.all().to_vec();
    Ok(start_many(desk, all, wait).await)
}

/// `stopProcess`.
pub(super) async fn stop(desk: &Desk, name: &str, wait: bool) -> Result<Value, Wrong> {
    match desk.view()?.found(name)? {
        Found::Group(members) => Ok(stop_many(desk, members, wait).await),
        Found::One(one) => {
            if !one.runs() {
                return Err(Faults::NotRunning.about(name));
            }
            let fault = stop_these(desk, &[&one], wait).await.remove(0);
            told(desk, &one, fault, name).map(|()| true.into())
        }
    }
}

/// `stopProcessGroup`.
pub(super) async fn stop_group(desk: &Desk, name: &str, wait: bool) -> Result<Value, Wrong> {
    let members = desk.view()?.group(name)?;
    Ok(stop_many(desk, members, wait).await)
}

/// `stopAllProcesses`.
pub(super) async fn stop_all(desk: &Desk, wait: bool) -> Result<Value, Wrong> {
    let all = desk.view()?.all().to_vec();
    Ok(stop_many(desk, all, wait).await)
}

/// Those that do not run, in the order of their priorities.
async fn start_many(desk: &Desk, members: Vec<Arc<Process>>, wait: bool) -> Value {
    let due = by_priority(members.iter().map(AsRef::as_ref).filter(|one| !one.runs()).collect());
    let faults = start_these(desk, &due, wait).await;
    let told: Vec<(&Process, Fault)> = due.into_iter().zip(faults).collect();
    // As Supervisor: first those of which it knows at once.
    let (early, late): (Vec<_>, Vec<_>) =
        told.into_iter().partition(|(one, fault)| one.at_once || fault.is_early());
    statuses(desk, early.into_iter().chain(late))
}

/// Those that run, in the order of their priorities.
async fn stop_many(desk: &Desk, members: Vec<Arc<Process>>, wait: bool) -> Value {
    let due = by_priority(members.iter().map(AsRef::as_ref).filter(|one| one.runs()).collect());
    let faults = stop_these(desk, &due, wait).await;
    statuses(desk, due.into_iter().zip(faults))
}

async fn start_these(desk: &Desk, processes: &[&Process], wait: bool) -> Vec<Fault> {
    let faults = if wait {
        act(desk, Verb::Start, processes, |wanted, row| started(wanted, row?)).await
    } else {
        act_on(desk, Verb::Start, processes, begun, BEGUN_MAX, Some(Fault::None)).await
    };
    // Supervisor does not even try these; here they would be tried again. One that was given up before
    // is given up again, as it would be there: to stop it would hide that.
    let tried = processes
        .iter()
        .zip(&faults)
        .filter(|(one, fault)| fault.is_early() && one.row.state != State::Fatal);
    let tried: Vec<&Process> = tried.map(|(one, _)| *one).collect();
    act(desk, Verb::Stop, &tried, |wanted, row| stopped(wanted, row?)).await;
    faults
}

async fn stop_these(desk: &Desk, processes: &[&Process], wait: bool) -> Vec<Fault> {
    if wait {
        act(desk, Verb::Stop, processes, |wanted, row| stopped(wanted, row?)).await
    } else {
        act_on(desk, Verb::Stop, processes, begun, BEGUN_MAX, Some(Fault::None)).await
    }
}

/// Whether a worker has begun to do what is wanted, or has failed to.
fn begun(wanted: &Wanted, row: Option<&InstanceRow>) -> Option<Fault> {
    let row = row?;
    if !wanted.run {
        return (row.acted.run == wanted.run).then_some(Fault::None);
    }
    let begins = row.acted.run && row.acted.starts >= wanted.starts && row.pid.is_some();
    match started(wanted, row) {
        // What was born and ended at once was started.
        Some(Fault::SpawnError) if row.spawnerr.is_none() => Some(Fault::None),
        Some(ended) => Some(ended),
        None => begins.then_some(Fault::None),
    }
}

async fn act(desk: &Desk, verb: Verb, processes: &[&Process], judge: Judge) -> Vec<Fault> {
    let limit = processes.iter().map(|one| may_take(desk, verb, one)).max().unwrap_or_default();
    act_on(desk, verb, processes, judge, limit + BEYOND, None).await
}

/// How long a program may take to start, or to stop.
fn may_take(desk: &Desk, verb: Verb, process: &Process) -> Duration {
    let known = desk.fleet.known();
    let Some(program) = known.programs().get(&process.row.program) else { return BEYOND };
    let spec: &ProgramSpec = &program.spec;
    if verb == Verb::Start {
        let ready = if spec.waits_to_be_ready() { spec.start_timeout.0 } else { Duration::ZERO };
        return spec.startsecs.0.max(ready);
    }
    let wait = |step: &dsbus_schema::program::StopSignal| step.wait.unwrap_or(spec.stopwaitsecs).0;
    spec.stopsignal.steps().iter().map(wait).sum()
}

/// What became of each, in their order; `late` of one that had no end when the time was up.
async fn act_on(
    desk: &Desk,
    verb: Verb,
    processes: &[&Process],
    judge: Judge,
    limit: Duration,
    late: Option<Fault>,
) -> Vec<Fault> {
    if processes.is_empty() {
        return Vec::new();
    }
    let names = processes.iter().map(|one| Target::Instance(one.row.name.clone())).collect();
    let acted = match desk.fleet.act(&desk.caller.user, verb, names).await {
        Ok(acted) => acted,
        Err(failed) => return vec![Fault::Refused(failed.text); processes.len()],
    };
    let mut until = desk.fleet.until(acted, limit, judge).await;
    let fault = |one: &&Process| {
        let name = &one.row.name;
        let verdict = until.verdicts.remove(name);
        verdict.or_else(|| late.clone()).unwrap_or_else(|| {
            let row = until.late.get(name).and_then(Option::as_ref);
            Fault::Refused(still(&one.namespec(), row, limit))
        })
    };
    processes.iter().map(fault).collect()
}

/// What is told of one that is neither here nor there when the time is up.
fn still(name: &str, row: Option<&InstanceRow>, limit: Duration) -> String {
    let Some(row) = row else { return format!("{name} is not there any more") };
    let why = row.reason.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{name} is still {}{why} after {} s", row.state, limit.as_secs())
}

/// As a fault, for a caller who called it `name`.
fn told(desk: &Desk, one: &Process, fault: Fault, name: &str) -> Result<(), Wrong> {
    let known = desk.fleet.known();
    let spawnerr = known.rows().get(&one.row.name).and_then(|row| row.spawnerr.as_deref());
    fault::of(fault, name, spawnerr)
}

fn statuses<'a>(desk: &Desk, told_of: impl Iterator<Item = (&'a Process, Fault)>) -> Value {
    let status =
        |(one, fault): (&Process, Fault)| status(one, told(desk, one, fault, &one.namespec()));
    Value::Array(told_of.map(status).collect())
}

fn status(one: &Process, result: Result<(), Wrong>) -> Value {
    let (code, description) = match result {
        Ok(()) => (Faults::Success.code(), "OK".to_owned()),
        Err(wrong) => (wrong.code, wrong.text),
    };
    Value::of([
        ("name", one.name.as_str().into()),
        ("group", one.group.as_str().into()),
        ("status", code.into()),
        ("description", description.into()),
    ])
}

/// `signalProcess`.
pub(super) async fn signal(desk: &Desk, name: &str, signal: &Value) -> Result<Value, Wrong> {
    match desk.view()?.found(name)? {
        Found::Group(members) => Ok(signal_many(desk, members, signal).await),
        Found::One(one) => signal_one(desk, &one, name, signal).await.map(|()| true.into()),
    }
}

/// `signalProcessGroup`.
pub(super) async fn signal_group(desk: &Desk, name: &str, signal: &Value) -> Result<Value, Wrong> {
    let members = desk.view()?.group(name)?;
    Ok(signal_many(desk, members, signal).await)
}

/// `signalAllProcesses`.
pub(super) async fn signal_all(desk: &Desk, signal: &Value) -> Result<Value, Wrong> {
    let all = desk.view()?.all().to_vec();
    Ok(signal_many(desk, all, signal).await)
}

async fn signal_many(desk: &Desk, members: Vec<Arc<Process>>, signal: &Value) -> Value {
    let all = by_priority(members.iter().map(AsRef::as_ref).collect());
    let mut calls = Vec::new();
    for one in all {
        if one.signallable() {
            calls.push(signalled(desk, one, signal));
        }
    }
    Value::Array(stream::iter(calls).buffered(CALLS_MAX).collect().await)
}

async fn signalled(desk: &Desk, one: &Process, signal: &Value) -> Value {
    status(one, signal_one(desk, one, &one.namespec(), signal).await)
}

async fn signal_one(desk: &Desk, one: &Process, name: &str, signal: &Value) -> Result<(), Wrong> {
    let said = signal.shown();
    let signal: Signal = said.parse().map_err(|_| Faults::BadSignal.about(&said))?;
    let row = &one.row;
    let (true, Some(worker), Some(pid)) = (one.signallable(), &row.worker, row.pid) else {
        return Err(Faults::NotRunning.about(name));
    };
    let by = desk.caller.user.clone();
    let ask = SignalAsk { name: row.name.clone(), epoch: row.epoch, pid, signal, by };
    let bus = desk.fleet.bus().speaking_for(desk.caller.user.clone());
    let sent: Result<SignalSent, Error> = bus.hand(worker, Verb::Signal, &ask, ANSWER_MAX).await;
    sent.map(drop).map_err(|e| Faults::Failed.about(format!("{name} (on {worker}): {e}")))
}

/// `clearProcessLogs`.
pub(super) async fn clear(desk: &Desk, name: &str) -> Result<Value, Wrong> {
    let one = desk.view()?.one(name)?;
    clear_one(desk, &one, name).await.map(|()| true.into())
}

/// `clearAllProcessLogs`.
pub(super) async fn clear_all(desk: &Desk) -> Result<Value, Wrong> {
    let view = desk.view()?;
    let all = by_priority(view.all().iter().map(AsRef::as_ref).collect());
    let mut calls = Vec::new();
    for one in all {
        calls.push(cleared(desk, one));
    }
    Ok(Value::Array(stream::iter(calls).buffered(CALLS_MAX).collect().await))
}

async fn cleared(desk: &Desk, one: &Process) -> Value {
    status(one, clear_one(desk, one, &one.namespec()).await)
}

async fn clear_one(desk: &Desk, one: &Process, name: &str) -> Result<(), Wrong> {
    // One that is nowhere has no logs.
    let Some(worker) = &one.row.worker else { return Ok(()) };
    let ask = Clear { name: one.row.name.clone(), forget: false };
    let bus = desk.fleet.bus().speaking_for(desk.caller.user.clone());
    let cleared: Result<Cleared, Error> = bus.hand(worker, Verb::Clear, &ask, ANSWER_MAX).await;
    cleared.map(drop).map_err(|e| Faults::Failed.about(format!("{name} (on {worker}): {e}")))
}
