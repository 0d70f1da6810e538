//! `dsbus start NAME... [-- ARGUMENT...]`

use dsbus_schema::command::Verb;
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;

use super::act::{self, Manner};
use crate::args::Start;
use crate::config::Config;
use crate::describe;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::wait::Goal;

/// Starts what does not run.
///
/// # Errors
/// See [`act::run`].
pub(super) async fn run(config: &Config, args: &Start) -> Result<Code, Failure> {
    let arguments = &args.arguments;
    let manner = Manner { arguments, ..Manner::new(Verb::Start, Goal::Runs, done) };
    act::run(config, &args.act, manner).await
}

fn done(before: Option<&InstanceRow>, after: Option<&InstanceRow>) -> String {
    let Some(after) = after else { return "started".to_owned() };
    let ran = before.is_some_and(|row| {
        row.state == State::Running && (row.epoch, row.pid) == (after.epoch, after.pid)
    });
    let place = describe::place(after);
    match after.state {
        State::Running if ran => format!("already running ({place})"),
        State::Running => format!("started ({place})"),
        _ => format!("started, and {}", describe::state(after)),
    }
}
