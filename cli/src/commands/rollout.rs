//! `dsbus rollout status|pause|resume|promote|undo`

use dsbus_schema::command::{RolloutAct, RolloutRow, RolloutStep, Verb};
use dsbus_schema::ids::Target;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::rollout::RolloutState;
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::act;
use crate::args::{self, Format, Wait};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::table::{Column, Text, Tone};
use crate::wait::rollout::{self, End, Ended, names};
use crate::wait::{feed, pause};
use crate::{clock, describe, output};

const COLUMNS: [Column; 7] = [
    Column { title: "PROGRAM", leaves: 0, optional: false },
    Column { title: "ROLLOUT", leaves: 0, optional: false },
    Column { title: "REVISION", leaves: 0, optional: false },
    Column { title: "CHANGED", leaves: 0, optional: false },
    Column { title: "CHANGING", leaves: 1, optional: true },
    Column { title: "SINCE", leaves: 2, optional: true },
    Column { title: "WHY", leaves: 0, optional: true },
];

/// Shows or steers rollouts.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Rollout) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    match &args.step {
        args::RolloutStep::Status(args) => status(&connection, args).await,
        args::RolloutStep::Pause(which) => {
            let rows = send(&connection, which, RolloutStep::Pause, None).await?;
            show(&rows, which.output)?;
            Ok(Code::Done)
        }
        args::RolloutStep::Resume(args) => {
            let rows = send(&connection, &args.which, RolloutStep::Resume, None).await?;
            finish(&connection, rows, &args.wait, args.which.output).await
        }
        args::RolloutStep::Promote(args) => {
            let rows = send(&connection, &args.which, RolloutStep::Promote, None).await?;
            finish(&connection, rows, &args.wait, args.which.output).await
        }
        args::RolloutStep::Undo(args) => {
            let rows = send(&connection, &args.which, RolloutStep::Undo, args.to).await?;
            finish(&connection, rows, &args.wait, args.which.output).await
        }
    }
}

async fn send(
    connection: &Connection,
    which: &args::RolloutNames,
    step: RolloutStep,
    to: Option<u64>,
) -> Result<Vec<RolloutRow>, Failure> {
    let names = which.names.clone();
    let request = RolloutAct { envelope: act::envelope(), names, step, to };
    let rows: Vec<RolloutRow> = connection.command(Verb::Rollout, &request).await?;
    if rows.is_empty() && matches!(which.output, Format::Text(_)) {
        output::note("no rollout is going on");
    }
    Ok(rows)
}

async fn status(connection: &Connection, args: &args::RolloutStatus) -> Result<Code, Failure> {
    let rows = rollout::rows(connection, &args.names).await?;
    if args.watch {
        let wait = Wait { no_wait: false, timeout: args.timeout };
        return finish(connection, rows, &wait, args.output).await;
    }
    if rows.is_empty() && matches!(args.output, Format::Text(_)) {
        output::line("No rollout is going on")?;
        return Ok(Code::Done);
    }
    show(&rows, args.output)?;
    Ok(Code::Done)
}

/// Shows rollouts live until they are over, or wait for a person.
async fn finish(
    connection: &Connection,
    rows: Vec<RolloutRow>,
    wait: &Wait,
    format: Format,
) -> Result<Code, Failure> {
    if wait.no_wait || rows.is_empty() {
        show(&rows, format)?;
        return Ok(Code::Done);
    }
    let wanted: Vec<_> = rows.iter().map(|row| (row.program.clone(), row.revision)).collect();
    let data = format.data();
    let quiet = data.is_some();
    let deadline = Instant::now() + wait.timeout.0;
    let mut ended = rollout::wait(connection, &wanted, wait.timeout.0, quiet).await?;
    for ended in ended.iter_mut().filter(|ended| ended.end == End::Done) {
        if let Some(what) = unsettled(connection, ended, deadline).await {
            ended.end = End::Late(what);
            if !quiet {
                output::failure(&ended.failure());
            }
        }
    }
    if let Some(data) = data {
        let all: Vec<Value> = ended.iter().map(as_json).collect();
        output::data(data, &all)?;
    }
    Ok(rollout::code(&ended))
}

/// Waits until the instances are as the declaration says: what needs no new children is not rolled
/// out, and an undo may change the number of copies. What is not so in time.
async fn unsettled(connection: &Connection, ended: &Ended, deadline: Instant) -> Option<String> {
    let name = [Target::Program(ended.program.clone())];
    let revision = ended.row.as_ref()?.revision;
    let runs =
        |row: &InstanceRow| row.ok && row.state != State::Starting && row.revision >= revision;
    let settled = |row: &InstanceRow| {
        if row.wanted.run { runs(row) } else { !row.state.may_have_child() }
    };
    let mut feed = feed(connection).await;
    loop {
        let over = Instant::now() >= deadline;
        match connection.status(&name).await {
            Ok(rows) => match rows.iter().find(|row| !settled(row)) {
                None => return None,
                Some(row) if over => {
                    return Some(format!("is at {}: {}", row.name, describe::state(row)));
                }
                Some(_) => {}
            },
            Err(_) if over => return None,
            Err(_) => {}
        }
        pause(&mut feed, deadline).await;
    }
}

fn as_json(ended: &Ended) -> Value {
    let detail = match &ended.end {
        End::Done => None,
        End::Failed(_) | End::Held(_) | End::Replaced(_) | End::Gone | End::Late(_) => {
            Some(ended.failure().message)
        }
    };
    json!({
        "program": ended.program, "result": ended.word(), "detail": detail, "rollout": ended.row,
    })
}

fn show(rows: &[RolloutRow], format: Format) -> Result<(), Failure> {
    match format {
        Format::Data(data) => output::data(data, &rows)?,
        Format::Text(_) if rows.is_empty() => {}
        Format::Text(wide) => {
            let now = clock::now();
            let cells: Vec<Vec<Text>> = rows.iter().map(|row| cells(row, now)).collect();
            output::table(wide, &COLUMNS, &cells)?;
        }
    }
    Ok(())
}

fn cells(row: &RolloutRow, now: Timestamp) -> Vec<Text> {
    let (state, tone) = match row.state {
        None => ("none", Tone::Quiet),
        Some(RolloutState::Rolling) if row.awaits_promotion => ("waits", Tone::Moving),
        Some(RolloutState::Rolling) => ("rolling", Tone::Good),
        Some(RolloutState::Paused) => ("paused", Tone::Moving),
        Some(RolloutState::Failed) => ("failed", Tone::Bad),
    };
    let all = row.done.len() + row.moving.len() + row.waiting.len();
    let revision = match row.stable {
        Some(stable) => format!("{stable} -> {}", row.revision),
        None => row.revision.to_string(),
    };
    let changed = row.state.map_or("-".to_owned(), |_| format!("{}/{all}", row.done.len()));
    let changing = if row.state.is_some() { names(&row.moving) } else { String::new() };
    let since = row.since.filter(|_| row.state.is_some());
    vec![
        row.program.to_string().into(),
        Text { text: state.to_owned(), tone },
        revision.into(),
        changed.into(),
        changing.into(),
        since.map(|at| describe::age(at, now)).unwrap_or_default().into(),
        row.reason.clone().unwrap_or_default().into(),
    ]
}

/// The programs of these names that are being rolled out, with the revisions.
///
/// # Errors
/// When nobody answers.
pub(super) async fn going_on(
    connection: &Connection,
    names: &[Target],
) -> Result<Vec<RolloutRow>, Failure> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let rows = rollout::rows(connection, names).await?;
    Ok(rows.into_iter().filter(|row| row.state.is_some()).collect())
}
