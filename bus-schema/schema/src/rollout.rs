//! Rollouts: how a change reaches the instances of a program, one after the other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ProgramId, ProgramName, UserName};
use crate::moment::Timestamp;
use crate::program::ProgramSpec;

/// A declaration and its revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stable {
    /// Its revision.
    pub revision: u64,
    /// The declaration.
    pub spec: ProgramSpec,
}

/// How far a rollout may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RolloutState {
    /// It goes on.
    #[default]
    Rolling,
    /// A person paused it.
    Paused,
    /// A changed instance ended FATAL. Nothing more is changed until a person says what to do.
    Failed,
}

/// A rollout that is not over. It is part of the program's record, so that any scheduler goes on
/// with it; how far it is can be read off the placements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rollout {
    /// What instances run that are not changed yet, and what to go back to.
    pub stable: Stable,
    /// How far it may go.
    #[serde(default)]
    pub state: RolloutState,
    /// The canaries were found good, or there are none.
    #[serde(default)]
    pub promoted: bool,
    /// The revision that failed, and from which this goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverts: Option<u64>,
    /// Why it is in this state, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it began.
    pub since: Timestamp,
}

/// A step of a rollout, as an event tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RolloutChange {
    /// A change was declared that needs new children.
    Started,
    /// A person paused it.
    Paused,
    /// A person let it go on.
    Resumed,
    /// The canaries were promoted.
    Promoted,
    /// A changed instance ended FATAL.
    Failed,
    /// It goes back to the declaration before.
    Reverted,
    /// Every instance is changed.
    Done,
}

impl RolloutChange {
    /// The TYPE: the last token of an event's subject.
    pub fn type_name(self) -> &'static str {
        match self {
            RolloutChange::Started => "STARTED",
            RolloutChange::Paused => "PAUSED",
            RolloutChange::Resumed => "RESUMED",
            RolloutChange::Promoted => "PROMOTED",
            RolloutChange::Failed => "FAILED",
            RolloutChange::Reverted => "REVERTED",
            RolloutChange::Done => "DONE",
        }
    }
}

/// A step of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutFact {
    /// The program.
    pub program: ProgramName,
    /// Its identity.
    pub id: ProgramId,
    /// What.
    pub change: RolloutChange,
    /// The revision that is rolled out.
    pub revision: u64,
    /// Why, for people.
    pub reason: String,
    /// Who asked for it; nobody, when a scheduler decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserName>,
}
