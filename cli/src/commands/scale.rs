//! `dsbus scale NAME=N...`

use std::collections::BTreeMap;

use dsbus_schema::command::{Applied, Scale, Verb};
use dsbus_schema::ids::{InstanceId, Target};

use super::{act, apply};
use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;

/// Changes how many copies programs have, and waits until it is so.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::Scale) -> Result<Code, Failure> {
    let mut programs = BTreeMap::new();
    for (name, n) in &args.programs {
        if let Some(other) = programs.insert(name.clone(), *n).filter(|other| other != n) {
            return Err(Failure::usage(format!("{name} is given twice: {other} copies and {n}")));
        }
    }
    let connection = Connection::open(config).await?;
    // Of the copies that are given up some may be gone before one looks. Names that do not exist are
    // the command's to refuse.
    let names: Vec<Target> = programs.keys().cloned().map(Target::Program).collect();
    let before = connection.bus.status(&names).await.unwrap_or_default();
    let before: Vec<InstanceId> = before.into_iter().map(|row| row.name).collect();
    let request = Scale { envelope: act::envelope(), programs };
    let applied: Applied = connection.command(Verb::Scale, &request).await?;
    apply::finish(&connection, &applied, &before, &args.wait, args.output).await
}
