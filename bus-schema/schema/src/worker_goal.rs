//! What people want of a worker.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::goal::Commands;
use crate::ids::UserName;
use crate::moment::Timestamp;

/// What people want of a worker. Key `_worker.<worker>` of the goals bucket, written by schedulers:
/// the worker's own record is written by the worker alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct WorkerGoal {
    /// It takes no new instances.
    #[serde(default)]
    pub cordoned: bool,
    /// It gives away those that it has, one by one, and takes no new ones.
    #[serde(default)]
    pub draining: bool,
    /// It is draining, and was seen to have no instance any more: once for each drain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// Who asked for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserName>,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The commands that acted on this.
    #[serde(default)]
    pub commands: Commands,
}
