//! Where an instance runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::goal::Wanted;
use crate::ids::{Epoch, ProgramId, WorkerName};
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
    /// Where it was before, when it was moved here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<WorkerName>,
    /// Why it is here, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Public key of the scheduler that signed; reserved until fleets have authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Signature over fleet, key, epoch and body; reserved until fleets have authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sig: Option<String>,
}

impl Placement {
    /// A placement that says no more than it must.
    pub fn new(
        id: ProgramId,
        revision: u64,
        epoch: Epoch,
        wanted: Wanted,
        spec: ProgramSpec,
    ) -> Placement {
        let (from, reason, signer, sig) = (None, None, None, None);
        Placement { id, revision, epoch, wanted, spec, from, reason, signer, sig }
    }
}
