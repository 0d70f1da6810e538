//! `dsbus man [VERB]`, `dsbus man --dir DIR`, `dsbus man --markdown`

mod markdown;

use crate::args;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::did_you_mean;
use crate::output;

/// Prints the manual page, or writes those of all verbs.
///
/// # Errors
/// When they cannot be written.
pub(super) fn run(args: &args::Man) -> Result<Code, Failure> {
    if args.markdown {
        output::bytes(markdown::page(args::command()).as_bytes())?;
        return Ok(Code::Done);
    }
    let mut command = explained(args::command());
    let Some(directory) = &args.directory else {
        if let Some(verb) = &args.verb {
            command.build();
            let found = command.find_subcommand(verb).cloned();
            let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
            let unknown = || {
                let failure = Failure::usage(format!("there is no verb {verb:?}"));
                match did_you_mean(verb, known) {
                    Some(hint) => failure.hint(hint),
                    None => failure.hint("dsbus man --dir DIR writes the pages of all"),
                }
            };
            command = found.ok_or_else(unknown)?;
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        output::bytes(&page)?;
        return Ok(Code::Done);
    };
    let why = |e| Failure::failed(format!("cannot write into {}: {e}", directory.display()));
    std::fs::create_dir_all(directory).map_err(why)?;
    clap_mangen::generate_to(command, directory).map_err(why)?;
    output::note(format_args!("written into {}", directory.display()));
    Ok(Code::Done)
}

/// A manual page explains also the options that a short help leaves out.
fn explained(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.hide_short_help(false)).mut_subcommands(explained)
}
