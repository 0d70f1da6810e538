//! `dsbus restart NAME... [-- ARGUMENT...]`

use dsbus_schema::command::Verb;
use dsbus_schema::state::State;
use dsbus_schema::status::InstanceRow;

use super::act::{self, Manner};
use crate::args::Restart;
use crate::config::Config;
use crate::describe;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::wait::Goal;

/// Stops and starts; what does not run is started.
///
/// # Errors
/// See [`act::run`].
pub(super) async fn run(config: &Config, args: &Restart) -> Result<Code, Failure> {
    let (rolling, arguments) = (args.rolling, &args.arguments);
    let manner = Manner { rolling, arguments, ..Manner::new(Verb::Restart, Goal::Runs, done) };
    act::run(config, &args.act, manner).await
}

fn done(before: Option<&InstanceRow>, after: Option<&InstanceRow>) -> String {
    let had_child = before.is_some_and(|row| row.state.may_have_child());
    let verb = if had_child { "restarted" } else { "started" };
    match after {
        None => verb.to_owned(),
        Some(row) if row.state == State::Running => format!("{verb} ({})", describe::place(row)),
        Some(row) => format!("{verb}, and {}", describe::state(row)),
    }
}
