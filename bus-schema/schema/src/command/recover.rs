//! `recover`: what the bus has lost is rebuilt from what workers have.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Envelope;
use crate::ids::{Epoch, InstanceId, ProgramId, ProgramName, WorkerName};
use crate::program::ProgramSpec;

/// Most instances that one request rebuilds: an answer must come within a second.
pub const RECOVER_INSTANCES_MAX: usize = 500;

/// Rebuild programs, goals and placements from what workers have: answered with [`Recovered`]. What is
/// on the bus stays as it is; sent again, it finds nothing to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recover {
    /// Id and version.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// Only say what would be rebuilt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Also where workers contradict each other, are silent, or are all that vouches for a declaration:
    /// see [`RecoveredInstance::reason`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Declarations by name, which are taken instead of those that workers have; each a table of the
    /// keys of [`crate::program::ProgramSpec`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<ProgramName, ProgramSpec>")]
    pub programs: BTreeMap<ProgramName, Map<String, Value>>,
    /// Only instances after this one: see [`Recovered::next`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<InstanceId>,
}

/// Answer to [`Recover`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recovered {
    /// Programs, by name.
    pub programs: Vec<RecoveredProgram>,
    /// Instances, by name.
    pub instances: Vec<RecoveredInstance>,
    /// Workers that did not answer, or not as workers do, and are not lost.
    #[serde(default)]
    pub silent: Vec<WorkerName>,
    /// There are more: ask again after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<InstanceId>,
}

/// What became of a program, or of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// The bus knows it.
    Known,
    /// It is on the bus again.
    Rebuilt,
    /// It was left as it is, and `force` would change that.
    Left,
    /// Another copy counts: this one is stopped.
    Ended,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveredProgram {
    /// Name.
    pub name: ProgramName,
    /// Identity.
    pub id: ProgramId,
    /// Revision.
    pub revision: u64,
    /// What became of it.
    pub recovery: Recovery,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An instance, on one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveredInstance {
    /// Name.
    pub name: InstanceId,
    /// Where.
    pub worker: WorkerName,
    /// The epoch that it has there.
    pub epoch: Epoch,
    /// Process id of its child, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// What became of it.
    pub recovery: Recovery,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
