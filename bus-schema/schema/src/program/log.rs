//! Where a child's output goes.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::lenient;

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// `AUTO`: a file in the worker's state directory of the instance.
    Auto,
    /// A file of this absolute path.
    File(String),
    /// `/dev/stdout`: the worker's own standard output.
    Stdout,
    /// `/dev/stderr`: the worker's own standard error.
    Stderr,
    /// `syslog`: the machine's syslog socket, a message per line.
    Syslog,
    /// `NONE` or `/dev/null`: nowhere.
    Null,
}

impl FromStr for LogTarget {
    type Err = String;
    fn from_str(text: &str) -> Result<LogTarget, String> {
        let text = text.trim();
        Ok(match text.to_ascii_lowercase().as_str() {
            "auto" => LogTarget::Auto,
            "none" | "off" | "/dev/null" => LogTarget::Null,
            "/dev/stdout" => LogTarget::Stdout,
            "/dev/stderr" => LogTarget::Stderr,
            "syslog" => LogTarget::Syslog,
            lower if lower.starts_with("syslog@") => {
                let hint = "let the machine's syslog send it on";
                return Err(format!("{text:?}: a worker's supervisor has no network; {hint}"));
            }
            _ if text.starts_with('/') && !text.contains('\0') => LogTarget::File(text.to_owned()),
            _ => {
                let known = "AUTO, NONE, /dev/stdout, /dev/stderr, syslog or an absolute path";
                return Err(format!("expected {known}, found {text:?}"));
            }
        })
    }
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogTarget::Auto => "AUTO",
            LogTarget::File(path) => path,
            LogTarget::Stdout => "/dev/stdout",
            LogTarget::Stderr => "/dev/stderr",
            LogTarget::Syslog => "syslog",
            LogTarget::Null => "NONE",
        })
    }
}

/// Everywhere one channel of output goes; one target, or several at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTargets(Vec<LogTarget>);

impl LogTargets {
    /// The targets; at least one.
    pub fn targets(&self) -> &[LogTarget] {
        &self.0
    }
}

impl Default for LogTargets {
    fn default() -> Self {
        LogTargets(vec![LogTarget::Auto])
    }
}

impl Serialize for LogTargets {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => s.collect_str(one),
            many => s.collect_seq(many.iter().map(ToString::to_string)),
        }
    }
}

impl<'de> Deserialize<'de> for LogTargets {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let targets: Vec<LogTarget> = lenient::list(d)?;
        if targets.is_empty() {
            return Err(serde::de::Error::custom("expected a file, AUTO or NONE"));
        }
        Ok(LogTargets(targets))
    }
}

impl JsonSchema for LogTargets {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LogTargets".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({
            "type": "string",
            "examples": ["AUTO", "NONE", "/var/log/web.log", "/dev/stdout", "syslog"]
        });
        json_schema!({
            "description": "AUTO, NONE, an absolute path, /dev/stdout, /dev/stderr, syslog; or several",
            "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }]
        })
    }
}
