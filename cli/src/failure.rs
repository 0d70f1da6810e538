//! Why a verb ended without doing what was asked: one sentence, what to do about it, and the exit
//! code.

use std::io;

use crate::exit_code::Code;

/// A verb's failure, as it is told to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) code: Code,
    /// What went wrong. Empty when it has been told already.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure with this code.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), hint: None }
    }

    /// Refused, or failed.
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Code::Failed, message)
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Code::Usage, message)
    }

    /// Everything has been said; only the code is left.
    pub(crate) fn told(code: Code) -> Failure {
        Failure::new(code, "")
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// The same when nothing better is known.
    #[must_use]
    pub(crate) fn or_hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }
}

impl From<io::Error> for Failure {
    /// A reader that went away (`dsbus events -f | head -1`) has what it wanted.
    fn from(e: io::Error) -> Failure {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::told(Code::Done),
            _ => Failure::failed(e.to_string()),
        }
    }
}
