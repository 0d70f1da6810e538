//! Exit codes: what a script learns without reading text. README lists them; they do not change.

use std::process::ExitCode;

/// How a verb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// What was asked for is the case.
    Done = 0,
    /// It was refused, or it failed.
    Failed = 1,
    /// The command line itself is wrong.
    Usage = 2,
    /// `status`: something that should run does not.
    NotRunning = 3,
    /// The bus or the schedulers cannot be reached.
    Unreachable = 4,
    /// It was accepted, and was not the case in time.
    TimedOut = 5,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}
