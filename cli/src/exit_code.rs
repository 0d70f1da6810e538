//! Exit codes: what a script learns without reading text. README lists them; they do not change.

use std::num::NonZeroU8;
use std::process::ExitCode;

/// How a verb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// What was asked for is the case.
    Done,
    /// It was refused, or it failed.
    Failed,
    /// The command line itself is wrong, or the worker's file is.
    Usage,
    /// `status`: something that should run does not.
    NotRunning,
    /// The bus or the schedulers cannot be reached.
    Unreachable,
    /// It was accepted, and was not the case in time; or it is a rollout that waits for a person.
    TimedOut,
    /// `run`: dsbus itself failed, and not the command.
    NotRun,
    /// `run`: what the command ended with; `worker`: what the program ended with that ended the worker
    /// (`on_fatal = "exit"`).
    Program(NonZeroU8),
}

/// A shell's rule for whoever was ended by a signal.
const SIGNAL_CODE: i32 = 128;

impl Code {
    /// What a signal ended.
    pub(crate) fn signal(number: i32) -> Code {
        Code::program(u8::try_from(SIGNAL_CODE + number).unwrap_or(u8::MAX))
    }

    /// What a program ended with.
    pub(crate) fn program(code: u8) -> Code {
        NonZeroU8::new(code).map_or(Code::Done, Code::Program)
    }

    /// As a number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Code::Done => 0,
            Code::Failed => 1,
            Code::Usage => 2,
            Code::NotRunning => 3,
            Code::Unreachable => 4,
            Code::TimedOut => 5,
            Code::NotRun => 125,
            Code::Program(code) => code.get(),
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_ends_with_is_passed_on() {
        assert_eq!(Code::program(0), Code::Done);
        for code in 1..=u8::MAX {
            assert_eq!(Code::program(code).number(), code);
        }
    }

    #[test]
    fn the_documented_codes_stay() {
        let codes = [
            Code::Done,
            Code::Failed,
            Code::Usage,
            Code::NotRunning,
            Code::Unreachable,
            Code::TimedOut,
            Code::NotRun,
            Code::signal(2),
        ];
        assert_eq!(codes.map(Code::number), [0, 1, 2, 3, 4, 5, 125, 130]);
    }
}
