//! Commands about workers, and about where things run: `cordon`, `drain`, `rebalance`, `explain`,
//! `groups`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Envelope;
use crate::ids::{InstanceId, ProgramName, WorkerName};
use crate::state::{State, WorkerState};

/// Cordon, uncordon, drain, undrain or forget workers: answered with the [`WorkerActed`] of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerAct {
    /// Id and version.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// Which workers.
    pub names: Vec<WorkerName>,
}

/// What is wanted of a worker now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerActed {
    /// The worker.
    pub name: WorkerName,
    /// It takes no new instances.
    pub cordoned: bool,
    /// It gives away those that it has.
    pub draining: bool,
    /// How many it has.
    pub instances: usize,
}

/// Move instances so that workers are loaded evenly: answered with a list of [`PlannedMove`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rebalance {
    /// Id and version.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// Only say what would be moved.
    #[serde(default)]
    pub dry_run: bool,
}

/// An instance that is (to be) moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedMove {
    /// The instance.
    pub name: InstanceId,
    /// From where.
    pub from: WorkerName,
    /// Where it would go if nothing else changed.
    pub to: WorkerName,
}

/// Why an instance is where it is: an element of the answer to `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The instance.
    pub name: InstanceId,
    /// Its state.
    pub state: State,
    /// Where it is.
    pub worker: Option<WorkerName>,
    /// In a sentence: why it is there, or what it waits for.
    pub because: String,
    /// Every worker, as this instance sees it: those that could take it first, best first.
    pub workers: Vec<WorkerVerdict>,
}

/// A worker, as an instance sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerVerdict {
    /// The worker.
    pub name: WorkerName,
    /// Its state.
    pub state: WorkerState,
    /// Why it cannot take the instance, or `None`.
    pub refusal: Option<String>,
    /// What it is compared by among those that could, in words.
    pub score: Option<String>,
}

/// State of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum GroupState {
    /// Nothing of it runs, and nothing should.
    Stopped,
    /// Members that should run do not yet.
    Starting,
    /// Every member that should run does, or has failed.
    Running,
    /// Members that should not run still do.
    Stopping,
}

/// One group as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupRow {
    /// Its name.
    pub name: ProgramName,
    /// Its state.
    pub state: GroupState,
    /// A required member has failed.
    pub major_failure: bool,
    /// An optional member has failed.
    pub minor_failure: bool,
    /// Instances that are as they should be.
    pub ok: usize,
    /// All of its instances.
    pub instances: usize,
    /// Its programs.
    pub programs: Vec<ProgramName>,
    /// The programs that have failed.
    pub failed: Vec<ProgramName>,
}
