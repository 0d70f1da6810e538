//! `dsbus NAME ...`, where NAME is none of ours: a program `dsbus-NAME` on PATH.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use dsbus_client::Credentials;

use crate::args;
use crate::config::Config;
use crate::failure::Failure;
use crate::file::did_you_mean;
use crate::settings::Key;

/// Becomes that program; it finds the same fleet by the variables of the `nats` tool, and by
/// `DSBUS_FLEET`.
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
        let hint = match elsewhere(&name) {
            Some(ours) => Some(format!("did you mean {ours:?}?")),
            None => did_you_mean(&name, verbs.map(clap::Command::get_name)),
        };
        let message = format!("there is no verb {name:?}, and no program {program} on PATH");
        let hint = hint.unwrap_or_else(|| "dsbus --help lists the verbs".to_owned());
        return Err(Failure::usage(message).hint(hint));
    };
    let mut command = Command::new(&found);
    command.args(&words[1..]).env("DSBUS_FLEET", config.fleet.as_str());
    for key in Key::ALL {
        // What was said of another bus is not for this one.
        if let Some(name) = key.nats_variable() {
            command.env_remove(name);
        }
    }
    command.envs(config.as_environment()).envs(as_nats(config));
    let error = command.exec();
    let failure = Failure::failed(format!("{} cannot be run: {error}", found.display()));
    // The file was found.
    Err(if error.kind() == ErrorKind::NotFound {
        failure.hint("what its first line says after #! is not there")
    } else {
        failure
    })
}

/// What a verb of other tools is called here.
fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        "ps" | "ls" | "list" | "get" | "avail" => "status",
        "rm" | "delete" | "destroy" | "down" => "remove",
        "kill" => "signal KILL",
        "up" | "deploy" | "update" | "reread" => "apply",
        "show" | "inspect" => "describe",
        "nodes" | "hosts" | "machines" => "workers",
        "tail" => "logs",
        "fg" => "attach",
        _ => return None,
    })
}

/// The bus, as the `nats` tool is told it.
fn as_nats(config: &Config) -> Vec<(&'static str, OsString)> {
    let mut said = vec![(Key::Nats, OsString::from(config.urls.join(",")))];
    match &config.access.credentials {
        // Those of a context that has a JWT of its own cannot be told so.
        Credentials::Address | Credentials::Jwt { .. } => {}
        Credentials::File(path) => said.push((Key::Creds, path.into())),
        Credentials::Nkey(path) => said.push((Key::Nkey, path.into())),
        Credentials::Password { user, password } => {
            said.push((Key::NatsUser, user.into()));
            said.push((Key::NatsPassword, password.reveal().into()));
        }
        Credentials::Token(token) => said.push((Key::NatsToken, token.reveal().into())),
    }
    let tls = &config.access.tls;
    said.extend(tls.ca.iter().map(|path| (Key::TlsCa, path.into())));
    if let Some((cert, key)) = &tls.own {
        said.extend([(Key::TlsCert, cert.into()), (Key::TlsKey, key.into())]);
    }
    said.into_iter().filter_map(|(key, value)| Some((key.nats_variable()?, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_of_other_tools_are_none_of_ours_and_mean_one_that_is() {
        let command = args::command();
        let ours = |name: &str| command.get_subcommands().any(|verb| verb.get_name() == name);
        for name in ["ps", "ls", "list", "rm", "kill", "up", "show", "nodes", "tail", "fg"] {
            let meant = elsewhere(name).unwrap();
            let verb = meant.split(' ').next().unwrap_or_default();
            assert!(!ours(name) && ours(verb), "{name}: {meant}");
        }
        assert_eq!(elsewhere("fly"), None);
    }
}
