//! `dsbus reload NAME...`

use dsbus_schema::command::Verb;
use dsbus_schema::status::InstanceRow;

use super::act::{self, Manner};
use crate::args::Act;
use crate::config::Config;
use crate::describe;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::wait::Goal;

/// Makes programs read their configuration anew, by a signal or by a new child that takes the old
/// one's place. What does not run is left alone.
///
/// # Errors
/// See [`act::run`].
pub(super) async fn run(config: &Config, args: &Act) -> Result<Code, Failure> {
    act::run(config, args, Manner::new(Verb::Reload, Goal::Reloads, done)).await
}

fn done(before: Option<&InstanceRow>, after: Option<&InstanceRow>) -> String {
    match after {
        None => "reloaded".to_owned(),
        Some(row) if row.pid.is_none() => format!("nothing to reload: {}", describe::state(row)),
        Some(row) => {
            let same = before.is_some_and(|before| before.pid == row.pid);
            let how = if same { "reloaded" } else { "reloaded by a new child" };
            format!("{how} ({})", describe::place(row))
        }
    }
}
