//! `dsbus remove NAME...`

use dsbus_schema::command::Verb;

use super::act::{self, Manner};
use crate::args::Act;
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::wait::Goal;

/// Stops programs, and forgets them.
///
/// # Errors
/// See [`act::run`].
pub(super) async fn run(config: &Config, args: &Act) -> Result<Code, Failure> {
    let manner = Manner::new(Verb::Remove, |_| Goal::Gone, |_, _| "removed".to_owned());
    act::run(config, args, manner).await
}
