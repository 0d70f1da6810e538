//! Facts about the fleet: what was declared and commanded, its groups and its schedulers, and time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{ProgramId, ProgramName, Target, UserName};

/// What was done with a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProgramChange {
    /// Declared for the first time.
    Added,
    /// Declared otherwise: the revision grew.
    Changed,
    /// Removed; its instances are stopped.
    Removed,
}

/// A change of a declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramFact {
    /// The program.
    pub program: ProgramName,
    /// Its identity.
    pub id: ProgramId,
    /// What.
    pub change: ProgramChange,
    /// Its revision now; the last one, for REMOVED.
    pub revision: u64,
    /// The group it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ProgramName>,
    /// The keys that changed; values are left out, since they may be secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// Who asked for it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserName>,
}

/// What happened to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum GroupChange {
    /// Its first program was declared.
    Added,
    /// Its last program was removed.
    Removed,
    /// Every member that should run does.
    Ok,
    /// A member has failed that is not required: a minor failure.
    Degraded,
    /// A required member has failed: a major failure.
    Failed,
}

impl GroupChange {
    /// The TYPE: the last token of the subject.
    pub fn type_name(self) -> &'static str {
        match self {
            GroupChange::Added => "ADDED",
            GroupChange::Removed => "REMOVED",
            GroupChange::Ok => "OK",
            GroupChange::Degraded => "DEGRADED",
            GroupChange::Failed => "FAILED",
        }
    }
}

/// Most instances that the event of one group names: it is read by people.
pub const GROUP_FAILED_MAX: usize = 50;

/// Something that happened to a group. What was told last is kept under `_group.<group>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupFact {
    /// The group.
    pub group: ProgramName,
    /// What.
    pub change: GroupChange,
    /// The instances that have failed; at most [`GROUP_FAILED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It was written, and answered with success.
    Accepted,
    /// It was refused; nothing was written, unless its code is
    /// [`crate::command::code::UNAVAILABLE`]: then that is not known.
    Refused,
}

/// A command that changes something, and how it ended: the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandFact {
    /// Who sent it: the user token of its subject.
    pub by: UserName,
    /// Its verb.
    pub verb: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What it was about: names of programs, instances, groups or workers as they were given. Cut
    /// after [`COMMAND_NAMES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// How many names there were in all.
    pub count: usize,
    /// Id of the command: a command that is sent again has the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Uuid>,
    /// Why it was refused: a code of [`crate::command::code`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Why it was refused, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who answered.
    pub scheduler: String,
}

/// Most names in the event of one command: an `apply` may have 500 programs, and the event is read
/// by people.
pub const COMMAND_NAMES_MAX: usize = 50;

impl CommandFact {
    /// The program it is about, where it is about one only.
    pub(super) fn program(&self) -> Option<ProgramName> {
        let [name] = self.names.as_slice() else { return None };
        match Target::parse(name) {
            Ok(Target::Program(program)) => Some(program),
            Ok(Target::Instance(instance)) => Some(instance.program),
            Ok(Target::All | Target::Id(_) | Target::Copies(_)) | Err(_) => None,
        }
    }
}

/// What happened to a scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SchedulerChange {
    /// It knows all that is on the bus, and answers commands.
    Joined,
    /// It was told to stop.
    Left,
    /// Its lease expired, and it did not come back.
    Lost,
    /// Events were dropped because they could not be published for too long.
    #[serde(rename = "EVENTS_DROPPED")]
    EventsDropped,
}

impl SchedulerChange {
    /// The TYPE: the last token of the subject.
    pub fn type_name(self) -> &'static str {
        match self {
            SchedulerChange::Joined => "JOINED",
            SchedulerChange::Left => "LEFT",
            SchedulerChange::Lost => "LOST",
            SchedulerChange::EventsDropped => "EVENTS_DROPPED",
        }
    }
}

/// Something that happened to a scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedulerFact {
    /// Which one.
    pub scheduler: String,
    /// What.
    pub change: SchedulerChange,
    /// How many schedulers are left, or there are now, as far as the teller knows.
    pub schedulers: usize,
    /// How many events were dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// The periods of ticks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Period {
    /// Every 5 s.
    #[serde(rename = "TICK_5")]
    Five,
    /// Every minute.
    #[serde(rename = "TICK_60")]
    Minute,
    /// Every hour.
    #[serde(rename = "TICK_3600")]
    Hour,
}

impl Period {
    /// All of them.
    pub const ALL: [Period; 3] = [Period::Five, Period::Minute, Period::Hour];

    /// Its length, in seconds.
    pub fn seconds(self) -> i64 {
        match self {
            Period::Five => 5,
            Period::Minute => 60,
            Period::Hour => 3600,
        }
    }

    /// The TYPE: the last token of the subject.
    pub fn type_name(self) -> &'static str {
        match self {
            Period::Five => "TICK_5",
            Period::Minute => "TICK_60",
            Period::Hour => "TICK_3600",
        }
    }
}

/// Time went by. Once per period and fleet: all schedulers tell it under the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TickFact {
    /// Which period.
    pub tick: Period,
    /// When the period began: seconds since 1970, a multiple of its length (Supervisor's `when`).
    pub when: i64,
}

impl TickFact {
    /// Its id, which is the same whoever tells it.
    pub fn id(&self, fleet: &crate::ids::FleetName) -> Uuid {
        let name = format!("{fleet}/{}/{}", self.tick.type_name(), self.when);
        Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
    }
}
