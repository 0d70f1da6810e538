//! `dsbus disable NAME...`

use dsbus_schema::command::Verb;
use dsbus_schema::status::InstanceRow;

use super::act::{self, Manner};
use crate::args::Act;
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::wait::Goal;

/// Stops, and lets nobody start it until it is enabled.
///
/// # Errors
/// See [`act::run`].
pub(super) async fn run(config: &Config, args: &Act) -> Result<Code, Failure> {
    let manner = Manner::new(Verb::Disable, Goal::Stops, done);
    act::run(config, args, manner).await
}

fn done(before: Option<&InstanceRow>, _: Option<&InstanceRow>) -> String {
    let had_child = before.is_some_and(|row| row.state.may_have_child());
    if had_child { "stopped, and disabled".to_owned() } else { "disabled".to_owned() }
}
