//! Commands about the declarations of a program over time: `scale`, `rollout`, `history`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Envelope;
use crate::ids::{InstanceId, ProgramId, ProgramName, Target, UserName};
use crate::moment::Timestamp;
use crate::rollout::RolloutState;

/// Change how many copies programs have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scale {
    /// Id and version.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// `numprocs` by program.
    pub programs: BTreeMap<ProgramName, u32>,
}

/// What to do with a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RolloutStep {
    /// Change no further instance.
    Pause,
    /// Go on, also after a failure.
    Resume,
    /// The canaries are good: change the rest.
    Promote,
    /// Go back to an earlier declaration.
    Undo,
}

/// Steer rollouts: answered with the [`RolloutRow`] of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutAct {
    /// Id and version.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// Which programs.
    pub names: Vec<Target>,
    /// What to do.
    pub step: RolloutStep,
    /// For `undo`: the revision to go back to; the one before when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// One program's rollout as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutRow {
    /// Program.
    pub program: ProgramName,
    /// Its identity.
    pub id: ProgramId,
    /// The revision that is rolled out.
    pub revision: u64,
    /// The revision before; `None` when no rollout is going on.
    pub stable: Option<u64>,
    /// How far it may go; `None` when no rollout is going on.
    pub state: Option<RolloutState>,
    /// Instances that have the new revision and are up.
    pub done: Vec<InstanceId>,
    /// Instances that are being changed now, or are not healthy yet.
    pub moving: Vec<InstanceId>,
    /// Instances that wait for their turn.
    pub waiting: Vec<InstanceId>,
    /// The canaries are good as far as can be told, and the rest waits until they are promoted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_promotion: bool,
    /// What it waits for, or why it stopped.
    pub reason: Option<String>,
    /// When it began.
    pub since: Option<Timestamp>,
}

/// A revision of a program as people see it: a row of `dsbus history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevisionRow {
    /// Program.
    pub program: ProgramName,
    /// Its identity.
    pub id: ProgramId,
    /// The revision.
    pub revision: u64,
    /// When it was declared.
    pub at: Timestamp,
    /// By whom, where that is known.
    pub by: Option<UserName>,
    /// Why, where there is more to say than that it was declared.
    pub reason: Option<String>,
    /// The keys that it changed; values are left out, since they may be secrets.
    pub changed: Vec<String>,
    /// It is the one that is declared now.
    pub current: bool,
}
