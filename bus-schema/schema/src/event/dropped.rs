//! What was dropped, because it was more than may wait.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::moment::Timestamp;

/// Events that nobody will hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// How many.
    pub events: u64,
    /// How many of each kind; `unreadable` are those that the worker's disk did not give back.
    pub kinds: BTreeMap<String, u64>,
    /// When the first of them happened, where that is known.
    pub from: Option<Timestamp>,
    /// When the last of them happened, where that is known.
    pub to: Option<Timestamp>,
}
