//! `dsbus apply FILE...`

use std::path::PathBuf;

use dsbus_schema::command::{Applied, AppliedProgram, Apply, Change, Verb};
use dsbus_schema::ids::{InstanceId, Target};
use dsbus_schema::status::InstanceRow;
use serde_json::{Value, json};

use super::act;
use crate::args::{self, Format, Wait};
use crate::config::Config;
use crate::connection::Connection;
use crate::describe;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::{self, Programs};
use crate::output;
use crate::wait::{self, Goal, Outcome, Verdict, Want};

/// Declares what the files say, and waits until it runs.
///
/// # Errors
/// When a file is wrong, the command is refused, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Apply) -> Result<Code, Failure> {
    let programs = read(&args.files)?;
    let connection = Connection::open(config).await?;
    apply(&connection, programs, &args.wait, args.output).await
}

/// Reads the files.
///
/// # Errors
/// When anything in any of them is wrong; it has been told then.
pub(super) fn read(files: &[PathBuf]) -> Result<Programs, Failure> {
    file::read_all(files).map_err(|found| {
        output::diagnostics(&found, "nothing was applied");
        Failure::told(Code::Failed)
    })
}

/// Declares the programs, and waits.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn apply(
    connection: &Connection,
    programs: Programs,
    wait: &Wait,
    format: Format,
) -> Result<Code, Failure> {
    let request = Apply { envelope: act::envelope(), programs, dry_run: false };
    let applied: Applied = connection.command(Verb::Apply, &request).await?;
    warn(&applied);
    if format == Format::Table {
        for program in &applied.programs {
            output::line(summary(program))?;
        }
    }
    let mut outcomes = Vec::new();
    if !wait.no_wait {
        let mut wants: Vec<Want> = applied.programs.iter().flat_map(wants).collect();
        wants.extend(surplus(connection, &applied).await?);
        let waited = wait::wait(connection, &wants, wait.timeout.0, |outcome| match format {
            Format::Table => act::tell(outcome, || done(outcome.row.as_ref())),
            Format::Json => Ok(()),
        });
        outcomes = waited.await?;
    }
    if format == Format::Json {
        let programs: Vec<Value> =
            applied.programs.iter().map(|program| as_json(program, &outcomes)).collect();
        output::json(&programs)?;
    }
    Ok(act::code(&outcomes))
}

/// Tells what the scheduler finds worth saying about the declarations.
pub(super) fn warn(applied: &Applied) {
    for program in &applied.programs {
        for problem in &program.warnings {
            output::warning(format_args!("{}: {problem}", program.name));
        }
    }
}

/// What to wait for after a program was declared.
pub(super) fn wants(program: &AppliedProgram) -> impl Iterator<Item = Want> + '_ {
    (0..program.numprocs).map(|index| Want {
        name: InstanceId::new(program.name.clone(), index),
        goal: Goal::Revision(program.revision),
    })
}

/// Instances beyond `numprocs`, which a declaration of more has left and which are on their way out.
async fn surplus(connection: &Connection, applied: &Applied) -> Result<Vec<Want>, Failure> {
    let names: Vec<Target> =
        applied.programs.iter().map(|program| Target::Program(program.name.clone())).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let count = |row: &InstanceRow| {
        applied.programs.iter().find(|program| program.name == row.program).map(|p| p.numprocs)
    };
    let rows = connection.status(&names).await?;
    let beyond = rows.into_iter().filter(|row| count(row).is_some_and(|n| row.index >= n));
    Ok(beyond.map(|row| Want { name: row.name, goal: Goal::Gone }).collect())
}

/// What to say of an instance of a program that was declared; without a row it is one too many,
/// and gone.
pub(super) fn done(row: Option<&InstanceRow>) -> String {
    match row {
        Some(row) if !row.wanted.run => "stopped, and stays so until it is started".to_owned(),
        Some(row) if row.pid.is_some() => format!("running ({})", describe::place(row)),
        Some(row) => describe::state(row),
        None => "removed".to_owned(),
    }
}

fn summary(program: &AppliedProgram) -> String {
    let change = change(program.change);
    let instances = match program.numprocs {
        1 => "1 instance".to_owned(),
        n => format!("{n} instances"),
    };
    format!("{}: {change} ({instances})", program.name)
}

fn change(change: Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::Changed => "changed",
        Change::Unchanged => "unchanged",
    }
}

fn as_json(program: &AppliedProgram, outcomes: &[Outcome]) -> Value {
    let instances: Vec<Value> = outcomes
        .iter()
        .filter(|outcome| outcome.name.program == program.name)
        .map(|outcome| {
            let (result, detail) = match &outcome.verdict {
                Verdict::Done => ("done", done(outcome.row.as_ref())),
                Verdict::Failed(why) => ("failed", why.clone()),
                Verdict::Waiting(what) => ("waiting", what.clone()),
            };
            json!({ "name": outcome.name, "result": result, "detail": detail })
        })
        .collect();
    json!({
        "name": program.name, "id": program.id, "revision": program.revision,
        "change": program.change, "numprocs": program.numprocs, "warnings": program.warnings,
        "instances": instances,
    })
}
