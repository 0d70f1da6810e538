//! `dsbus NAME ...`, where NAME is none of ours: a program `dsbus-NAME` on PATH.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::args;
use crate::config::Config;
use crate::failure::Failure;
use crate::file::did_you_mean;

/// Becomes that program; it finds the same fleet by `NATS_URL` and `DSBUS_FLEET`.
///
/// # Errors
/// When there is none, or it cannot be run.
pub(super) fn run(config: &Config, words: &[OsString]) -> Result<Infallible, Failure> {
    let name = words.first().map(|name| name.to_string_lossy()).unwrap_or_default();
    let program = format!("dsbus-{name}");
    let path = config.around.path().into_iter().map(|directory| directory.join(&program));
    let Some(found) = path.filter(|_| !name.contains('/')).find(|path| path.is_file()) else {
        let command = args::command();
        let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let hint = did_you_mean(&name, verbs.map(clap::Command::get_name));
        let message = format!("there is no verb {name:?}, and no program {program} on PATH");
        let hint = hint.unwrap_or_else(|| "dsbus --help lists the verbs".to_owned());
        return Err(Failure::usage(message).hint(hint));
    };
    let error = Command::new(&found)
        .args(&words[1..])
        .env("NATS_URL", config.urls.join(","))
        .env("DSBUS_FLEET", config.fleet.as_str())
        .exec();
    Err(Failure::failed(format!("{} cannot be run: {error}", found.display())))
}
