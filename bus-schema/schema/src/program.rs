//! What a person declares. Key names and defaults are Supervisor's (its manual, "[program:x]
//! Section Settings") where Supervisor has the key.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::ids::{InstanceId, ProgramId, ProgramName, WorkerName};
use crate::lenient::{self, Size, Span};

/// Most copies of one program.
pub const NUMPROCS_MAX: u32 = 10_000;
/// Shortest `touch_timeout`, in seconds: an acknowledged touch counts for fencing only if it was
/// sent more than 1 s before the previous one could expire, which leaves nothing of 1 s.
pub const TOUCH_TIMEOUT_MIN: u64 = 2;
/// Longest `touch_timeout`, in seconds.
pub const TOUCH_TIMEOUT_MAX: u64 = 86_400;
/// `touch_timeout` unless set, in seconds.
pub const TOUCH_TIMEOUT_DEFAULT: u64 = 5;
/// `touch_timeout` of an exclusive program unless set, in seconds: an election of a three-node
/// stream takes up to 8.5 s (measured) and would stop a shorter one.
pub const TOUCH_TIMEOUT_EXCLUSIVE: u64 = 15;
/// Largest declaration, in bytes of JSON, environment included. A NATS message holds 1 MiB, and a
/// placement must hold one with its envelope.
pub const SPEC_BYTES_MAX: usize = 256 * 1024;
/// Longest list of start retries.
pub const START_RETRIES_MAX: u32 = 1_000_000;

/// A program as it is stored: the declaration and its identity. Key `<program>` of the programs
/// bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Program {
    /// Identity for life.
    pub id: ProgramId,
    /// Name.
    pub name: ProgramName,
    /// Grows by one with every change of `spec`; the first is 1.
    pub revision: u64,
    /// What was declared.
    pub spec: ProgramSpec,
    /// A person asked to remove it: instances are stopped, then everything of it is deleted.
    #[serde(default)]
    pub removing: bool,
}

impl Program {
    /// The program's instances.
    pub fn instances(&self) -> impl Iterator<Item = InstanceId> + '_ {
        (0..self.spec.numprocs).map(|index| InstanceId::new(self.name.clone(), index))
    }
}

/// When a child that ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AutoRestart {
    /// Never.
    Never,
    /// When its exit code is not one of `exitcodes`, or a signal ended it.
    #[default]
    Unexpected,
    /// Always.
    Always,
}

impl Serialize for AutoRestart {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            AutoRestart::Never => s.serialize_bool(false),
            AutoRestart::Always => s.serialize_bool(true),
            AutoRestart::Unexpected => s.serialize_str("unexpected"),
        }
    }
}

impl<'de> Deserialize<'de> for AutoRestart {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(d)?;
        if value.as_str().is_some_and(|text| text.trim().eq_ignore_ascii_case("unexpected")) {
            return Ok(AutoRestart::Unexpected);
        }
        match lenient::boolean::<Value>(value) {
            Ok(true) => Ok(AutoRestart::Always),
            Ok(false) => Ok(AutoRestart::Never),
            Err(e) => Err(serde::de::Error::custom(
                e.to_string().replace("true or false", "true, false or \"unexpected\""),
            )),
        }
    }
}

impl JsonSchema for AutoRestart {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AutoRestart".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [true, false, "unexpected"] })
    }
}

/// A signal by name, without `SIG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal {
    name: &'static str,
    number: i32,
}

/// Linux's numbers on x86-64 and ARM; the worker checks that its own are the same.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("ILL", 4),
    ("TRAP", 5),
    ("BUS", 7),
    ("FPE", 8),
    ("STKFLT", 16),
    ("XCPU", 24),
    ("XFSZ", 25),
];

impl Signal {
    /// SIGTERM.
    pub const TERM: Signal = Signal { name: "TERM", number: 15 };

    /// The name without `SIG`.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The number.
    pub fn number(self) -> i32 {
        self.number
    }

    /// The signal with this number.
    pub fn from_number(number: i32) -> Option<Signal> {
        SIGNALS.iter().find(|s| s.1 == number).map(|&(name, number)| Signal { name, number })
    }
}

impl FromStr for Signal {
    type Err = String;
    fn from_str(text: &str) -> Result<Signal, String> {
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        SIGNALS
            .iter()
            .find(|(name, number)| *name == bare || number.to_string() == bare)
            .map(|&(name, number)| Signal { name, number })
            .ok_or_else(|| format!("expected a signal such as TERM or 15, found {text:?}"))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::String(text) => text.parse(),
            other => other.to_string().parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Signal {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Signal".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = SIGNALS.iter().map(|s| s.0).collect();
        json_schema!({ "enum": names })
    }
}

fn command<'de, D: Deserializer<'de>>(d: D) -> Result<Command, D::Error> {
    match Value::deserialize(d)? {
        Value::String(line) => Ok(Command::Line(line)),
        Value::Array(words) => words
            .into_iter()
            .map(|word| match word {
                Value::String(text) => Ok(text),
                other => Err(format!("a word of the command must be text, found {other}")),
            })
            .collect::<Result<_, _>>()
            .map(Command::Words)
            .map_err(serde::de::Error::custom),
        other => Err(serde::de::Error::custom(format!(
            "expected text or a list of words, found {other}"
        ))),
    }
}

/// The command as it was declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Command {
    /// One line of text: split into words like a shell would, but run without one; with
    /// `shell = true` it is given to `/bin/sh -c`.
    Line(String),
    /// The words themselves; nothing is split or expanded.
    Words(Vec<String>),
}

/// What a person declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProgramSpec {
    /// What to run. Required.
    #[serde(deserialize_with = "command")]
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

/// One thing that is wrong with a declaration, or worth saying about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The key it is about.
    pub key: String,
    /// What is wrong, as a sentence without the key.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    fn new(key: &str, message: impl Into<String>) -> Problem {
        Problem { key: key.to_owned(), message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// What a shell would act on, and dsbus passes on unchanged.
const SHELL_WORDS: &[&str] = &["|", "||", "&", "&&", ";", ">", ">>", "<", "<<", "2>&1", "2>"];

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

    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        match self.argv() {
            Err(why) => found.push(Problem::new("command", why)),
            Ok(argv) if !self.shell => {
                if let (Command::Line(_), Some(word)) =
                    (&self.command, argv.iter().find(|w| SHELL_WORDS.contains(&w.as_str())))
                {
                    let problem = Problem::new(
                        "command",
                        format!(
                            "has {word:?}, which only a shell understands, and runs without one"
                        ),
                    );
                    found.push(problem.hint("set shell = true, or give the words as a list"));
                }
            }
            Ok(_) => {}
        }
        if self.numprocs == 0 || self.numprocs > NUMPROCS_MAX {
            let message = format!("must be 1 to {NUMPROCS_MAX}, not {}", self.numprocs);
            found.push(Problem::new("numprocs", message));
        }
        if self.startretries > START_RETRIES_MAX {
            let message = format!("must be at most {START_RETRIES_MAX}");
            found.push(Problem::new("startretries", message));
        }
        if self.max_fail_count == 0 {
            found.push(Problem::new("max_fail_count", "must be at least 1"));
        }
        if let Some(directory) = &self.directory
            && (!directory.starts_with('/') || directory.contains('\0'))
        {
            let problem = Problem::new("directory", format!("{directory:?} is not absolute"));
            found.push(problem.hint("a worker has no current directory of yours"));
        }
        found.extend(self.touch_timeout_problem());
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if bytes > SPEC_BYTES_MAX {
            let message =
                format!("the declaration has {bytes} bytes, more than {SPEC_BYTES_MAX} of JSON");
            found.push(Problem::new("environment", message));
        }
        found
    }

    fn touch_timeout_problem(&self) -> Option<Problem> {
        let span = self.touch_timeout?;
        let seconds = span.0.as_secs();
        if span.0.subsec_nanos() != 0 {
            return Some(Problem::new(
                "touch_timeout",
                format!("must be whole seconds, not {span}: NATS expires keys by the second"),
            ));
        }
        (!(TOUCH_TIMEOUT_MIN..=TOUCH_TIMEOUT_MAX).contains(&seconds)).then(|| {
            Problem::new(
                "touch_timeout",
                format!("must be {TOUCH_TIMEOUT_MIN}s to {TOUCH_TIMEOUT_MAX}s, not {span}"),
            )
        })
    }

    /// What is allowed but worth saying.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.exclusive && self.touch_seconds() < TOUCH_TIMEOUT_EXCLUSIVE {
            found.push(
                Problem::new(
                    "touch_timeout",
                    format!("{}s is short for an exclusive program", self.touch_seconds()),
                )
                .hint("on three NATS nodes an election takes up to 8.5 s and would stop it"),
            );
        }
        found
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
