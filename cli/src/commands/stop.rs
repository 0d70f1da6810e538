//! `dsbus stop NAME...`

use dsbus_schema::command::Verb;
use dsbus_schema::status::InstanceRow;

use super::act::{self, Manner};
use crate::args::Act;
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::wait::Goal;

/// Stops what runs.
///
/// # Errors
/// See [`act::run`].
pub(super) async fn run(config: &Config, args: &Act) -> Result<Code, Failure> {
    act::run(config, args, Manner::new(Verb::Stop, Goal::Stops, done)).await
}

fn done(before: Option<&InstanceRow>, after: Option<&InstanceRow>) -> String {
    match (before, after) {
        (Some(row), _) if !row.wanted.run && !row.state.may_have_child() => {
            "already stopped".to_owned()
        }
        (Some(InstanceRow { pid: Some(_), .. }), Some(row)) if killed(row) => {
            let worker = row.worker.as_ref().map(|w| format!("{w}; ")).unwrap_or_default();
            format!("stopped ({worker}killed: it did not stop in time)")
        }
        (_, Some(InstanceRow { worker: Some(worker), .. })) => format!("stopped ({worker})"),
        (_, _) => "stopped".to_owned(),
    }
}

/// Whether the child had to be killed. A `stopsignal` that is KILL itself looks the same.
fn killed(row: &InstanceRow) -> bool {
    row.exit.and_then(|exit| exit.signal) == Some(nix::libc::SIGKILL)
}
