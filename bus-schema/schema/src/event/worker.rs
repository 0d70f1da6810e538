//! What happens to workers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dropped;
use crate::ids::WorkerName;

/// What happened to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkerChange {
    /// Its supervisor started.
    Started,
    /// Its agent started anew beside a supervisor that lives.
    AgentStarted,
    /// It was told to stop.
    Stopping,
    /// It stopped; no child is left.
    Stopped,
    /// A scheduler declared it lost.
    Lost,
    /// A scheduler would declare it lost, but too many workers were silent at once: it is given as
    /// much time again.
    Awaited,
    /// It is back after it was lost.
    Back,
    /// A lease ran out before it could be renewed; exclusive children were killed at its deadline.
    Fenced,
    /// Another worker holds its name.
    NameTaken,
    /// Events were dropped because the bus was away for too long.
    EventsDropped,
    /// Events that wait for the bus cannot be written to its disk, and are kept in memory.
    EventsUnsaved,
    /// It was told to run something it must not.
    Refused,
    /// A person asked that it takes no new instances.
    Cordoned,
    /// A person asked that it gives its instances away.
    Draining,
    /// It is draining, and has no instance any more.
    Drained,
    /// It takes instances again.
    Uncordoned,
    /// A secret that programs here use was set, or taken away: their next start has it.
    SecretChanged,
    /// Another version of the worker took its place, without touching a child.
    Upgraded,
    /// Another version was to take its place, and could not: the one that ran goes on.
    UpgradeFailed,
}

/// Something that happened to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerFact {
    /// The worker.
    pub worker: WorkerName,
    /// What.
    pub change: WorkerChange,
    /// Why, for people.
    pub reason: Option<String>,
    /// The supervisor's run, where it is known.
    pub incarnation: Option<crate::ids::Incarnation>,
    /// What was dropped, for `EVENTS_DROPPED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Dropped>,
}

impl WorkerChange {
    /// The TYPE: the last token of the subject.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            WorkerChange::Started => "STARTED",
            WorkerChange::AgentStarted => "AGENT_STARTED",
            WorkerChange::Stopping => "STOPPING",
            WorkerChange::Stopped => "STOPPED",
            WorkerChange::Lost => "LOST",
            WorkerChange::Awaited => "AWAITED",
            WorkerChange::Back => "BACK",
            WorkerChange::Fenced => "FENCED",
            WorkerChange::NameTaken => "NAME_TAKEN",
            WorkerChange::EventsDropped => "EVENTS_DROPPED",
            WorkerChange::EventsUnsaved => "EVENTS_UNSAVED",
            WorkerChange::Refused => "REFUSED",
            WorkerChange::Cordoned => "CORDONED",
            WorkerChange::Draining => "DRAINING",
            WorkerChange::Drained => "DRAINED",
            WorkerChange::Uncordoned => "UNCORDONED",
            WorkerChange::SecretChanged => "SECRET_CHANGED",
            WorkerChange::Upgraded => "UPGRADED",
            WorkerChange::UpgradeFailed => "UPGRADE_FAILED",
        }
    }
}
