//! What `start`, `stop`, `restart` and `remove` share: ask, wait, and tell a line per instance.

use std::collections::BTreeMap;

use dsbus_schema::command::{Act, Acted, Verb};
use dsbus_schema::goal::Wanted;
use dsbus_schema::status::InstanceRow;
use serde_json::{Value, json};

use crate::args;
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::wait::{self, Goal, Outcome, Verdict, Want};

/// How one of the verbs differs from the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner<'a> {
    /// What is sent.
    pub(super) verb: Verb,
    /// What to wait for.
    pub(super) goal: fn(Wanted) -> Goal,
    /// For a restart: one after the other.
    pub(super) rolling: bool,
    /// For a start: words after those of the command.
    pub(super) arguments: &'a [String],
    /// What to say when it is done, from what was known before and after.
    pub(super) done: fn(Option<&InstanceRow>, Option<&InstanceRow>) -> String,
}

impl<'a> Manner<'a> {
    /// A verb without particulars.
    pub(super) fn new(
        verb: Verb,
        goal: fn(Wanted) -> Goal,
        done: fn(Option<&InstanceRow>, Option<&InstanceRow>) -> String,
    ) -> Manner<'a> {
        Manner { verb, goal, rolling: false, arguments: &[], done }
    }
}

/// Sends the verb, and waits.
///
/// # Errors
/// When it is refused, or nobody answers.
pub(super) async fn run(
    config: &Config,
    args: &args::Act,
    manner: Manner<'_>,
) -> Result<Code, Failure> {
    let connection = Connection::open(config).await?;
    let verb = manner.verb.name();
    // What stood before is only to tell "started" from "already running".
    let before: BTreeMap<_, _> = connection
        .status(&args.names)
        .await?
        .into_iter()
        .map(|row| (row.name.clone(), row))
        .collect();
    let (names, rolling) = (args.names.clone(), manner.rolling);
    let arguments = manner.arguments.to_vec();
    let request = Act { envelope: envelope(), names, rolling, arguments };
    let acted: Acted = connection.command(manner.verb, &request).await?;
    let data = args.output.data();
    let table = data.is_none();
    if acted.instances.is_empty() && table {
        output::note(format_args!("nothing to {verb}"));
    }
    if args.wait.no_wait {
        if let Some(data) = data {
            output::data(data, &acted.instances)?;
            return Ok(Code::Done);
        }
        for instance in &acted.instances {
            output::success(format_args!("{}: {verb} requested", instance.name))?;
        }
        return Ok(Code::Done);
    }
    let wants: Vec<Want> = acted
        .instances
        .into_iter()
        .map(|i| Want { name: i.name, goal: (manner.goal)(i.wanted) })
        .collect();
    let done = |outcome: &Outcome| (manner.done)(before.get(&outcome.name), outcome.row.as_ref());
    let outcomes = wait::wait(&connection, &wants, args.wait.timeout.0, |outcome| {
        if table { tell(outcome, || done(outcome)) } else { Ok(()) }
    });
    let outcomes = outcomes.await?;
    if let Some(data) = data {
        let all: Vec<Value> = outcomes.iter().map(|o| as_json(o, || done(o))).collect();
        output::data(data, &all)?;
    }
    Ok(code(&outcomes))
}

/// One outcome for programs.
pub(super) fn as_json(outcome: &Outcome, done: impl FnOnce() -> String) -> Value {
    let (result, detail) = match &outcome.verdict {
        Verdict::Done => ("done", done()),
        Verdict::Failed(why) => ("failed", why.clone()),
        Verdict::Waiting(what) => ("waiting", what.clone()),
    };
    json!({ "name": outcome.name, "result": result, "detail": detail })
}

/// A command's id, so that a repetition by the client acts once.
pub(super) fn envelope() -> dsbus_schema::command::Envelope {
    dsbus_schema::command::Envelope { id: Some(uuid::Uuid::now_v7()), version: None }
}

/// Tells one outcome: what is done on standard output, what is not on standard error.
pub(super) fn tell(outcome: &Outcome, done: impl FnOnce() -> String) -> Result<(), Failure> {
    let name = &outcome.name;
    match &outcome.verdict {
        Verdict::Done => output::success(format_args!("{name}: {}", done()))?,
        Verdict::Failed(_) | Verdict::Waiting(_) => output::failure(&failure(outcome)),
    }
    Ok(())
}

/// An outcome that is not as wanted, in words.
pub(super) fn failure(outcome: &Outcome) -> Failure {
    let Outcome { name, verdict, row } = outcome;
    match verdict {
        Verdict::Done => Failure::told(Code::Done),
        Verdict::Failed(why) => {
            let on = row.as_ref().and_then(|row| row.worker.as_ref());
            let on = on.map(|worker| format!("on {worker}")).filter(|on| !why.contains(on));
            let on = on.map(|on| format!(" ({on})")).unwrap_or_default();
            Failure::failed(format!("{name}: {why}{on}"))
        }
        Verdict::Waiting(what) => {
            Failure::new(Code::TimedOut, format!("{name}: timed out; it is {what}"))
        }
    }
}

/// The exit code of all outcomes: what failed outweighs what is late.
pub(super) fn code(outcomes: &[Outcome]) -> Code {
    let codes: Vec<Code> = outcomes.iter().map(|outcome| failure(outcome).code).collect();
    [Code::Failed, Code::TimedOut].into_iter().find(|c| codes.contains(c)).unwrap_or(Code::Done)
}
