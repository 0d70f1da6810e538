//! When a child that ended by itself is started again.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::lenient;

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
    fn schema_name() -> Cow<'static, str> {
        "AutoRestart".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [true, false, "unexpected"] })
    }
}
