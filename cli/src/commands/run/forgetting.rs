//! Taking away what a run leaves.

use dsbus_client::Error;
use dsbus_schema::call::{Clear, Cleared};
use dsbus_schema::command::{Acted, Verb, code};
use dsbus_schema::ids::{ProgramId, ProgramName, Target};
use tokio::time::timeout;

use super::{HURRY_MAX, ask};
use crate::connection::Connection;
use crate::output;

/// Whether what was asked may have been done, or may yet be, although it failed.
pub(super) fn may_be_done(e: &Error) -> bool {
    match e {
        // Then it is not known.
        Error::Refused { code: code::UNAVAILABLE, .. } => true,
        // Nobody heard of it.
        Error::Refused { .. } | Error::NoScheduler => false,
        _ => true,
    }
}

/// Nobody waits for it: what may have been started is taken away again, if that can be done soon.
pub(super) async fn forget_perhaps(connection: &Connection, name: &ProgramName) {
    let target = Target::Program(name.clone());
    if !matches!(timeout(HURRY_MAX, removed(connection, target)).await, Ok(Ok(true))) {
        output::warning(format_args!("{name} may have been started: dsbus remove {name}"));
    }
}

/// Removes the program, with what its worker keeps of it.
pub(super) async fn forget(connection: &Connection, name: &ProgramName, id: ProgramId) {
    let target = Target::Id(id);
    let rows = timeout(HURRY_MAX, connection.bus.status(std::slice::from_ref(&target))).await;
    for row in rows.ok().into_iter().flat_map(Result::unwrap_or_default) {
        let Some(worker) = &row.worker else { continue };
        let ask = Clear { name: row.name, forget: true };
        let asked = connection.bus.hand::<_, Cleared>(worker, Verb::Clear, &ask, HURRY_MAX);
        // It is a directory with two files, and nothing more.
        drop(asked.await);
    }
    match timeout(HURRY_MAX, removed(connection, target)).await {
        Ok(Ok(_)) => {}
        Ok(Err(e)) => output::warning(format_args!("{name} is still declared: {e}")),
        Err(_) => output::warning(format_args!("{name} is still declared: dsbus remove {name}")),
    }
}

/// Removes the program; says whether there was one.
async fn removed(connection: &Connection, target: Target) -> Result<bool, Error> {
    let request = ask(vec![target]);
    match connection.bus.command::<_, Acted>(Verb::Remove, &request).await {
        Ok(_) => Ok(true),
        Err(Error::Refused { code: code::NOT_FOUND, .. }) => Ok(false),
        Err(e) => Err(e),
    }
}
