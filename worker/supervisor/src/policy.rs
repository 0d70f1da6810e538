//! What the owner of a machine allows there (`[policy]` in `worker.toml`), which no command from the
//! bus overrides. A placement that is not allowed is refused: nothing of it is started.
//!
//! `judge` is pure; `look` asks this machine what a declaration alone does not tell: where links
//! lead, who a number is, what is in a file; `rights` is what a worker without root cannot do.

mod hashes;
mod judge;
mod loaders;
mod look;
mod rights;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use dsbus_schema::lenient::{Size, Span};
use dsbus_schema::program::Capability;
use dsbus_schema::worker::PolicyFacts;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

pub(crate) use hashes::Hashes;
pub(crate) use judge::Here;
pub(crate) use look::{Paths, executable, look};
pub(crate) use rights::unable;

/// How much of the hash of a policy names it: two of one worker differ, by all that is likely.
const DIGEST_DIGITS: usize = 16;

/// What an owner allows. A key that is left out allows everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Users that programs may run as, by name, or by number where they have no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<String>>,
    /// Whether programs may run as root.
    #[serde(skip_serializing_if = "is_true")]
    pub root: bool,
    /// Capabilities that programs may have; without it all where root is allowed, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<Capability>>,
    /// Directories in which programs run, and in which their logs, environment files, pidfiles, sockets and
    /// other files are. The state directory of an instance is allowed always. Without it none, where
    /// the worker is root and no program may be, but for where programs run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directories: Option<Vec<PathBuf>>,
    /// What may be executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executables: Option<Vec<Executable>>,
    /// Variables that programs may not set, with `*` and `?`; without it `LD_*` where `executables`
    /// are limited, and all that are known to load code where one of them has a `sha256`; else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_forbidden: Option<Vec<String>>,
    /// Limits that no program exceeds.
    #[serde(skip_serializing_if = "Bounds::is_empty")]
    pub limits: Bounds,
    /// Where it stands, to be told with what it refuses.
    #[serde(skip)]
    pub source: Source,
}

/// The file of a policy, and the lines of its keys (`users`, `limits.memory`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// Path of the file.
    pub file: String,
    /// Lines, counted from 1.
    pub lines: BTreeMap<String, usize>,
}

/// A file that may be executed: `"/usr/bin/x"`, `"/srv/app/**"`, or
/// `{ path = "/usr/bin/x", sha256 = "..." }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Executable {
    /// Any file there. `*` and `?` stand for parts of a name, `**` for directories.
    Path(String),
    /// Only this content of it.
    Hashed(Hashed),
}

/// A file and its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashed {
    /// As in [`Executable::Path`].
    pub path: String,
    /// SHA-256 of the content, 64 hexadecimal digits.
    pub sha256: String,
}

impl Executable {
    fn path(&self) -> &str {
        match self {
            Executable::Path(path) | Executable::Hashed(Hashed { path, .. }) => path,
        }
    }
}

/// Limits that no program exceeds; one that declares no such limit at all exceeds it, too.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Most of `limits.memory`, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// Most of `limits.cpu`, in cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Most of `limits.pids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Most of each of `rlimits`; one that is not declared is the worker's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rlimits: BTreeMap<String, u64>,
    /// Most instances of one program on this worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// Longest `touch_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub touch_timeout: Option<Span>,
    /// Longest `stopwaitsecs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopwaitsecs: Option<Span>,
    /// Most bytes that the log of one channel takes, all its files and rotated ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<Size>,
    /// Least `nice`: less is more of the processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
    /// Least `oom_score_adj`: less is killed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
}

impl Bounds {
    fn is_empty(&self) -> bool {
        *self == Bounds::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            users: None,
            root: true,
            capabilities: None,
            directories: None,
            executables: None,
            environment_forbidden: None,
            limits: Bounds::default(),
            source: Source::default(),
        }
    }
}

/// What a declaration has that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The key of the declaration.
    pub key: String,
    /// Its value, never one of a variable.
    pub value: String,
    /// What is allowed instead.
    pub rule: String,
    /// Where that is said: the file, line and key; or what the worker is.
    pub by: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { key, value, rule, by } = self;
        write!(f, "{key} {value}: {rule} ({by})")
    }
}

impl Policy {
    /// Whether everything is allowed.
    pub fn is_open(&self) -> bool {
        Policy { source: Source::default(), ..self.clone() } == Policy::default()
    }

    /// What is wrong with it although every value could be read: the key, and why.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut tell = |key: &str, why: String| found.push((key.to_owned(), why));
        for path in self.directories.iter().flatten().filter(|path| !path.is_absolute()) {
            tell("directories", format!("{} is not absolute", path.display()));
        }
        for rule in self.executables.iter().flatten() {
            let path = rule.path();
            if !path.starts_with('/') {
                tell("executables", format!("{path:?} is not absolute"));
            } else if let Err(e) = glob::Pattern::new(path) {
                tell("executables", format!("{path:?}: {}", e.msg));
            }
            if let Executable::Hashed(Hashed { sha256, .. }) = rule
                && (sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()))
            {
                tell("executables", format!("{path:?}: sha256 must be 64 hexadecimal digits"));
            }
        }
        for text in self.environment_forbidden.iter().flatten() {
            if let Err(e) = glob::Pattern::new(text) {
                tell("environment_forbidden", format!("{text:?}: {}", e.msg));
            }
        }
        for name in self.limits.rlimits.keys() {
            if !dsbus_schema::program::RLIMITS.contains(&name.as_str()) {
                tell("limits", format!("rlimits.{name} is no limit of setrlimit(2)"));
            }
        }
        found
    }

    /// Whether no program may be root although the worker is, and no `directories` are named. What
    /// the worker opens because a declaration names it, it opens as root: a declaration that may
    /// not run as root could else read root's files, and have its output written into them. So it
    /// is as if the list of directories were empty, but for where programs run, which they enter
    /// as who they are.
    pub(crate) fn keeps_root_out(&self, uid: u32) -> bool {
        let named = |users: &Vec<String>| users.iter().any(|one| one == "root" || one == "0");
        let allowed = self.root && self.users.as_ref().is_none_or(named);
        uid == 0 && self.directories.is_none() && !allowed
    }

    /// Variables that may not be set.
    fn forbidden(&self) -> Vec<&str> {
        match &self.environment_forbidden {
            Some(all) => all.iter().map(String::as_str).collect(),
            None => self.executables.as_ref().map_or_else(Vec::new, |all| {
                let held = |one: &Executable| matches!(one, Executable::Hashed(_));
                loaders::forbidden(all.iter().any(held))
            }),
        }
    }

    /// Where a key stands.
    fn by(&self, key: &str) -> String {
        let Source { file, lines } = &self.source;
        // `limits = { memory = ... }` stands in one line.
        let line = lines.get(key).or_else(|| lines.get(key.split('.').next().unwrap_or(key)));
        match line {
            Some(line) => format!("{file}:{line}: policy.{key}"),
            None => format!("policy.{key}"),
        }
    }

    fn violation(&self, key: &str, value: impl fmt::Display, rule: String, by: &str) -> Violation {
        Violation { key: key.to_owned(), value: value.to_string(), rule, by: self.by(by) }
    }

    /// What schedulers are told of it; `rights` says what the worker may do, and `user` who it is.
    pub(crate) fn facts(&self, user: &str, rights: &str) -> PolicyFacts {
        let rules = Policy { source: Source::default(), ..self.clone() };
        let text = format!("{rules:?} {user} {rights}");
        let digest = hex(digest(&SHA256, text.as_bytes()).as_ref());
        PolicyFacts {
            digest: digest.chars().take(DIGEST_DIGITS).collect(),
            user: user.to_owned(),
            users: self.users.clone(),
            root: self.root,
        }
    }
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a path or a name is one that a pattern stands for. What is no pattern was refused when
/// the file was read, and matches nothing.
fn matches(pattern: &str, text: &str) -> bool {
    let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
    glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_with(text, options))
}
