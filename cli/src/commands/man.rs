//! `dsbus man [DIR]`

use crate::args;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Prints the manual page, or writes those of all verbs.
///
/// # Errors
/// When they cannot be written.
pub(super) fn run(args: &args::Man) -> Result<Code, Failure> {
    let command = args::command();
    let Some(directory) = &args.directory else {
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
