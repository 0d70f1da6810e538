//! What to run, as it was declared.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The command as it was declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Command {
    /// One line of text: split into words like a shell would, but run without one; with
    /// `shell = true` it is given to `/bin/sh -c`.
    Line(String),
    /// The words themselves; nothing is split.
    Words(Vec<String>),
}

impl Command {
    /// The words to execute.
    ///
    /// # Errors
    /// When there is none, its quotes do not match, or it holds a NUL byte; as the end of a
    /// sentence that begins with what it is.
    pub fn argv(&self, shell: bool) -> Result<Vec<String>, String> {
        let words = match (self, shell) {
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
}

/// Reads a command, and says what is wrong with one in words that fit a person's file.
pub(super) fn read<'de, D: Deserializer<'de>>(d: D) -> Result<Command, D::Error> {
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

/// The same where there may be none.
pub(super) fn read_some<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Command>, D::Error> {
    match Value::deserialize(d)? {
        Value::Null => Ok(None),
        value => read(value).map(Some).map_err(serde::de::Error::custom),
    }
}
