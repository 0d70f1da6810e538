//! `dsbus import FILE`

use crate::args;
use crate::config::Surroundings;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::import;
use crate::output;

/// Prints a configuration of Supervisor as a TOML file; what of it is not as it was, is told beside.
///
/// # Errors
/// When anything in it is wrong, or nobody reads the answer.
pub(super) fn run(args: &args::Import) -> Result<Code, Failure> {
    let imported = import::read(&args.file, &Surroundings::here()).map_err(|found| {
        output::diagnostics(&found, "nothing was made of it");
        Failure::told(Code::Failed)
    })?;
    output::line(imported.text().trim_end())?;
    imported.notes.iter().for_each(output::note);
    Ok(Code::Done)
}
