//! Another version of the worker takes the place of the one that runs, in the same process. Before
//! that it is asked whether it can; and what goes wrong all the same gives the place back.

use dsbus_supervisor::{Handover, keep_way_back, takes_over};
use nix::unistd::User;

use super::choice::{Choice, Wrong};
use super::owner::{self, Left};
use super::{Ground, enter, open_log, secure, serve, try_log};
use crate::args;
use crate::commands::pidfile::PidFile;
use crate::config::Config;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::Diagnostic;
use crate::output;

/// Says whether this version could take over.
///
/// # Errors
/// Why not.
pub(super) fn try_out(config: &Config, args: &args::Worker, fd: i32) -> Result<Code, Failure> {
    let handover = Handover::read(fd, false).map_err(Failure::failed)?;
    let choice = checked(config, args, &handover)?;
    try_log(&choice.file.keys)?;
    output::line(takes_over())?;
    Ok(Code::Done)
}

/// Takes over.
///
/// # Errors
/// When it cannot, and cannot even give the place back.
pub(super) fn run(config: &Config, args: args::Worker, fd: i32) -> Result<Code, Failure> {
    keep_way_back(fd, &config.around.directory);
    let handover = Handover::read(fd, true).map_err(Failure::failed).map_err(give_back)?;
    let choice = checked(config, &args, &handover).map_err(give_back)?;
    serve(config, args, choice, Some(handover))
}

/// Gives the place back to the version before; what is returned says why that failed, too.
#[expect(clippy::needless_pass_by_value, reason = "it maps an error to another one")]
pub(super) fn give_back(failure: Failure) -> Failure {
    Failure::failed(dsbus_supervisor::give_back(&failure.message))
}

fn checked(config: &Config, args: &args::Worker, handover: &Handover) -> Result<Choice, Failure> {
    let choice = Choice::make(args, &config.around).map_err(|wrong| match wrong {
        Wrong::File(found) => {
            let told: Vec<String> = found.iter().map(Diagnostic::one_line).collect();
            Failure::failed(told.join("; "))
        }
        Wrong::Other(failure) => failure,
    })?;
    let keys = &choice.file.keys;
    if !args.insecure {
        secure::check(config, keys.signers_file.as_deref())?;
    }
    let same = handover.is_of(&config.fleet, &choice.worker, &choice.directory);
    same.map_err(Failure::failed)?;
    left(handover)?;
    Ok(choice)
}

fn left(handover: &Handover) -> Result<Left, Failure> {
    let left = serde_json::from_value(handover.owner().clone());
    left.map_err(|e| Failure::failed(format!("failed to understand what its owner left: {e}")))
}

/// What the worker stands on already, and what it has to make anew.
///
/// # Errors
/// What cannot be had.
pub(super) fn ground(
    handover: &Handover,
    args: &args::Worker,
    choice: &Choice,
) -> Result<Ground, Failure> {
    let left = left(handover)?;
    let keys = &choice.file.keys;
    if let Some(mode) = keys.umask {
        owner::set_umask(mode);
    }
    let account = match &left.account {
        Some(name) => User::from_name(name).map_err(std::io::Error::from)?,
        None => None,
    };
    // What is not there any more, and was there when the version before began, must not keep that from
    // taking its place back.
    let borne = |done: Result<(), Failure>| match done {
        Err(failure) if args.given_back.is_some() => {
            output::warning(failure.message);
            Ok(())
        }
        done => done,
    };
    borne(try_log(keys))?;
    let log = open_log(keys, &choice.directory, false);
    if !(args.nodaemon || keys.nodaemon) {
        // It holds no file system.
        std::env::set_current_dir("/")?;
    }
    borne(enter(keys))?;
    Ok(Ground { nofile: left.nofile, core: left.core, account, log })
}

/// The pidfile that was locked.
///
/// # Errors
/// When it was not left.
pub(super) fn pidfile(handover: &Handover) -> Result<Option<PidFile>, Failure> {
    left(handover)?.pidfile.map(PidFile::taken_over).transpose()
}
