//! Where an instance runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::goal::Wanted;
use crate::ids::{Epoch, ProgramId};
use crate::program::ProgramSpec;

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
    /// Public key of the scheduler that signed; reserved until fleets have authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Signature over fleet, key, epoch and body; reserved until fleets have authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sig: Option<String>,
}
