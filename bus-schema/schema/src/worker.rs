//! What a worker tells about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{Incarnation, WorkerName};
use crate::moment::Timestamp;
use crate::program::Facility;

mod facts;
pub mod label;

pub use facts::{Capacity, Disk, Facts};
pub use label::Labels;

/// A worker. Key `<worker>` of the workers bucket, written by the worker when its agent starts, when
/// it is told to stop, when its labels or capacity change, and when its facts have changed so much
/// that it is worth telling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// What its people say of it; see [`label`].
    #[serde(default)]
    pub labels: Labels,
    /// How much its instances may declare in all.
    #[serde(default)]
    pub capacity: Capacity,
    /// The public key that secrets for it are sealed to (X25519, `X...`); none of a worker of an
    /// older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<String>,
    /// What its machine is, has left, and is busy with.
    #[serde(default)]
    pub facts: Facts,
    /// It was told to stop, and waits until its instances are moved away; a later run of it takes
    /// instances again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// It was told to stop: it takes no new instances.
    #[serde(default)]
    pub stopping: bool,
}
