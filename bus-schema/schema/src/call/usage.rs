//! What instances use now, for whoever looks: it is measured when it is asked for, and costs nothing
//! when nobody does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::InstanceId;

/// Most instances in one ask; whoever wants more asks again. Their answer is some 100 KB.
pub const USAGE_INSTANCES_MAX: usize = 1_000;

/// Ask what instances use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageAsk {
    /// Which, at most [`USAGE_INSTANCES_MAX`].
    pub instances: Vec<UsageOf>,
}

/// An instance, and the process that it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageOf {
    /// The instance.
    pub name: InstanceId,
    /// Process id of its child, as its status has it.
    pub pid: i32,
}

/// What they use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Using {
    /// When this was measured, in milliseconds on a clock of the worker's machine: only the time
    /// between two answers means something.
    pub at_ms: u64,
    /// Those that were asked for, without those whose child is gone.
    pub instances: Vec<Use>,
}

/// What one instance uses: its child, what that started, and what is in its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Use {
    /// The instance.
    pub name: InstanceId,
    /// Process id of its child.
    pub pid: i32,
    /// Processor time so far, user and system, in milliseconds. It can fall when a process ends that
    /// nobody waits for.
    pub cpu_ms: u64,
    /// Resident memory, in bytes; what processes share counts for each.
    pub memory: u64,
}
