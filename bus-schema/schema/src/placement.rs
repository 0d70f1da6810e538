//! Where an instance runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::goal::Wanted;
use crate::ids::{Epoch, ProgramId};
use crate::moment::Timestamp;
use crate::program::ProgramSpec;
use crate::state::{Exit, State};
use crate::status::Status;

/// "This instance has ended for good, or was given up": a worker that meets the placement anew (it
/// was started again, or the instance moved there) shows this, and starts nothing.
///
/// It speaks of the `wanted`, `revision` and `spec` beside it. Whoever wants more of the instance
/// takes it away with the same write. An instance that its supervisor knows already heeds it not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rest {
    /// Which of the two.
    pub state: RestState,
    /// How the last child ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// How an instance rests. Names are those of [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RestState {
    /// It has ended by itself, and is not started again.
    Exited,
    /// It was given up.
    Fatal,
}

impl From<RestState> for State {
    fn from(state: RestState) -> State {
        match state {
            RestState::Exited => State::Exited,
            RestState::Fatal => State::Fatal,
        }
    }
}

impl Rest {
    /// What a placement says of an instance that stands like this, if it rests.
    pub fn of(status: &Status) -> Option<Rest> {
        let state = match status.state {
            State::Exited if status.rests => RestState::Exited,
            State::Fatal if status.rests => RestState::Fatal,
            _ => return None,
        };
        let (exit, reason, since) = (status.exit, status.reason.clone(), status.since);
        Some(Rest { state, exit, reason, since })
    }
}

/// "This instance runs on this worker under this epoch, with this spec": all that the worker needs
/// to know. Key `<worker>.<program>.<index>` of the fleet bucket; at most one per instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// Identity of the program.
    pub id: ProgramId,
    /// Revision of `spec`.
    pub revision: u64,
    /// Grows each time the instance is placed anew, and only then.
    pub epoch: Epoch,
    /// What the instance should do.
    pub wanted: Wanted,
    /// What to run.
    pub spec: ProgramSpec,
    /// It has ended for good, or was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
    /// Public key of the scheduler that signed; reserved until fleets have authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Signature over fleet, key, epoch and body; reserved until fleets have authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sig: Option<String>,
}
