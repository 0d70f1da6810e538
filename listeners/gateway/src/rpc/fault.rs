//! Supervisor's faults. Pure.

use std::fmt::Display;

use super::value::Value;
use crate::faults::Fault;
use crate::fleet::Failed;

/// Codes and names, as Supervisor 4.3.0 has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Faults {
    UnknownMethod,
    IncorrectParameters,
    BadArguments,
    SignatureUnsupported,
    BadName,
    BadSignal,
    NoFile,
    NotExecutable,
    Failed,
    AbnormalTermination,
    SpawnError,
    AlreadyStarted,
    NotRunning,
    Success,
    AlreadyAdded,
    StillRunning,
}

impl Faults {
    /// The number.
    pub(super) fn code(self) -> i32 {
        match self {
            Faults::UnknownMethod => 1,
            Faults::IncorrectParameters => 2,
            Faults::BadArguments => 3,
            Faults::SignatureUnsupported => 4,
            Faults::BadName => 10,
            Faults::BadSignal => 11,
            Faults::NoFile => 20,
            Faults::NotExecutable => 21,
            Faults::Failed => 30,
            Faults::AbnormalTermination => 40,
            Faults::SpawnError => 50,
            Faults::AlreadyStarted => 60,
            Faults::NotRunning => 70,
            Faults::Success => 80,
            Faults::AlreadyAdded => 90,
            Faults::StillRunning => 91,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Faults::UnknownMethod => "UNKNOWN_METHOD",
            Faults::IncorrectParameters => "INCORRECT_PARAMETERS",
            Faults::BadArguments => "BAD_ARGUMENTS",
            Faults::SignatureUnsupported => "SIGNATURE_UNSUPPORTED",
            Faults::BadName => "BAD_NAME",
            Faults::BadSignal => "BAD_SIGNAL",
            Faults::NoFile => "NO_FILE",
            Faults::NotExecutable => "NOT_EXECUTABLE",
            Faults::Failed => "FAILED",
            Faults::AbnormalTermination => "ABNORMAL_TERMINATION",
            Faults::SpawnError => "SPAWN_ERROR",
            Faults::AlreadyStarted => "ALREADY_STARTED",
            Faults::NotRunning => "NOT_RUNNING",
            Faults::Success => "SUCCESS",
            Faults::AlreadyAdded => "ALREADY_ADDED",
            Faults::StillRunning => "STILL_RUNNING",
        }
    }

    /// Only what it is.
    pub(super) fn bare(self) -> Wrong {
        Wrong { code: self.code(), text: self.name().to_owned() }
    }

    /// And about what.
    pub(super) fn about(self, detail: impl Display) -> Wrong {
        Wrong { code: self.code(), text: format!("{}: {detail}", self.name()) }
    }
}

/// A fault that is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Its number.
    pub(super) code: i32,
    /// `BAD_NAME: web`.
    pub(super) text: String,
}

impl Wrong {
    /// As the answer holds it.
    pub(super) fn value(&self) -> Value {
        Value::of([("faultCode", self.code.into()), ("faultString", self.text.as_str().into())])
    }
}

impl From<Failed> for Wrong {
    fn from(failed: Failed) -> Wrong {
        Faults::Failed.about(failed.text)
    }
}

/// How an action on a process ended, where it was called `name`; `spawnerr` is why the last start failed.
pub(super) fn of(fault: Fault, name: &str, spawnerr: Option<&str>) -> Result<(), Wrong> {
    Err(match fault {
        Fault::None => return Ok(()),
        Fault::BadName => Faults::BadName.about(name),
        Fault::NoFile => Faults::NoFile.about(why_not(spawnerr)),
        Fault::NotExecutable => Faults::NotExecutable.about(why_not(spawnerr)),
        Fault::AlreadyStarted => Faults::AlreadyStarted.about(name),
        Fault::NotRunning => Faults::NotRunning.about(name),
        Fault::SpawnError => Faults::SpawnError.about(name),
        Fault::AbnormalTermination => Faults::AbnormalTermination.about(name),
        Fault::BadSignal => Faults::BadSignal.about(name),
        Fault::Failed => Faults::Failed.about(name),
        Fault::Refused(why) => Faults::Failed.about(why),
    })
}

/// Supervisor's words for a command that cannot be run.
fn why_not(spawnerr: Option<&str>) -> String {
    let why = spawnerr.unwrap_or("it cannot be run");
    if let Some(path) = why.strip_suffix(" does not exist") {
        return format!("can't find command '{path}'");
    }
    if let Some((name, _)) =
        why.strip_prefix("no file ").and_then(|rest| rest.split_once(" is in any"))
    {
        return format!("can't find command '{name}'");
    }
    if let Some((path, _)) = why.split_once(" is not executable") {
        return format!("command at '{path}' is not executable");
    }
    if let Some((path, _)) = why.split_once(" is a directory") {
        return format!("command at '{path}' is a directory");
    }
    why.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_cannot_be_run_are_told_in_supervisors_words() {
        for (why, said) in [
            ("/no/such does not exist", "can't find command '/no/such'"),
            ("no file such is in any directory of PATH (/bin)", "can't find command 'such'"),
            (
                "/etc/passwd is not executable: mode 644",
                "command at '/etc/passwd' is not executable",
            ),
            ("/etc is a directory, and cannot be executed", "command at '/etc' is a directory"),
            ("/a cannot be executed: nobody knows", "/a cannot be executed: nobody knows"),
        ] {
            assert_eq!(why_not(Some(why)), said);
        }
        assert_eq!(
            of(Fault::NoFile, "web", Some("/a does not exist")).unwrap_err(),
            Wrong { code: 20, text: "NO_FILE: can't find command '/a'".to_owned() }
        );
        assert_eq!(of(Fault::None, "web", None), Ok(()));
        assert_eq!(of(Fault::NotRunning, "web", None).unwrap_err().text, "NOT_RUNNING: web");
    }
}
