//! `dsbus init [DIR]`

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::args;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;

/// Files to begin with: their names, their text, and what to do with them.
const FILES: [(&str, &str, &str); 3] = [
    ("programs.toml", include_str!("init/programs.toml"), "what runs: dsbus apply programs.toml"),
    (
        "worker.toml",
        include_str!("init/worker.toml"),
        "settings of a worker: dsbus worker --config worker.toml",
    ),
    (
        "dsbus.toml",
        include_str!("init/dsbus.toml"),
        "which bus, as whom: dsbus config shows what holds",
    ),
];

/// Writes files to begin with. What is there is left alone, unless it is to be overwritten.
///
/// # Errors
/// When one is there, and then none is written; or when one cannot be written.
pub(super) fn run(args: &args::Init) -> Result<Code, Failure> {
    let directory = &args.directory;
    let there = FILES.iter().map(|(name, ..)| directory.join(name)).find(|path| path.exists());
    if let Some(path) = there.filter(|_| !args.force) {
        let message = format!("{} is there already; nothing was written", path.display());
        return Err(Failure::failed(message).hint("--force overwrites it"));
    }
    let why = |path: &Path, e: io::Error| {
        Failure::failed(format!("cannot write {}: {e}", path.display()))
    };
    std::fs::create_dir_all(directory).map_err(|e| why(directory, e))?;
    for (name, text, what) in FILES {
        let path = directory.join(name);
        // Between the look and now another one may have written it.
        let mut options = OpenOptions::new();
        options.write(true).create_new(!args.force).create(true).truncate(args.force);
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|e| why(&path, e))?;
        output::line(format_args!("{}: {what}", path.display()))?;
    }
    Ok(Code::Done)
}
