//! Names that an alert file gives to its parts.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{NameError, check, name};

name!(
    /// A rule: which events are told, to whom, and how often.
    RuleName, "rule"
);
name!(
    /// A target: where what is told goes.
    TargetName, "target"
);
