//! How often a start that failed is tried again.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What people write for "without end".
const INFINITE: &str = "infinite";

/// How often a start that failed is tried again: a number, or `"infinite"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retries {
    /// So often, then FATAL.
    Count(u32),
    /// Never FATAL.
    Infinite,
}

impl Retries {
    /// Whether there is no retry left after so many failed starts.
    pub fn exhausted(self, fails: u32) -> bool {
        match self {
            Retries::Count(count) => fails > count,
            Retries::Infinite => false,
        }
    }
}

impl FromStr for Retries {
    type Err = String;
    fn from_str(text: &str) -> Result<Retries, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case(INFINITE) {
            return Ok(Retries::Infinite);
        }
        text.parse()
            .map(Retries::Count)
            .map_err(|_| format!("expected a whole number or \"{INFINITE}\", found {text:?}"))
    }
}

impl fmt::Display for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retries::Count(count) => count.fmt(f),
            Retries::Infinite => f.write_str(INFINITE),
        }
    }
}

impl Serialize for Retries {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Retries::Count(count) => s.serialize_u32(*count),
            Retries::Infinite => s.serialize_str(INFINITE),
        }
    }
}

impl<'de> Deserialize<'de> for Retries {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::String(text) => text.parse(),
            other => other.to_string().parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Retries {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Retries".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": INFINITE }] })
    }
}
