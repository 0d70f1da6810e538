//! What a worker tells about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{Incarnation, WorkerName};
use crate::moment::Timestamp;
use crate::program::Facility;

/// A worker. Key `<worker>` of the workers bucket, written by the worker when its agent starts and
/// when it is told to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Worker {
    /// Name.
    pub name: WorkerName,
    /// See [`crate::touch::Touch::machine`].
    pub machine: String,
    /// See [`crate::touch::Touch::boot`].
    pub boot: Uuid,
    /// State directory.
    pub directory: String,
    /// Host name.
    pub host: String,
    /// The supervisor's run.
    pub incarnation: Incarnation,
    /// Process id of the agent.
    pub agent_pid: i32,
    /// Process id of the supervisor.
    pub supervisor_pid: i32,
    /// dsbus version.
    pub version: String,
    /// When the supervisor started.
    pub started: Timestamp,
    /// What it can do for a child; see [`Facility`].
    #[serde(default)]
    pub facilities: Vec<Facility>,
    /// It was told to stop: it takes no new instances.
    #[serde(default)]
    pub stopping: bool,
}
