//! Events: one fact each, told by whoever saw it happen, as a CloudEvent 1.0 in structured JSON.

mod cause;
mod dropped;
mod fleet;
mod kind;
mod listener;
mod notice;
mod source;
mod types;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{Epoch, FleetName, InstanceId, ProgramId, ProgramName, UserName, WorkerName};
use crate::moment::Timestamp;
use crate::rollout::RolloutFact;
use crate::state::{Exit, State, Usage};

pub use cause::{
    BALANCE, INSTANCE_FATAL, MoveCause, WORKER_DRAINED, WORKER_FORGOTTEN, WORKER_LOST,
};
pub use dropped::Dropped;
pub use fleet::{
    COMMAND_NAMES_MAX, CommandFact, GROUP_FAILED_MAX, GroupChange, GroupFact, Period,
    ProgramChange, ProgramFact, SchedulerChange, SchedulerFact, TickFact, Verdict,
};
pub use kind::{Kind, Teller};
pub use listener::{ListenerChange, ListenerFact, USER_TEXT_MAX, UserFact};
pub use notice::{Notice, NoticeFact, OUTPUT_BYTES_MAX, OutputFact, OutputKind};
pub use source::Source;
pub use types::TypeInfo;

/// A CloudEvent. Any CloudEvents tool reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Version of CloudEvents: `1.0`.
    pub specversion: String,
    /// Id; the same event published twice has the same. Also the `Nats-Msg-Id`.
    pub id: Uuid,
    /// `/dsbus/<fleet>/<worker, _fleet, _user or _listener>`.
    pub source: String,
    /// `io.dsbus.<kind>.<type>.v1`, lower case.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about: `web:0`, `web`, or a worker.
    pub subject: String,
    /// When it happened, by the clock of whoever saw it.
    pub time: Timestamp,
    /// `application/json`.
    pub datacontenttype: String,
    /// The fact.
    pub data: Fact,
}

impl Event {
    /// Wraps a fact.
    pub fn new(fleet: &FleetName, source: &Source, id: Uuid, time: Timestamp, data: Fact) -> Event {
        Event {
            specversion: "1.0".to_owned(),
            id,
            source: format!("/dsbus/{fleet}/{}", source.token()),
            kind: format!("io.dsbus.{}.{}.v1", data.kind(), data.type_name().to_lowercase()),
            subject: data.about(),
            time,
            datacontenttype: "application/json".to_owned(),
            data,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact {
    /// An instance changed its state. Kind `process`, TYPE is the new state.
    Process(ProcessFact),
    /// A scheduler changed where an instance runs. Kind `placement`.
    Placement(PlacementFact),
    /// Something happened to a worker. Kind `worker`.
    Worker(WorkerFact),
    /// Something happened to an instance that is no change of state. Kind `notice`.
    Notice(NoticeFact),
    /// A child said something. Kind `output`.
    Output(OutputFact),
    /// A step of a rollout. Kind `rollout`.
    Rollout(RolloutFact),
    /// A declaration changed. Kind `program`.
    Program(ProgramFact),
    /// Something happened to a group. Kind `group`.
    Group(GroupFact),
    /// A command was accepted or refused. Kind `command`.
    Command(CommandFact),
    /// Something happened to a scheduler. Kind `scheduler`.
    Scheduler(SchedulerFact),
    /// Time went by. Kind `tick`.
    Tick(TickFact),
    /// A person or a program said something. Kind `user`, TYPE is theirs.
    User(UserFact),
    /// Something happened to a listener. Kind `listener`.
    Listener(ListenerFact),
}

/// A change of state of an instance. Ordered by (`epoch`, `seq`), without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessFact {
    /// The instance.
    pub name: InstanceId,
    /// Identity of the program.
    pub id: ProgramId,
    /// The group of the program, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ProgramName>,
    /// Name of the copy, where the program gives its copies names: `web_00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Where.
    pub worker: Option<WorkerName>,
    /// Epoch of the placement.
    pub epoch: Epoch,
    /// Number of this event under the epoch, from 1; 0 for an event of the fleet.
    pub seq: u64,
    /// Revision of the spec.
    pub revision: u64,
    /// The state before.
    pub from: State,
    /// The state now.
    pub state: State,
    /// The child this is about.
    pub pid: Option<i32>,
    /// How it ended, when it ended.
    pub exit: Option<Exit>,
    /// What it used, when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Whether that was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<bool>,
    /// Why, for people.
    pub reason: Option<String>,
    /// Why the spawn failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawnerr: Option<String>,
    /// Last line of standard error, where a failure is to be explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_line: Option<String>,
    /// Which try to start this is, from 1, while starting or backing off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// What a scheduler did with a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum PlacementChange {
    /// Placed where it had no place.
    Placed,
    /// Moved from one worker to another.
    Moved,
    /// Its placement was taken away.
    Removed,
}

/// A change of where an instance runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlacementFact {
    /// The instance.
    pub name: InstanceId,
    /// Identity of the program.
    pub id: ProgramId,
    /// What was done.
    pub change: PlacementChange,
    /// Where it was.
    pub from: Option<WorkerName>,
    /// Where it is now.
    pub to: Option<WorkerName>,
    /// Epoch now; of the placement that was taken away, for REMOVED.
    pub epoch: Epoch,
    /// Why.
    pub reason: String,
    /// Who did it.
    pub scheduler: String,
}

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

impl Fact {
    /// The kind: a token of the subject.
    pub fn kind(&self) -> &'static str {
        Kind::of(self).name()
    }

    /// The TYPE: the last token of the subject.
    pub fn type_name(&self) -> &str {
        match self {
            Fact::Process(fact) => fact.state.name(),
            Fact::Placement(fact) => match fact.change {
                PlacementChange::Placed => "PLACED",
                PlacementChange::Moved => "MOVED",
                PlacementChange::Removed => "REMOVED",
            },
            Fact::Worker(fact) => match fact.change {
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
            },
            Fact::Notice(fact) => fact.change.type_name(),
            Fact::Output(fact) => fact.type_name(),
            Fact::Rollout(fact) => fact.change.type_name(),
            Fact::Program(fact) => match fact.change {
                ProgramChange::Added => "ADDED",
                ProgramChange::Changed => "CHANGED",
                ProgramChange::Removed => "REMOVED",
            },
            Fact::Group(fact) => fact.change.type_name(),
            Fact::Command(fact) => match fact.verdict {
                Verdict::Accepted => "ACCEPTED",
                Verdict::Refused => "REFUSED",
            },
            Fact::Scheduler(fact) => fact.change.type_name(),
            Fact::Tick(fact) => fact.tick.type_name(),
            Fact::User(fact) => fact.name.as_str(),
            Fact::Listener(fact) => fact.change.type_name(),
        }
    }

    /// The instance it is about, where it is about one.
    pub fn instance(&self) -> Option<&InstanceId> {
        match self {
            Fact::Process(fact) => Some(&fact.name),
            Fact::Placement(fact) => Some(&fact.name),
            Fact::Notice(fact) => Some(&fact.name),
            Fact::Output(fact) => Some(&fact.name),
            Fact::Worker(_)
            | Fact::Rollout(_)
            | Fact::Program(_)
            | Fact::Group(_)
            | Fact::Command(_)
            | Fact::Scheduler(_)
            | Fact::Tick(_)
            | Fact::User(_)
            | Fact::Listener(_) => None,
        }
    }

    /// The program it is about, where it is about one; a group or a listener has its name from the
    /// same namespace.
    pub fn program(&self) -> Option<ProgramName> {
        match self {
            Fact::Rollout(fact) => Some(fact.program.clone()),
            Fact::Program(fact) => Some(fact.program.clone()),
            Fact::Group(fact) => Some(fact.group.clone()),
            Fact::Listener(fact) => Some(fact.listener.clone()),
            Fact::Command(fact) => fact.program(),
            Fact::Process(_)
            | Fact::Placement(_)
            | Fact::Notice(_)
            | Fact::Output(_)
            | Fact::Worker(_)
            | Fact::Scheduler(_)
            | Fact::Tick(_)
            | Fact::User(_) => self.instance().map(|name| name.program.clone()),
        }
    }

    /// The user it comes from, where its subject names one: permissions pin that token.
    pub fn user(&self) -> Option<&UserName> {
        match self {
            Fact::Command(fact) => Some(&fact.by),
            Fact::User(fact) => Some(&fact.by),
            Fact::Process(_)
            | Fact::Placement(_)
            | Fact::Notice(_)
            | Fact::Output(_)
            | Fact::Worker(_)
            | Fact::Rollout(_)
            | Fact::Program(_)
            | Fact::Group(_)
            | Fact::Scheduler(_)
            | Fact::Tick(_)
            | Fact::Listener(_) => None,
        }
    }

    fn about(&self) -> String {
        match self {
            Fact::Worker(fact) => fact.worker.to_string(),
            Fact::Process(fact) => fact.name.to_string(),
            Fact::Placement(fact) => fact.name.to_string(),
            Fact::Notice(fact) => fact.name.to_string(),
            Fact::Output(fact) => fact.name.to_string(),
            Fact::Rollout(fact) => fact.program.to_string(),
            Fact::Program(fact) => fact.program.to_string(),
            Fact::Group(fact) => fact.group.to_string(),
            Fact::Command(fact) => fact.verb.clone(),
            Fact::Scheduler(fact) => fact.scheduler.clone(),
            Fact::Tick(fact) => fact.when.to_string(),
            Fact::User(fact) => fact.by.to_string(),
            Fact::Listener(fact) => fact.listener.to_string(),
        }
    }
}
