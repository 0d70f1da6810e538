//! What people see of the view.

use std::collections::BTreeSet;
use std::ops::Bound;

use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, InstanceId, ProgramName};
use dsbus_schema::program::{OnWorkerLoss, Program, Schedule};
use dsbus_schema::state::State;
use dsbus_schema::status::{DISABLED, InstanceRow, NOT_STARTED, Status, WorkerRow};
use dsbus_schema::touch::PRESENCE_SECONDS;

use crate::ahead;
use crate::view::{Placed, View};

pub use crate::ahead::{AHEAD, holds_back, latest};
pub use crate::groups::{groups, rollout};

/// Every instance that is declared or placed, by name.
pub fn instances(view: &View) -> Vec<InstanceRow> {
    instances_after(view, None).collect()
}

/// The same, from after one on; each is made when it is asked for.
pub fn instances_after<'a>(
    view: &'a View,
    after: Option<&'a InstanceId>,
) -> impl Iterator<Item = InstanceRow> + 'a {
    let from = after.map_or(Bound::Unbounded, |after| Bound::Included(&after.program));
    let names = view.programs.range((from, Bound::Unbounded)).map(|(name, _)| name);
    names.flat_map(move |name| of_program_after(view, name, after))
}

/// Every instance of one program, by index.
pub fn of_program(view: &View, program: &ProgramName) -> Vec<InstanceRow> {
    of_program_after(view, program, None).collect()
}

/// Those of one program that come after an instance; each is made when it is asked for.
pub fn of_program_after<'a>(
    view: &'a View,
    program: &ProgramName,
    after: Option<&'a InstanceId>,
) -> impl Iterator<Item = InstanceRow> + 'a {
    let program = program.clone();
    indexes(view, &program)
        .into_iter()
        .map(move |index| InstanceId::new(program.clone(), index))
        .filter(move |name| after.is_none_or(|after| name > after))
        .filter_map(|name| instance(view, &name))
}

/// The copies of a program that there should be, or are.
pub(crate) fn indexes(view: &View, program: &ProgramName) -> BTreeSet<u32> {
    let declared = view.program(program).into_iter().flat_map(|program| view.declared(program));
    let instances = view.programs.get(program).into_iter().flat_map(|entry| &entry.instances);
    let placed = instances.filter(|(_, i)| !i.placements.is_empty() || i.said.is_some());
    declared.chain(placed.map(|(index, _)| *index)).collect()
}

/// One instance; `None` when its program is unknown.
pub fn instance(view: &View, name: &InstanceId) -> Option<InstanceRow> {
    let program = view.program(&name.program)?;
    let mut wanted = view.wanted(program, name.index);
    let extra = program.rollout.is_some() && view.placed(name).is_some();
    if program.removing || !(view.is_declared(program, name.index) || extra) {
        wanted.run = false;
    }
    let mut row = match view.placed(name) {
        Some(placed) => placed_row(view, program, name, placed),
        None => unplaced_row(view, program, name, wanted),
    };
    if row.state == State::Stopped && view.is_disabled(&name.program, name.index) {
        // Others decide by this word.
        row.reason = Some(DISABLED.to_owned());
    } else if ahead::is_held_back(view, name) {
        let why = row.reason.take().filter(|why| !why.is_empty());
        row.reason = Some(why.map_or_else(|| AHEAD.to_owned(), |why| format!("{why}; {AHEAD}")));
    }
    row.arguments = view.arguments(name);
    row.wanted = wanted;
    row.ok = !wanted.run || fine(program, &row);
    Some(row)
}

fn fine(program: &Program, row: &InstanceRow) -> bool {
    match row.state {
        State::Running | State::Starting => true,
        State::Exited => row
            .exit
            .and_then(|exit| exit.code)
            .and_then(|code| u8::try_from(code).ok())
            .is_some_and(|code| program.spec.exitcodes.contains(&code)),
        State::Stopped
        | State::Pending
        | State::Backoff
        | State::Stopping
        | State::Fatal
        | State::Unknown => false,
    }
}

fn blank(program: &Program, name: &InstanceId, state: State) -> InstanceRow {
    InstanceRow {
        name: name.clone(),
        id: program.id,
        program: name.program.clone(),
        index: name.index,
        state,
        statecode: state.code(),
        worker: None,
        pid: None,
        epoch: Epoch(0),
        revision: program.revision,
        since: None,
        restarts: 0,
        exit: None,
        usage: None,
        note: None,
        meta: program.spec.meta.clone(),
        reason: None,
        spawnerr: None,
        stderr_line: None,
        stdout_logfile: None,
        stderr_logfile: None,
        arguments: Vec::new(),
        wanted: Wanted::default(),
        acted: Wanted::default(),
        ok: false,
    }
}

/// What an instance waits for whose program has a schedule.
pub(crate) fn waits(schedule: &Schedule) -> String {
    format!("its schedule starts it: {}, {}", schedule.cron(), schedule.timezone())
}

fn unplaced_row(view: &View, program: &Program, name: &InstanceId, wanted: Wanted) -> InstanceRow {
    let (said, _) = view.said(name);
    if !wanted.run {
        // Nothing runs and nothing should: the request is acted on by there being no placement.
        let mut row = blank(program, name, State::Stopped);
        row.acted = wanted;
        let schedule = program.spec.schedule.as_ref().filter(|_| !program.removing);
        row.reason = Some(schedule.map_or_else(|| NOT_STARTED.to_owned(), waits));
        return row;
    }
    let mut row = blank(program, name, State::Pending);
    row.since = said.map(|s| s.since);
    row.reason =
        said.and_then(|s| s.reason.clone()).or_else(|| Some("waits for a scheduler".to_owned()));
    row
}

fn placed_row(view: &View, program: &Program, name: &InstanceId, placed: &Placed) -> InstanceRow {
    let mut row = match view.status(name, placed) {
        Some(status) => told(program, name, status),
        None => {
            let state = if placed.wanted.run { State::Starting } else { State::Stopped };
            let mut row = blank(program, name, state);
            let refuses = view.worker(&placed.worker).and_then(|record| record.refuses.as_ref());
            let refuses = refuses.map(|what| format!("; it refuses {what}")).unwrap_or_default();
            let text =
                format!("placed on {}, which has not told of it yet{refuses}", placed.worker);
            row.reason = Some(text);
            row
        }
    };
    row.worker = Some(placed.worker.clone());
    row.epoch = placed.epoch;
    if row.state == State::Fatal
        && let (Some(said), _) = view.said(name)
        && said.state == State::Fatal
    {
        let why = row.reason.take().unwrap_or_default();
        let all = said.reason.clone().unwrap_or_default();
        row.reason = Some(given_up(&why, &all));
    }
    let due = view.is_cut_off(placed);
    if due || view.is_lost(&placed.worker) {
        let (worker, seconds) = (&placed.worker, placed.spec.touch_seconds());
        if rests(view, name, placed) {
            // It did not run, and nothing was lost but its place.
            row.reason = Some(format!("its worker {worker} is lost since"));
            return row;
        }
        row.state = State::Unknown;
        row.statecode = row.state.code();
        row.pid = None;
        let policy =
            if program.spec.system { OnWorkerLoss::Stay } else { program.spec.on_worker_loss };
        row.reason = Some(match policy {
            OnWorkerLoss::Stay => {
                format!("its worker {worker} is lost; it waits for that to come back")
            }
            OnWorkerLoss::Stop => {
                format!("its worker {worker} is lost; it is stopped when that comes back")
            }
            OnWorkerLoss::Move if due => {
                format!("its worker {worker} is lost, and no other can take it")
            }
            OnWorkerLoss::Move => format!(
                "its worker {worker} is lost; it moves when its touch_timeout of {seconds} s is over"
            ),
        });
    }
    row
}

/// Why the last worker, and then all of them, did not make it run. That it was given up is said once:
/// by whoever had the last word.
fn given_up(worker: &str, all: &str) -> String {
    // So a supervisor begins, who does not know whether others try.
    let why = ["gave up after it ", "gave up after "]
        .iter()
        .find_map(|begin| worker.strip_prefix(begin))
        .unwrap_or(worker);
    if why.is_empty() { all.to_owned() } else { format!("{why}; {all}") }
}

fn told(program: &Program, name: &InstanceId, status: &Status) -> InstanceRow {
    InstanceRow {
        pid: status.pid,
        revision: status.revision,
        since: Some(status.since),
        restarts: status.restarts,
        exit: status.exit,
        usage: status.usage,
        note: status.note.clone(),
        reason: status.reason.clone(),
        spawnerr: status.spawnerr.clone(),
        stderr_line: status.stderr_line.clone(),
        stdout_logfile: status.stdout_logfile.clone(),
        stderr_logfile: status.stderr_logfile.clone(),
        acted: status.wanted,
        ..blank(program, name, status.state)
    }
}

/// Whether an instance was stopped, had ended, or was given up when it was last heard of.
fn rests(view: &View, name: &InstanceId, placed: &Placed) -> bool {
    let acted = view.instance(name).and_then(|instance| instance.acted(placed));
    placed.rest.is_some()
        || acted.is_some_and(|status| {
            status.rests || (status.state == State::Stopped && !placed.wanted.run)
        })
}

/// Every worker that ever joined, by name.
pub fn workers(view: &View) -> Vec<WorkerRow> {
    view.hosts
        .values()
        .filter_map(|host| Some((host, &host.record.as_ref()?.value)))
        .map(|(host, worker)| WorkerRow {
            name: worker.name.clone(),
            state: host.state,
            host: worker.host.clone(),
            agent_pid: worker.agent_pid,
            supervisor_pid: worker.supervisor_pid,
            instances: host.placed.len(),
            last_touch: host.leases.get(&PRESENCE_SECONDS).and_then(|lease| lease.touched),
            version: worker.version.clone(),
            facilities: worker.facilities.clone(),
            labels: worker.labels.clone(),
            capacity: worker.capacity,
            facts: worker.facts.clone(),
            refuses: worker.refuses.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_it_was_given_up_is_said_once() {
        let all = "given up after it ended FATAL 3 times, on w1, w2";
        for (worker, said) in [
            (
                "gave up after it failed to start 2 times: exit code 1",
                "failed to start 2 times: exit code 1; ",
            ),
            (
                "gave up after 3 restarts within 1m: exit code 1",
                "3 restarts within 1m: exit code 1; ",
            ),
            ("exit code 1", "exit code 1; "),
            ("", ""),
        ] {
            assert_eq!(given_up(worker, all), format!("{said}{all}"));
        }
    }
}
