//! A placement, as an instance keeps it.

use std::sync::Arc;

use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, ProgramId};
use dsbus_schema::placement::{Placement, Rest};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::worker::Refusal;
use serde::{Deserialize, Serialize};

use super::Instance;

/// A placement. The spec is shared: by the instances of a program, and by their children.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    /// Identity of the program.
    pub id: ProgramId,
    /// Revision of the spec.
    pub revision: u64,
    /// Epoch.
    pub epoch: Epoch,
    /// What people want.
    pub wanted: Wanted,
    /// It has ended for good, or was given up.
    pub rest: Option<Rest>,
    /// Why it may not be started here, if it may not.
    pub refusal: Option<Refusal>,
    /// Words after those of the command, for the next child.
    pub arguments: Vec<String>,
    /// The spec.
    #[serde(with = "crate::handover::specs")]
    pub spec: Arc<ProgramSpec>,
}

impl From<Placement> for Placed {
    fn from(placement: Placement) -> Placed {
        let Placement { id, revision, epoch, wanted, spec, rest, arguments, .. } = placement;
        Placed { id, revision, epoch, wanted, rest, refusal: None, arguments, spec: Arc::new(spec) }
    }
}

impl Placed {
    /// The placement that it was made of, as far as it is known here.
    pub fn placement(&self) -> Placement {
        let spec = ProgramSpec::clone(&self.spec);
        Placement {
            rest: self.rest.clone(),
            arguments: self.arguments.clone(),
            ..Placement::new(self.id, self.revision, self.epoch, self.wanted, spec)
        }
    }
}

impl Instance {
    /// The highest epoch it was placed under.
    pub fn placed_epoch(&self) -> Epoch {
        self.placed.epoch
    }

    /// Its placement; `None` when it is not placed here any more.
    pub fn placement(&self) -> Option<Placement> {
        (!self.taken_away).then(|| self.placed.placement())
    }

    /// Whether it is placed here.
    pub(crate) fn is_placed(&self) -> bool {
        !self.taken_away
    }
}
