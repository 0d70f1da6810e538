//! `dsbus completion SHELL`

use clap_complete::env::Shells;

use crate::args::{self, Shell};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// The variable by which a shell asks for completions.
pub(crate) const VARIABLE: &str = "DSBUS_COMPLETE";

/// Prints what makes a shell ask.
///
/// # Errors
/// When nobody reads it.
pub(super) fn run(args: &args::Completion) -> Result<Code, Failure> {
    let shell = match args.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let mut script = Vec::new();
    if args.shell == Shell::Bash {
        // Names have colons (web:0), which bash takes for ends of words.
        script.extend(b"COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}\n");
    }
    if let Some(shell) = Shells::builtins().completer(shell) {
        shell.write_registration(VARIABLE, "dsbus", "dsbus", "dsbus", &mut script)?;
    }
    output::bytes(&script)?;
    Ok(Code::Done)
}
