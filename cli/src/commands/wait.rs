//! `dsbus wait NAME...`

use dsbus_client::Error;
use dsbus_schema::command::code;
use serde_json::Value;

use super::act;
use crate::args::{self, WaitFor};
use crate::config::Config;
use crate::connection::Connection;
use crate::describe;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::wait::{self, Goal, Outcome, Want};

/// Waits until instances run, have stopped, or are gone. It asks for nothing.
///
/// # Errors
/// When a name does not exist, or nobody answers.
pub(super) async fn run(config: &Config, args: &args::WaitUntil) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let rows = match connection.bus.status(&args.names).await {
        Ok(rows) => rows,
        Err(Error::Refused { code: code::NOT_FOUND, .. }) if args.until == WaitFor::Gone => {
            Vec::new()
        }
        Err(e) => return Err(connection.explain(e).await),
    };
    let goal = match args.until {
        WaitFor::Running => Goal::Running,
        WaitFor::Stopped => Goal::Stopped,
        WaitFor::Gone => Goal::Gone,
    };
    let wants: Vec<Want> =
        rows.into_iter().map(|row| Want { name: row.name, goal: goal.clone() }).collect();
    let done =
        |outcome: &Outcome| outcome.row.as_ref().map_or_else(|| "gone".to_owned(), describe::state);
    let data = args.output.data();
    let outcomes = wait::wait(&connection, &wants, args.timeout.0, |outcome| match data {
        None => act::tell(outcome, || done(outcome)),
        Some(_) => Ok(()),
    });
    let outcomes = outcomes.await?;
    if let Some(data) = data {
        let all: Vec<Value> = outcomes.iter().map(|o| act::as_json(o, || done(o))).collect();
        output::data(data, &all)?;
    }
    Ok(act::code(&outcomes))
}
