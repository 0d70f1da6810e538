//! `dsbus supervisorctl ACTION...`: prints and exits as supervisorctl 4.3.0 does, for scripts that
//! read it. What only makes sense for one supervisord says so.

mod acting;
mod controller;
mod help;
mod reading;
mod showing;

use crate::args::{Globals, Supervisorctl};
use crate::config::Config;
use crate::connection::{self, Connection};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::settings::Wrong;
use controller::{Controller, Next};

use super::shell::Lines;

/// Does one action; without any, reads actions from standard input.
///
/// # Errors
/// When nobody reads what is said, or the address is none.
pub(super) fn run(config: &Config, args: &Supervisorctl) -> Result<Code, Failure> {
    if let Some(url) = args.serverurl.as_deref().filter(|_| args.bus().is_none()) {
        output::note(format_args!(
            "-s {url} has no effect: this asks the fleet at {}",
            config.shown()
        ));
    }
    if args.configuration.is_some() {
        output::note(
            "-c has no effect: what is declared is in the fleet; dsbus apply FILE adds to it",
        );
    }
    if args.username.is_some() || args.password.is_some() {
        output::note("-u and -p have no effect: the bus has its own users");
    }
    let mut controller = Controller::new(config.clone());
    if !args.action.is_empty() {
        connection::run(controller.action(&args.action.join(" ")))?;
        return Ok(controller.code());
    }
    // Whoever has to say who he is says it once.
    if let Ok(known) = connection::run(Connection::open(&controller.config)) {
        controller.config = known.config().clone();
    }
    connection::run(interruptible(&mut controller, "status"))?;
    let mut lines = Lines::open(&controller.config, args.history.as_deref(), "supervisorctl");
    while let Some(line) = lines.read("supervisor> ", true)? {
        match connection::run(interruptible(&mut controller, &line))? {
            Next::More => {}
            Next::End => return Ok(Code::Done),
        }
    }
    output::line("")?;
    // As Supervisor: whatever happened.
    Ok(Code::Done)
}

/// The same fleet on the bus that `open` names.
fn at(config: &Config, url: &str) -> Result<Config, Failure> {
    let globals = Globals {
        nats: Some(url.to_owned()),
        fleet: Some(config.fleet.clone()),
        user: Some(config.user.clone()),
        ..Globals::default()
    };
    let resolved = Config::resolve(&globals, config.around.clone());
    // What is wrong with a file would have been told before.
    resolved.map_err(|wrong| match wrong {
        Wrong::Other(failure) => failure,
        Wrong::File(_) => Failure::usage(format!("{url} cannot be used")),
    })
}

/// Does an action, which Ctrl-C ends, and nothing else.
async fn interruptible(controller: &mut Controller, line: &str) -> Result<Next, Failure> {
    tokio::select! {
        done = controller.action(line) => done,
        _ = tokio::signal::ctrl_c() => {
            output::line("")?;
            Ok(Next::More)
        }
    }
}
