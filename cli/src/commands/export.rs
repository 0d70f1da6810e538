//! `dsbus export [NAME...]`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use dsbus_client::Entry;
use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::status::{DISABLED, InstanceRow};
use dsbus_schema::storage::Bucket;
use futures::{StreamExt, TryStreamExt, stream};
use tempfile::NamedTempFile;

use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file;
use crate::output;

/// Programs that are asked for at once: enough to hide the way to the server and back.
const ASKED_AT_ONCE: usize = 32;

/// Prints or writes the declarations of programs as a TOML file, which `dsbus apply` takes.
///
/// # Errors
/// When a name does not exist, nothing is declared, nobody answers, or the file cannot be written.
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
    let text = text(&programs, &resting);
    match &args.file {
        None => output::line(text.trim_end())?,
        Some(path) => replace(path, &text)
            .map_err(|e| Failure::failed(format!("cannot write {}: {e}", path.display())))?,
    }
    Ok(Code::Done)
}

/// The whole file.
fn text(programs: &BTreeMap<ProgramName, ProgramSpec>, resting: &[String]) -> String {
    let mut text = file::as_toml(programs).trim_end().to_owned();
    text.push('\n');
    if !resting.is_empty() {
        text.push_str(
            "\n# What was stopped or disabled is started when this is applied. To stop it again:\n",
        );
    }
    for command in resting {
        let _ = writeln!(text, "# {command}");
    }
    text
}

/// Replaces a file whole: when anything fails, the one that is there stays as it is.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let there = match path.canonicalize() {
        // Of a link, what it leads to.
        Ok(there) => Some(there),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let old = there.as_ref().map(|there| there.metadata()).transpose()?;
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        // Root would put a file in the place of a device.
        return Err(io::Error::other("it is not a file"));
    }
    let path = there.as_deref().unwrap_or(path);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut fresh = NamedTempFile::new_in(parent.unwrap_or(Path::new(".")))?;
    if let Some(old) = old {
        fresh.as_file().set_permissions(old.permissions())?;
    }
    fresh.write_all(text.as_bytes())?;
    fresh.as_file().sync_all()?;
    fresh.persist(path)?;
    Ok(())
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
