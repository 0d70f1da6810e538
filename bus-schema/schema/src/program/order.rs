//! In which order programs start and stop.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::ids::ProgramName;

/// The state of a program that another one waits for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Each of its instances was started.
    Started,
    /// Each of its instances is RUNNING.
    #[default]
    Running,
    /// Each of its instances is RUNNING, and has been for its `update.min_healthy`.
    Healthy,
    /// Each of its instances has ended as expected.
    Done,
}

impl Condition {
    /// The word in a declaration.
    pub fn name(self) -> &'static str {
        match self {
            Condition::Started => "started",
            Condition::Running => "running",
            Condition::Healthy => "healthy",
            Condition::Done => "done",
        }
    }
}

/// What a program waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DependsOn(pub BTreeMap<ProgramName, Condition>);

impl DependsOn {
    /// It waits for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for DependsOn {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = |text: &str| ProgramName::parse(text.trim()).map_err(D::Error::custom);
        let running = |text: &str| Ok((name(text)?, Condition::Running));
        match Value::deserialize(d)? {
            Value::String(text) => text
                .split(',')
                .filter(|item| !item.trim().is_empty())
                .map(running)
                .collect::<Result<_, _>>()
                .map(DependsOn),
            Value::Array(items) => items
                .iter()
                .map(|item| match item {
                    Value::String(text) => running(text),
                    other => {
                        Err(D::Error::custom(format!("expected a program's name, found {other}")))
                    }
                })
                .collect::<Result<_, _>>()
                .map(DependsOn),
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| {
                    let condition = Condition::deserialize(value).map_err(|_| {
                        D::Error::custom(format!(
                            "{key} must be started, running, healthy or done, not {value}"
                        ))
                    });
                    Ok((name(key)?, condition?))
                })
                .collect::<Result<_, _>>()
                .map(DependsOn),
            other => {
                Err(D::Error::custom(format!("expected names, or a table of names, found {other}")))
            }
        }
    }
}

impl JsonSchema for DependsOn {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DependsOn".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "names of programs, or a table of names and the state that is waited for",
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" } },
                {
                    "type": "object",
                    "additionalProperties": { "enum": ["started", "running", "healthy", "done"] }
                }
            ]
        })
    }
}
