//! Commands that run beside a child, before and after its start and stop.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::command::{self, Command};
use crate::lenient::{self, Span};

/// How long a hook may take unless it says otherwise.
const TIMEOUT: Span = Span::from_secs(30);

/// When a hook runs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HookPoint {
    /// Before the child is started. When it fails, the start has failed.
    PreStart,
    /// When the child is RUNNING.
    PostStart,
    /// Before the child is asked to stop; it lives still.
    PreStop,
    /// After the child has ended, however it ended.
    PostStop,
}

impl HookPoint {
    /// Its key in a declaration.
    pub fn key(self) -> &'static str {
        match self {
            HookPoint::PreStart => "pre_start",
            HookPoint::PostStart => "post_start",
            HookPoint::PreStop => "pre_stop",
            HookPoint::PostStop => "post_stop",
        }
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// A command with a time limit: `"cmd args"`, or a table of `command`, `shell` and `timeout`. It
/// runs as the child's user, in its directory and environment, and its output goes where the
/// child's goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hook {
    /// What to run.
    pub command: Command,
    /// Give the command line to `/bin/sh -c`.
    pub shell: bool,
    /// How long it may take before it is killed, and has failed.
    pub timeout: Span,
}

impl Hook {
    /// The words to execute.
    ///
    /// # Errors
    /// When the command is empty or its quotes do not match.
    pub fn argv(&self) -> Result<Vec<String>, String> {
        self.command.argv(self.shell)
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Table {
    #[serde(deserialize_with = "command::read_some")]
    command: Option<Command>,
    #[serde(deserialize_with = "lenient::boolean")]
    shell: bool,
    timeout: Span,
}

impl Default for Table {
    fn default() -> Self {
        Table { command: None, shell: false, timeout: TIMEOUT }
    }
}

impl<'de> Deserialize<'de> for Hook {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let value = Value::deserialize(d)?;
        if value.is_object() {
            let table: Table = serde_json::from_value(value).map_err(D::Error::custom)?;
            let command =
                table.command.ok_or_else(|| D::Error::custom("a hook needs a command"))?;
            return Ok(Hook { command, shell: table.shell, timeout: table.timeout });
        }
        let command = command::read(value).map_err(D::Error::custom)?;
        Ok(Hook { command, shell: false, timeout: TIMEOUT })
    }
}

impl JsonSchema for Hook {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hook".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let command = generator.subschema_for::<Command>();
        let mut inside = generator.subschema_for::<Command>();
        inside.insert("description".to_owned(), "What to run. Required.".into());
        let mut timeout = generator.subschema_for::<Span>();
        let limit = "How long it may take before it is killed, and has failed.";
        timeout.insert("description".to_owned(), limit.into());
        timeout.insert("default".to_owned(), TIMEOUT.to_string().into());
        let shell = json_schema!({
            "description": "Give the command line to `/bin/sh -c`.",
            "type": "boolean",
            "default": false
        });
        json_schema!({
            "description": "a command, or a table of command, shell and timeout",
            "anyOf": [command, {
                "type": "object",
                "properties": { "command": inside, "shell": shell, "timeout": timeout },
                "required": ["command"]
            }]
        })
    }
}
