//! `dsbus export [NAME...]`

use std::collections::{BTreeMap, BTreeSet};

use dsbus_client::Entry;
use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::status::{DISABLED, InstanceRow};
use dsbus_schema::storage::Bucket;
use futures::{StreamExt, TryStreamExt, stream};

use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file;
use crate::output;

/// Programs that are asked for at once: enough to hide the way to the server and back.
const ASKED_AT_ONCE: usize = 32;

/// Prints the declarations of programs as a TOML file, which `dsbus apply` takes.
///
/// # Errors
/// When a name does not exist, nothing is declared, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Export) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = connection.status(&args.names).await?;
    let names: BTreeSet<ProgramName> = rows.iter().map(|row| row.program.clone()).collect();
    let declared = declared(&connection, names).await?.into_iter();
    let programs: BTreeMap<_, _> = declared.map(|program| (program.name, program.spec)).collect();
    let resting = resting(&rows, &programs);
    if programs.is_empty() {
        // Whoever keeps the output every night keeps the last one that says something.
        return Err(Failure::failed("no program is declared: there is nothing to export")
            .hint("if there were some, the bus has lost them: dsbus recover --dry-run"));
    }
    output::line(file::as_toml(&programs).trim_end())?;
    if !resting.is_empty() {
        output::line(
            "\n# What was stopped or disabled is started when this is applied. To stop it again:",
        )?;
    }
    for command in &resting {
        output::line(format_args!("# {command}"))?;
    }
    Ok(Code::Done)
}

/// The commands that stop what is stopped, and would be started: of a program where all of it is, else of
/// instances.
fn resting(rows: &[InstanceRow], programs: &BTreeMap<ProgramName, ProgramSpec>) -> Vec<String> {
    let mut by_program: BTreeMap<&ProgramName, Vec<&InstanceRow>> = BTreeMap::new();
    for row in rows {
        by_program.entry(&row.program).or_default().push(row);
    }
    let starts = |row: &InstanceRow| {
        let spec = programs.get(&row.program);
        spec.is_some_and(|spec| spec.autostart && spec.schedule.is_none())
    };
    let verb = |row: &InstanceRow| match (row.wanted.run, row.reason.as_deref()) {
        (true, _) => None,
        (false, Some(DISABLED)) => Some("disable"),
        (false, _) => starts(row).then_some("stop"),
    };
    let mut commands = Vec::new();
    for (program, rows) in by_program {
        let verbs: BTreeSet<_> = rows.iter().map(|row| verb(row)).collect();
        match verbs.first() {
            Some(Some(verb)) if verbs.len() == 1 => {
                commands.push(format!("dsbus {verb} {program}"));
            }
            _ => {
                let each = rows.iter().filter_map(|row| Some((verb(row)?, &row.name)));
                commands.extend(each.map(|(verb, name)| format!("dsbus {verb} {name}")));
            }
        }
    }
    commands
}

/// The records of programs; of one that is being removed there is none.
///
/// # Errors
/// When nobody answers, or they may not be read.
pub(super) async fn declared(
    connection: &Connection,
    names: BTreeSet<ProgramName>,
) -> Result<Vec<Program>, Failure> {
    let found: Vec<_> = stream::iter(names)
        .map(|name| async move {
            let entry = connection.bus.get(Bucket::Programs, name.as_str()).await;
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => return Err(connection.explain(e).await),
            };
            let program = entry.as_ref().map(Entry::json::<Program>);
            let program = program.transpose().map_err(|e| Failure::failed(e.to_string()))?;
            Ok(program.flatten().filter(|program| !program.removing))
        })
        .buffered(ASKED_AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}
