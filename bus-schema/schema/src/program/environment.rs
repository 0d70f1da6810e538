//! Values of a child's environment: written in the declaration, or only named there.

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::expand::asks_for;
use super::{Facility, Problem, ProgramSpec};
use crate::ids::SecretName;

/// What a worker must be able to do for a value that is read from a file.
pub const ENVIRONMENT_FILE: &str = "environment.file";
/// What a worker must be able to do for a value that is a secret.
pub const ENVIRONMENT_SECRET: &str = "environment.secret";

/// The value of a variable.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[serde(untagged)]
pub enum EnvironmentValue {
    /// The value itself.
    Text(String),
    /// What a file on the worker holds; read at each start, without the new line at its end.
    File {
        /// Its path, absolute. No link, and at most 64 KiB.
        file: String,
    },
    /// A secret that the worker has; see `dsbus secret`.
    Secret {
        /// Its name.
        secret: SecretName,
    },
}

impl EnvironmentValue {
    /// The value, where the declaration holds it.
    pub fn text(&self) -> Option<&str> {
        match self {
            EnvironmentValue::Text(text) => Some(text),
            EnvironmentValue::File { .. } | EnvironmentValue::Secret { .. } => None,
        }
    }

    /// Reads a value as a declaration has it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(value: Value) -> Result<EnvironmentValue, String> {
        let expected = "text, { file = \"/path\" } or { secret = \"name\" }";
        match value {
            Value::String(text) => Ok(EnvironmentValue::Text(text)),
            Value::Number(n) => Ok(EnvironmentValue::Text(n.to_string())),
            Value::Bool(b) => Ok(EnvironmentValue::Text(b.to_string())),
            Value::Object(keys) => {
                let mut keys = keys.into_iter();
                let one = match (keys.next(), keys.next()) {
                    (Some((key, Value::String(text))), None) => Some((key, text)),
                    _ => None,
                };
                match one {
                    Some((key, file)) if key == "file" => Ok(EnvironmentValue::File { file }),
                    Some((key, name)) if key == "secret" => SecretName::parse(&name)
                        .map(|secret| EnvironmentValue::Secret { secret })
                        .map_err(|e| e.to_string()),
                    // What stands there may be a secret itself, and is not repeated.
                    _ => Err(format!("must be {expected}, and no other table")),
                }
            }
            Value::Null => Err(format!("must be {expected}, found nothing")),
            Value::Array(_) => Err(format!("must be {expected}, found a list")),
        }
    }
}

impl From<&str> for EnvironmentValue {
    fn from(text: &str) -> Self {
        EnvironmentValue::Text(text.to_owned())
    }
}

impl From<String> for EnvironmentValue {
    fn from(text: String) -> Self {
        EnvironmentValue::Text(text)
    }
}

/// Without the value: whoever prints a declaration for its debugging prints no password.
impl fmt::Debug for EnvironmentValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnvironmentValue::Text(_) => f.write_str("Text(..)"),
            EnvironmentValue::File { file } => write!(f, "File({file:?})"),
            EnvironmentValue::Secret { secret } => write!(f, "Secret({secret})"),
        }
    }
}

impl Serialize for EnvironmentValue {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            EnvironmentValue::Text(text) => s.serialize_str(text),
            EnvironmentValue::File { file } => s.collect_map([("file", file.as_str())]),
            EnvironmentValue::Secret { secret } => s.collect_map([("secret", secret.as_str())]),
        }
    }
}

impl ProgramSpec {
    /// The secrets that its environment names.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.environment.values().filter_map(|value| match value {
            EnvironmentValue::Secret { secret } => Some(secret),
            EnvironmentValue::Text(_) | EnvironmentValue::File { .. } => None,
        })
    }

    /// The files that its environment names.
    pub fn environment_files(&self) -> impl Iterator<Item = &str> {
        self.environment.values().filter_map(|value| match value {
            EnvironmentValue::File { file } => Some(file.as_str()),
            EnvironmentValue::Text(_) | EnvironmentValue::Secret { .. } => None,
        })
    }

    pub(super) fn environment_needs(&self) -> impl Iterator<Item = Facility> {
        let file = self.environment_files().next().map(|_| ENVIRONMENT_FILE);
        let secret = self.secrets().next().map(|_| ENVIRONMENT_SECRET);
        file.into_iter().chain(secret).map(str::to_owned)
    }

    /// A value that is not in the declaration is in the child's environment, and nowhere else: an
    /// expansion would bring it into the command line or the name of a file, for all to see.
    pub(super) fn environment_problems(&self, values: &[(&str, &str)]) -> Vec<Problem> {
        let mut found = Vec::new();
        for (name, value) in &self.environment {
            if value.text().is_some() {
                continue;
            }
            let asked = format!("ENV_{name}");
            for (key, _) in values.iter().filter(|(_, text)| asks_for(text, &asked)) {
                let message = format!("asks for %(ENV_{name})s, which only the child may see");
                let problem = Problem::new(key, message);
                let hint = "let the program itself, or a shell, read it from its environment";
                found.push(problem.hint(hint));
            }
        }
        found
    }
}
