//! `dsbus export [NAME...]`

use std::collections::{BTreeMap, BTreeSet};

use dsbus_client::Entry;
use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::Program;
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
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Export) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = connection.status(&args.names).await?;
    let names: BTreeSet<ProgramName> = rows.into_iter().map(|row| row.program).collect();
    let declared = declared(&connection, names).await?.into_iter();
    let programs: BTreeMap<_, _> = declared.map(|program| (program.name, program.spec)).collect();
    if programs.is_empty() {
        output::note("no programs");
        return Ok(Code::Done);
    }
    output::line(file::as_toml(&programs).trim_end())?;
    Ok(Code::Done)
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
