//! The worker's own file, `worker.toml`: Supervisor's `[supervisord]` keys under their names, at the
//! top level, and a few that only dsbus has. Read as program files are: everything that is wrong is
//! told at once, where it stands.

pub(crate) mod check;
mod level;
mod policy;
mod strange;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::WorkerName;
use dsbus_schema::lenient::{self, Size};
use dsbus_schema::program::{Mode, Problem, expand};
use dsbus_schema::reading;
use dsbus_schema::worker::Labels;
use dsbus_supervisor::policy::{Policy, Source as PolicySource};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml_edit::Document;

pub(crate) use level::LogLevel;

use super::diagnostic::{Diagnostic, Source};
use super::keys::{key_span, value_span};
use super::{suggest, value};
use crate::config::Surroundings;

/// Every key of the file, and its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key that people switch on or off")]
pub(crate) struct Keys {
    /// The worker's name; the host's unless set.
    pub(crate) name: Option<WorkerName>,
    /// Supervisor's word for it.
    pub(crate) identifier: Option<WorkerName>,
    /// State directory.
    pub(crate) dir: Option<PathBuf>,
    /// The worker's own log; standard error unless set.
    pub(crate) logfile: Option<PathBuf>,
    /// Size at which it is rotated; 0 is never.
    pub(crate) logfile_maxbytes: Size,
    /// How many rotated ones are kept.
    #[serde(deserialize_with = "lenient::number")]
    pub(crate) logfile_backups: u32,
    /// How much is told.
    pub(crate) loglevel: LogLevel,
    /// Without a copy on standard error of what goes to the logfile.
    #[serde(deserialize_with = "lenient::boolean")]
    pub(crate) silent: bool,
    /// Where the supervisor's process id is.
    pub(crate) pidfile: Option<PathBuf>,
    /// Stay in the foreground.
    #[serde(deserialize_with = "lenient::boolean")]
    pub(crate) nodaemon: bool,
    /// Whom the worker runs as.
    pub(crate) user: Option<String>,
    /// Permission bits that files do not get; what it was started with unless set.
    pub(crate) umask: Option<Mode>,
    /// Current directory of the worker itself.
    pub(crate) directory: Option<PathBuf>,
    /// How many open files it must be allowed at least.
    #[serde(deserialize_with = "lenient::number")]
    pub(crate) minfds: u64,
    /// How many processes its user must be allowed at least.
    #[serde(deserialize_with = "lenient::number")]
    pub(crate) minprocs: u64,
    /// What programs may choose the worker by.
    #[serde(deserialize_with = "lenient::environment")]
    pub(crate) labels: Labels,
    /// How much its instances may declare in all.
    pub(crate) capacity: CapacityKeys,
    /// Told to stop, give away what runs here first.
    #[serde(deserialize_with = "lenient::boolean")]
    pub(crate) drain: bool,
    /// For so long at most.
    pub(crate) drain_timeout: lenient::Span,
    /// Variables of every child.
    #[serde(deserialize_with = "lenient::environment")]
    pub(crate) environment: BTreeMap<String, String>,
    /// `SUPERVISOR_SERVER_URL` of every child.
    pub(crate) serverurl: Option<String>,
    /// Where AUTO logs of children are; below `dir` unless set.
    pub(crate) childlogdir: Option<PathBuf>,
    /// Keep the AUTO logs of earlier runs.
    #[serde(deserialize_with = "lenient::boolean")]
    pub(crate) nocleanup: bool,
    /// Leave escape sequences out of logged output.
    #[serde(deserialize_with = "lenient::boolean")]
    pub(crate) strip_ansi: bool,
    /// Where cgroups of children are made: `auto`, `none`, or a directory.
    pub(crate) cgroup: String,
    /// Socket of the machine's syslog.
    pub(crate) syslog: PathBuf,
    /// What programs may not do here.
    pub(crate) policy: Policy,
    /// Public `NKeys` of the schedulers: only what they have signed is run.
    pub(crate) signers_file: Option<PathBuf>,
}

/// What stands below `capacity`; what the machine has, where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CapacityKeys {
    /// Cores.
    #[serde(deserialize_with = "lenient::factor")]
    pub(crate) cpu: Option<f64>,
    /// Bytes.
    pub(crate) memory: Option<Size>,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys {
            name: None,
            identifier: None,
            dir: None,
            logfile: None,
            logfile_maxbytes: Size(50 << 20),
            logfile_backups: 10,
            loglevel: LogLevel::Info,
            silent: false,
            pidfile: None,
            nodaemon: true,
            user: None,
            umask: None,
            directory: None,
            minfds: 1024,
            minprocs: 200,
            labels: Labels::new(),
            capacity: CapacityKeys::default(),
            drain: false,
            drain_timeout: lenient::Span::from_secs(300),
            environment: BTreeMap::new(),
            serverurl: None,
            childlogdir: None,
            nocleanup: false,
            strip_ansi: false,
            cgroup: "auto".to_owned(),
            syslog: PathBuf::from("/dev/log"),
            policy: Policy::default(),
            signers_file: None,
        }
    }
}

impl Keys {
    /// Names of all keys.
    pub(crate) fn names() -> BTreeSet<String> {
        Keys::default().as_json().into_iter().map(|(key, _)| key).collect()
    }

    /// Keys whose values differ.
    pub(crate) fn changed(&self, new: &Keys) -> Vec<String> {
        let new = new.as_json();
        let old = self.as_json().into_iter();
        old.filter(|(key, value)| new.get(key) != Some(value)).map(|(key, _)| key).collect()
    }

    fn as_json(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            Ok(_) | Err(_) => Map::new(),
        }
    }

    /// Every path that the file may hold, by its key.
    fn paths(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        [
            ("dir", self.dir.as_mut()),
            ("logfile", self.logfile.as_mut()),
            ("pidfile", self.pidfile.as_mut()),
            ("directory", self.directory.as_mut()),
            ("childlogdir", self.childlogdir.as_mut()),
            ("syslog", Some(&mut self.syslog)),
            ("signers_file", self.signers_file.as_mut()),
        ]
        .into_iter()
        .filter_map(|(key, path)| Some((key, path?)))
    }
}

/// A file that was read and has no mistake.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct WorkerFile {
    /// Its path; `None` where there is no file.
    pub(crate) path: Option<PathBuf>,
    /// What it says, with its paths whole.
    pub(crate) keys: Keys,
    /// The keys that stand in it, and their lines.
    pub(crate) lines: BTreeMap<String, usize>,
}

/// Reads a worker's file, and looks whether this machine has what it names.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn read(path: &Path, around: &Surroundings) -> Result<WorkerFile, Vec<Diagnostic>> {
    match read_anyway(path, around) {
        (file, mistakes) if mistakes.is_empty() => Ok(file),
        (_, mistakes) => Err(mistakes),
    }
}

/// What can be read of a worker's file, and everything that is wrong with it.
pub(crate) fn read_anyway(path: &Path, around: &Surroundings) -> (WorkerFile, Vec<Diagnostic>) {
    let name = path.display().to_string();
    // It is told as it was given, and found also when this process has gone to another directory.
    let path = around.directory.join(path);
    let text = match super::text_of(&path) {
        Ok(text) => text,
        Err(why) => return (WorkerFile::default(), vec![Diagnostic::whole(&name, why)]),
    };
    let source = Source { name: &name, text: &text };
    // A file that is a link is where it is named, as Supervisor sees it.
    let here = path.parent().unwrap_or(Path::new("/")).to_owned();
    let mut read = parse(&source, &here, around);
    read.keys.policy.source =
        PolicySource { file: path.display().to_string(), lines: read.policy_lines(&source) };
    for problem in check::problems(&read.keys, &read.spans, nix::unistd::geteuid()) {
        read.tell(&source, problem);
    }
    read.diagnostics.sort_by_key(Diagnostic::position);
    let line = |span: &Span| source.place(span.key.clone()).line;
    let lines = read.spans.iter().map(|(key, span)| (key.clone(), line(span))).collect();
    (WorkerFile { path: Some(path), keys: read.keys, lines }, read.diagnostics)
}

/// Where a key and its value stand.
#[derive(Debug, Clone)]
struct Span {
    key: Range<usize>,
    value: Range<usize>,
}

/// What could be read, and what could not.
#[derive(Debug, Default)]
struct Found {
    keys: Keys,
    /// Keys that could be read.
    spans: BTreeMap<String, Span>,
    /// The same of the keys in `policy`.
    inside: BTreeMap<String, Span>,
    diagnostics: Vec<Diagnostic>,
}

impl Found {
    fn tell(&mut self, source: &Source<'_>, problem: Problem) {
        let diagnostic = match self.spans.get(&problem.key) {
            Some(span) => Diagnostic::at(source, span.value.clone(), problem.message),
            None => Diagnostic::whole(source.name, problem.message),
        };
        self.diagnostics.push(diagnostic.key(problem.key).hint(problem.hint));
    }
}

/// Reads the text of a file, and nothing else of the machine.
fn parse(source: &Source<'_>, here: &Path, around: &Surroundings) -> Found {
    let mut found = Found::default();
    let document = match Document::parse(source.text) {
        Ok(document) => document,
        Err(e) => {
            found.diagnostics.push(syntax_error(source, &e));
            return found;
        }
    };
    let known = Keys::names();
    let variables = variables(here, around);
    let top = document.as_table();
    let mut accepted = Map::new();
    for (key, item) in top {
        let span = Span { key: key_span(top, key, item), value: value_span(top, key, item) };
        if !known.contains(key) {
            let reason = strange::reason(key);
            let message = reason.map_or("unknown key", |reason| reason.message);
            let hint = match reason {
                Some(reason) => reason.hint.map(str::to_owned),
                None => suggest::hint(key, known.iter().map(String::as_str)),
            };
            let diagnostic = Diagnostic::at(source, span.key, message).key(key).hint(hint);
            found.diagnostics.push(diagnostic);
            continue;
        }
        if key == "policy" {
            found.read_policy(source, item);
        }
        let Some(value) = value::json(item) else { continue };
        let read = expanded(value, &variables).and_then(|value| {
            let alone = Map::from_iter([(key.to_owned(), value.clone())]);
            reading::value::<Keys>(Value::Object(alone)).map(|_| value).map_err(|wrong| match wrong
                .field
                .strip_prefix(&format!("{key}."))
            {
                Some(inside) => format!("{inside}: {}", wrong.why),
                None => wrong.why,
            })
        });
        match read {
            Ok(value) => {
                accepted.insert(key.to_owned(), value);
                found.spans.insert(key.to_owned(), span);
            }
            // What is wrong with it was told already, where it stands.
            Err(_) if key == "policy" && !found.diagnostics.is_empty() => {}
            Err(why) => found.diagnostics.push(Diagnostic::at(source, span.value, why).key(key)),
        }
    }
    // Each was read alone already, so that all of them can be read.
    found.keys = serde_json::from_value(Value::Object(accepted)).unwrap_or_default();
    settle(&mut found.keys, here, around);
    found
}

/// Makes paths whole: `~` is the home directory, and what is relative is so to the file. A value
/// that is a word for none becomes none.
fn settle(keys: &mut Keys, here: &Path, around: &Surroundings) {
    let word =
        |text: &Path, word: &str| text.to_str().is_some_and(|t| t.eq_ignore_ascii_case(word));
    if keys.logfile.as_ref().is_some_and(|path| word(path, "none")) {
        keys.logfile = None;
    }
    if keys.childlogdir.as_ref().is_some_and(|path| word(path, "auto")) {
        keys.childlogdir = None;
    }
    if keys.serverurl.as_ref().is_some_and(|url| url.eq_ignore_ascii_case("auto")) {
        keys.serverurl = None;
    }
    for (key, path) in keys.paths() {
        let special = key == "logfile" && word(path, "syslog");
        if !special && !path.as_os_str().is_empty() {
            *path = whole(path, here, around);
        }
    }
    let choice = keys.cgroup.trim().to_ascii_lowercase();
    keys.cgroup = match choice.as_str() {
        "auto" | "none" => choice,
        _ => whole(Path::new(keys.cgroup.trim()), here, around).display().to_string(),
    };
}

pub(crate) fn whole(path: &Path, here: &Path, around: &Surroundings) -> PathBuf {
    match (path.strip_prefix("~"), around.variable("HOME")) {
        (Ok(rest), Some(home)) => Path::new(home).join(rest),
        (Ok(_) | Err(_), _) => here.join(path),
    }
}

/// What `%(name)s` may be in the file.
pub(super) fn variables(here: &Path, around: &Surroundings) -> expand::Variables {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let mut variables = expand::Variables::from([
        ("here".to_owned(), here.display().to_string()),
        ("host_node_name".to_owned(), host.to_string_lossy().into_owned()),
    ]);
    for (name, value) in &around.variables {
        if let (Some(name), Some(value)) = (name.to_str(), value.to_str()) {
            variables.insert(format!("ENV_{name}"), value.to_owned());
        }
    }
    variables
}

/// Expands a text.
pub(super) fn expanded_text(text: &str, variables: &expand::Variables) -> Result<String, String> {
    expand::expand(text, variables).map_err(|why| match why.split_once("; known are") {
        Some((what, _)) => format!("{what}; known are here, host_node_name and ENV_NAME"),
        None => why,
    })
}

/// Expands every text in a value.
fn expanded(value: Value, variables: &expand::Variables) -> Result<Value, String> {
    match value {
        Value::String(text) => expanded_text(&text, variables).map(Value::String),
        Value::Array(items) => items.into_iter().map(|item| expanded(item, variables)).collect(),
        Value::Object(map) => {
            let pairs = map.into_iter().map(|(key, item)| Ok((key, expanded(item, variables)?)));
            Ok(Value::Object(pairs.collect::<Result<_, String>>()?))
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => Ok(other),
    }
}

fn syntax_error(source: &Source<'_>, e: &toml_edit::TomlError) -> Diagnostic {
    let span = e.span().unwrap_or(0..0);
    let line = source.text.lines().nth(source.place(span.clone()).line - 1).unwrap_or_default();
    let hint = strange::syntax_hint(line);
    Diagnostic::at(source, span, format!("not valid TOML: {}", e.message().trim())).hint(hint)
}

#[cfg(test)]
mod tests;
