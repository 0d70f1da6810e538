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
    /// The words themselves; nothing is split or expanded.
    Words(Vec<String>),
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
