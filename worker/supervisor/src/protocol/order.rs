//! Placements as the supervisor is given them.

use dsbus_schema::event::ProcessFact;
use dsbus_schema::ids::{Epoch, InstanceId, ProgramId, ProgramName};
use dsbus_schema::placement::Placement;
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use serde::{Deserialize, Serialize};

/// A placement, handed to the supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The instance.
    pub name: InstanceId,
    /// Its placement.
    pub placement: Placement,
    /// The last event that an earlier incarnation of this worker published about it. Events of its
    /// epoch go on from there without a gap.
    #[serde(default)]
    pub last: Option<LastEvent>,
}

/// What an event said of an instance, as far as it matters when no later one is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastEvent {
    /// Identity of the program.
    pub id: ProgramId,
    /// Its group, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ProgramName>,
    /// Name of the copy, where the program gives its copies names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Epoch.
    pub epoch: Epoch,
    /// Its number under the epoch.
    pub seq: u64,
    /// Revision of the spec.
    pub revision: u64,
    /// The state.
    pub state: State,
    /// The child it was about.
    pub pid: Option<i32>,
}

impl LastEvent {
    /// Of an event.
    pub fn of(fact: &ProcessFact) -> LastEvent {
        let ProcessFact { id, epoch, seq, revision, state, pid, .. } = *fact;
        let (group, process) = (fact.group.clone(), fact.process.clone());
        LastEvent { id, group, process, epoch, seq, revision, state, pid }
    }

    /// Of the status that tells of it.
    pub fn of_status(status: &Status) -> LastEvent {
        let Status { id, epoch, seq, revision, state, pid, .. } = *status;
        LastEvent { id, group: None, process: None, epoch, seq, revision, state, pid }
    }

    /// The later one; of the same, the first.
    pub fn later(one: Option<LastEvent>, other: Option<LastEvent>) -> Option<LastEvent> {
        let number = |last: &Option<LastEvent>| last.as_ref().map(|last| (last.epoch, last.seq));
        if number(&other) > number(&one) { other } else { one }
    }
}
