//! `dsbus rebalance [--dry-run]`

use dsbus_schema::command::{PlannedMove, Rebalance, Verb};
use dsbus_schema::status::InstanceRow;
use serde_json::Value;

use super::{act, steer};
use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::wait::{self, Goal, Outcome, Want};
use crate::{describe, output};

/// Moves instances so that the workers are loaded evenly, and waits until they run there.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Rebalance) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let request = Rebalance { envelope: act::envelope(), dry_run: args.dry_run };
    let moves: Vec<PlannedMove> = connection.command(Verb::Rebalance, &request).await?;
    let data = args.output.data();
    let table = data.is_none();
    if moves.is_empty() && table {
        output::line("Nothing to move: the load is as even as it gets")?;
    }
    if args.dry_run || args.wait.no_wait || moves.is_empty() {
        if let Some(data) = data {
            output::data(data, &moves)?;
            return Ok(Code::Done);
        }
        for PlannedMove { name, from, to } in &moves {
            output::line(format_args!("{name}: {from} -> {to}"))?;
        }
        if args.dry_run && !moves.is_empty() {
            output::note(format_args!("{} would be moved", steer::count(moves.len())));
        }
        return Ok(Code::Done);
    }
    let want = |planned: &PlannedMove| Want {
        name: planned.name.clone(),
        goal: Goal::Leaves(planned.from.clone()),
    };
    let wants: Vec<Want> = moves.iter().map(want).collect();
    let done = |outcome: &Outcome| {
        let planned = moves.iter().find(|planned| planned.name == outcome.name);
        moved(planned, outcome.row.as_ref())
    };
    let outcomes = wait::wait(&connection, &wants, args.wait.timeout.0, |outcome| {
        if table { act::tell(outcome, || done(outcome)) } else { Ok(()) }
    });
    let outcomes = outcomes.await?;
    if let Some(data) = data {
        let all: Vec<Value> = outcomes.iter().map(|o| act::as_json(o, || done(o))).collect();
        output::data(data, &all)?;
    }
    Ok(act::code(&outcomes))
}

fn moved(planned: Option<&PlannedMove>, row: Option<&InstanceRow>) -> String {
    match (planned, row) {
        (Some(planned), Some(row)) if row.worker.is_some() => {
            format!("moved from {} ({})", planned.from, describe::place(row))
        }
        (_, _) => "stopped".to_owned(),
    }
}
