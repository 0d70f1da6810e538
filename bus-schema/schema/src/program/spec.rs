//! The declaration itself: every key, its default, and how it is read.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::command::{self, Command};
use super::{AutoRestart, Problem, Signal};
use crate::ids::WorkerName;
use crate::lenient::{self, Size, Span};

/// `touch_timeout` unless set, in seconds.
pub const TOUCH_TIMEOUT_DEFAULT: u64 = 5;
/// `touch_timeout` of an exclusive program unless set, in seconds: an election of a three-node
/// stream takes up to 8.5 s (measured) and would stop a shorter one.
pub const TOUCH_TIMEOUT_EXCLUSIVE: u64 = 15;

/// What a person declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["command"]))]
#[expect(clippy::struct_excessive_bools, reason = "each is a key that people switch on or off")]
pub struct ProgramSpec {
    /// What to run. Required.
    #[serde(deserialize_with = "command::read")]
    pub command: Command,
    /// Give the command line to `/bin/sh -c`.
    #[serde(deserialize_with = "lenient::boolean")]
    pub shell: bool,
    /// How many copies.
    #[serde(deserialize_with = "lenient::number")]
    pub numprocs: u32,
    /// Working directory of the child; its worker's state directory of the instance unless set.
    pub directory: Option<String>,
    /// Added to the child's environment.
    #[serde(deserialize_with = "lenient::environment")]
    pub environment: BTreeMap<String, String>,
    /// Start it once it is declared.
    #[serde(deserialize_with = "lenient::boolean")]
    pub autostart: bool,
    /// Start it again when it ends by itself.
    pub autorestart: AutoRestart,
    /// How long a child must live to count as RUNNING.
    pub startsecs: Span,
    /// How often a start that failed is tried again, before FATAL.
    #[serde(deserialize_with = "lenient::number")]
    pub startretries: u32,
    /// Exit codes that are expected.
    #[serde(deserialize_with = "lenient::list")]
    pub exitcodes: Vec<u8>,
    /// The signal that asks it to stop.
    pub stopsignal: Signal,
    /// How long it may take to stop before it is killed.
    pub stopwaitsecs: Span,
    /// Write its standard error to its standard output's file.
    #[serde(deserialize_with = "lenient::boolean")]
    pub redirect_stderr: bool,
    /// Size at which the standard output's file is rotated; 0 is never.
    pub stdout_logfile_maxbytes: Size,
    /// How many rotated files of standard output are kept.
    #[serde(deserialize_with = "lenient::number")]
    pub stdout_logfile_backups: u32,
    /// Size at which the standard error's file is rotated; 0 is never.
    pub stderr_logfile_maxbytes: Size,
    /// How many rotated files of standard error are kept.
    #[serde(deserialize_with = "lenient::number")]
    pub stderr_logfile_backups: u32,
    /// Workers it may run on; all when empty.
    #[serde(deserialize_with = "lenient::list")]
    pub machines: Vec<WorkerName>,
    /// How long its worker may be silent before it runs elsewhere; whole seconds. Unset: 5 s, and
    /// 15 s when exclusive.
    pub touch_timeout: Option<Span>,
    /// Never two live copies of one instance, at the price of stopping when the bus is lost.
    #[serde(deserialize_with = "lenient::boolean")]
    pub exclusive: bool,
    /// On how many workers an instance may end FATAL before it is given up.
    #[serde(deserialize_with = "lenient::number")]
    pub max_fail_count: u32,
}

/// Log files rotate at 50 MB and keep 10, as Supervisor's do.
const LOG_MAXBYTES: Size = Size(50 << 20);
const LOG_BACKUPS: u32 = 10;

impl Default for ProgramSpec {
    fn default() -> Self {
        ProgramSpec {
            command: Command::Words(Vec::new()),
            shell: false,
            numprocs: 1,
            directory: None,
            environment: BTreeMap::new(),
            autostart: true,
            autorestart: AutoRestart::Unexpected,
            startsecs: Span::from_secs(1),
            startretries: 3,
            exitcodes: vec![0],
            stopsignal: Signal::TERM,
            stopwaitsecs: Span::from_secs(10),
            redirect_stderr: false,
            stdout_logfile_maxbytes: LOG_MAXBYTES,
            stdout_logfile_backups: LOG_BACKUPS,
            stderr_logfile_maxbytes: LOG_MAXBYTES,
            stderr_logfile_backups: LOG_BACKUPS,
            machines: Vec::new(),
            touch_timeout: None,
            exclusive: false,
            max_fail_count: 3,
        }
    }
}

impl ProgramSpec {
    /// Every key that a declaration may have.
    pub fn keys() -> Vec<String> {
        match serde_json::to_value(ProgramSpec::default()) {
            Ok(Value::Object(map)) => map.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Reads one declaration out of keys and values, and reports everything that is wrong with
    /// them, not only the first. Unknown keys are left to the caller, who knows whether they are
    /// mistakes (a person's file) or a newer version's (a message).
    ///
    /// # Errors
    /// All problems, those of single values first.
    pub fn read(keys: &Map<String, Value>) -> Result<ProgramSpec, Vec<Problem>> {
        let known = ProgramSpec::keys();
        let mut accepted = Map::new();
        let mut problems = Vec::new();
        for (key, value) in keys.iter().filter(|(key, _)| known.contains(key)) {
            let mut alone = Map::new();
            alone.insert(key.clone(), value.clone());
            match serde_json::from_value::<ProgramSpec>(Value::Object(alone)) {
                Ok(_) => {
                    accepted.insert(key.clone(), value.clone());
                }
                Err(e) => problems.push(Problem::new(key, e.to_string())),
            }
        }
        let spec = match serde_json::from_value::<ProgramSpec>(Value::Object(accepted)) {
            Ok(spec) => spec,
            Err(e) => {
                problems.push(Problem::new("command", e.to_string()));
                return Err(problems);
            }
        };
        // A key that could not be read has its default here, and is not judged twice.
        let unread: Vec<String> = problems.iter().map(|p| p.key.clone()).collect();
        problems.extend(spec.problems().into_iter().filter(|p| !unread.contains(&p.key)));
        if problems.is_empty() { Ok(spec) } else { Err(problems) }
    }

    /// The words to execute.
    ///
    /// # Errors
    /// When the command is empty or its quotes do not match.
    pub fn argv(&self) -> Result<Vec<String>, String> {
        let words = match (&self.command, self.shell) {
            (Command::Words(words), false) => words.clone(),
            (Command::Line(line), false) => {
                shell_words::split(line).map_err(|_| "has a quote that is not closed".to_owned())?
            }
            (Command::Line(line), true) if line.trim().is_empty() => Vec::new(),
            (Command::Line(line), true) => {
                vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()]
            }
            (Command::Words(_), true) => {
                return Err("must be one line of text when shell = true".to_owned());
            }
        };
        if words.first().is_none_or(String::is_empty) {
            return Err("is missing: say what to run".to_owned());
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err("holds a NUL byte".to_owned());
        }
        Ok(words)
    }

    /// How long its worker may be silent before it runs elsewhere, in whole seconds.
    pub fn touch_seconds(&self) -> u64 {
        match self.touch_timeout {
            Some(span) => span.0.as_secs(),
            None if self.exclusive => TOUCH_TIMEOUT_EXCLUSIVE,
            None => TOUCH_TIMEOUT_DEFAULT,
        }
    }

    /// Whether `other` belongs to another placement: `touch_timeout` and `exclusive` say by which
    /// lease an instance lives, so changing them means stopping and placing it anew.
    pub fn same_identity(&self, other: &ProgramSpec) -> bool {
        self.exclusive == other.exclusive && self.touch_seconds() == other.touch_seconds()
    }

    /// Whether a child of `self` may go on living as a child of `other`: only keys that do not
    /// reach into the process differ.
    pub fn same_child(&self, other: &ProgramSpec) -> bool {
        self.command == other.command
            && self.shell == other.shell
            && self.directory == other.directory
            && self.environment == other.environment
            && self.redirect_stderr == other.redirect_stderr
            && self.same_identity(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<ProgramSpec, Vec<String>> {
        let Value::Object(map) = value else { panic!("not a table") };
        ProgramSpec::read(&map).map_err(|ps| ps.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn defaults_are_supervisors() {
        let spec = read(json!({"command": "sleep 1000"})).unwrap();
        assert_eq!(spec.argv().unwrap(), ["sleep", "1000"]);
        assert_eq!((spec.numprocs, spec.startretries, spec.max_fail_count), (1, 3, 3));
        assert_eq!(spec.autorestart, AutoRestart::Unexpected);
        assert_eq!(spec.touch_seconds(), 5);
        assert_eq!(read(json!({"command": "x", "exclusive": true})).unwrap().touch_seconds(), 15);
    }

    #[test]
    fn values_may_be_typed_or_text() {
        let typed = json!({"command": ["a", "b c"], "numprocs": 3, "autorestart": true,
            "startsecs": 5, "exitcodes": [0, 2], "stopsignal": 10, "machines": ["w1", "w2"]});
        let text = json!({"command": "a 'b c'", "numprocs": "3", "autorestart": "true",
            "startsecs": "5s", "exitcodes": "0,2", "stopsignal": "SIGUSR1", "machines": "w1, w2"});
        let (typed, mut text) = (read(typed).unwrap(), read(text).unwrap());
        assert_eq!(typed.argv(), text.argv());
        text.command = typed.command.clone();
        assert_eq!(typed, text);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let said = read(json!({"command": "", "numprocs": "x", "startsecs": "soon",
            "touch_timeout": "1500ms", "directory": "here", "autorestart": "maybe"}))
        .unwrap_err();
        for (key, what) in [
            ("numprocs", "whole number"),
            ("startsecs", "duration"),
            ("autorestart", "unexpected"),
            ("command", "missing"),
            ("touch_timeout", "whole seconds"),
            ("directory", "not absolute"),
        ] {
            assert!(
                said.iter().any(|s| s.starts_with(key) && s.contains(what)),
                "{key}: {what} not in {said:#?}"
            );
        }
        assert_eq!(said.len(), 6, "{said:#?}");
    }

    #[test]
    fn a_shell_word_gives_a_hint() {
        let said = read(json!({"command": "a | b"})).unwrap_err();
        assert!(said[0].contains("shell = true"), "{said:?}");
        assert!(read(json!({"command": "a | b", "shell": true})).is_ok());
        assert!(read(json!({"command": "a '|' b"})).is_err(), "a quoted bar reads the same");
        assert!(read(json!({"command": ["a", "|", "b"]})).is_ok());
        assert!(read(json!({"command": "bash -c 'a; b'"})).is_ok());
    }

    #[test]
    fn a_spec_survives_a_round_trip() {
        let spec =
            read(json!({"command": "x", "environment": "A=1", "touch_timeout": "7s"})).unwrap();
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(serde_json::from_value::<ProgramSpec>(json).unwrap(), spec);
    }
}
