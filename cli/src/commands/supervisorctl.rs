//! `dsbus supervisorctl ACTION...`: prints and exits as supervisorctl 4.3.0 does, for scripts that
//! read it. What only makes sense for one supervisord says so.

mod acting;
mod controller;
mod help;
mod processes;
mod reading;
mod showing;

use crate::args::{Globals, Supervisorctl};
use crate::config::Config;
use crate::connection::{self, Connection};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::settings::Wrong;
use crate::settings::key::is_bus;
use controller::{Controller, Next};

use super::shell::Lines;

/// Does one action; without any, reads actions from standard input.
///
/// # Errors
/// When nobody reads what is said, or the address is none.
pub(super) fn run(config: &Config, args: &Supervisorctl) -> Result<Code, Failure> {
    let config = at(config, args.serverurl.as_deref())?;
    if args.configuration.is_some() {
        output::note(
            "-c has no effect: what is declared is in the fleet; dsbus apply FILE adds to it",
        );
    }
    if args.username.is_some() || args.password.is_some() {
        output::note("-u and -p have no effect: the bus has its own users");
    }
    let mut controller = Controller::new(config);
    if !args.action.is_empty() {
        connection::run(controller.action(&args.action.join(" ")))?;
        return Ok(controller.code());
    }
    // Whoever has to say who he is says it once.
    if let Ok(known) = connection::run(Connection::open(&controller.config)) {
        controller.config = known.config().clone();
    }
    connection::run(controller.action("status"))?;
    let mut lines = Lines::open(&controller.config, args.history.as_deref(), "supervisorctl");
    while let Some(line) = lines.read("supervisor> ", true)? {
        match connection::run(controller.action(&line))? {
            Next::More => {}
            Next::End => return Ok(Code::Done),
        }
    }
    output::line("")?;
    // As Supervisor: whatever happened.
    Ok(Code::Done)
}

/// The bus that `-s` or `open` names, if it is one.
fn at(config: &Config, url: Option<&str>) -> Result<Config, Failure> {
    Ok(match url {
        Some(url) if is_bus(url) => {
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
            })?
        }
        Some(url) => {
            output::note(format_args!(
                "-s {url} has no effect: this asks the fleet at {}",
                config.shown()
            ));
            config.clone()
        }
        None => config.clone(),
    })
}
