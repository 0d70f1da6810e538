//! Commands: requests from people and programs, answered by any scheduler after the write they
//! caused. The verb is the last token of the subject.

mod fleet;
mod recover;
mod rollout;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::goal::Wanted;
use crate::ids::{InstanceId, ProgramId, ProgramName, Target, WorkerName};
use crate::lenient::shown;
use crate::program::{Problem, ProgramSpec};

pub use fleet::{
    Explanation, GroupRow, GroupState, PlannedMove, Rebalance, WorkerAct, WorkerActed,
    WorkerVerdict,
};
pub use recover::{
    RECOVER_INSTANCES_MAX, Recover, Recovered, RecoveredInstance, RecoveredProgram, Recovery,
};
pub use rollout::{RevisionRow, RolloutAct, RolloutRow, RolloutStep, Scale};

/// Most programs in one `apply`: each is one message of an atomic batch, which NATS limits to
/// 1,000 (ADR-50).
pub const APPLY_PROGRAMS_MAX: usize = 500;

/// An answer to `status` that more follow has at least so many rows, and more while they are short. So
/// many of the longest rows (2 KiB) fit into a NATS message (1 MiB).
pub const STATUS_ROWS_MIN: usize = 400;

/// Header of an answer to `status` that more rows follow: the [`Ask::after`] that gives them. It can be
/// asked for before the answer is read.
pub const HEADER_NEXT: &str = "Dsbus-Next";

/// Most bytes of rows in one answer to `rollouts`, `history`, `explain` and `groups`: a NATS message
/// holds 1 MiB. Whoever wants all of them asks again after the last row, until an answer is empty.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;

/// Most bytes of the arguments of a start: a goal and each placement carry them.
pub const ARGUMENTS_BYTES_MAX: usize = 16 * 1024;

/// A verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Declare programs: [`Apply`] -> [`Applied`].
    Apply,
    /// Declare one new program: [`Create`] -> [`Applied`].
    Create,
    /// [`Act`] -> [`Acted`].
    Start,
    /// [`Act`] -> [`Acted`].
    Stop,
    /// [`Act`] -> [`Acted`].
    Restart,
    /// [`Act`] -> [`Acted`].
    Reload,
    /// [`Act`] -> [`Acted`].
    Remove,
    /// [`Ask`] -> list of [`crate::status::InstanceRow`].
    Status,
    /// [`Ask`] -> list of [`crate::status::WorkerRow`].
    Workers,
    /// [`Act`] -> [`Acted`]. May be started again.
    Enable,
    /// [`Act`] -> [`Acted`]. Stopped, and refuses to be started, until it is enabled.
    Disable,
    /// [`Scale`] -> [`Applied`].
    Scale,
    /// [`RolloutAct`] -> list of [`RolloutRow`].
    Rollout,
    /// [`Ask`] -> list of [`RolloutRow`].
    Rollouts,
    /// [`Ask`] -> list of [`RevisionRow`].
    History,
    /// [`Ask`] -> list of [`Explanation`].
    Explain,
    /// [`Ask`] -> list of [`GroupRow`].
    Groups,
    /// [`WorkerAct`] -> list of [`WorkerActed`].
    Cordon,
    /// [`WorkerAct`] -> list of [`WorkerActed`].
    Uncordon,
    /// [`WorkerAct`] -> list of [`WorkerActed`].
    Drain,
    /// [`WorkerAct`] -> list of [`WorkerActed`]. Also takes back `cordon`.
    Undrain,
    /// [`WorkerAct`] -> list of [`WorkerActed`]. Only lost workers.
    Forget,
    /// [`Rebalance`] -> list of [`PlannedMove`].
    Rebalance,
    /// [`Hand`] of a [`SignalAsk`](crate::call::SignalAsk) -> [`SignalSent`](crate::call::SignalSent).
    Signal,
    /// [`Hand`] of a [`StdinAsk`](crate::call::StdinAsk) -> [`StdinTaken`](crate::call::StdinTaken).
    Stdin,
    /// [`Hand`] of a [`Clear`](crate::call::Clear) -> [`Cleared`](crate::call::Cleared).
    Clear,
    /// [`Recover`] -> [`Recovered`].
    Recover,
}

impl Verb {
    /// All of them.
    pub const ALL: [Verb; 27] = [
        Verb::Apply,
        Verb::Create,
        Verb::Start,
        Verb::Stop,
        Verb::Restart,
        Verb::Reload,
        Verb::Remove,
        Verb::Status,
        Verb::Workers,
        Verb::Enable,
        Verb::Disable,
        Verb::Scale,
        Verb::Rollout,
        Verb::Rollouts,
        Verb::History,
        Verb::Explain,
        Verb::Groups,
        Verb::Cordon,
        Verb::Uncordon,
        Verb::Drain,
        Verb::Undrain,
        Verb::Forget,
        Verb::Rebalance,
        Verb::Signal,
        Verb::Stdin,
        Verb::Clear,
        Verb::Recover,
    ];

    /// The token in a subject.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Apply => "apply",
            Verb::Create => "create",
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
            Verb::Reload => "reload",
            Verb::Remove => "remove",
            Verb::Status => "status",
            Verb::Workers => "workers",
            Verb::Enable => "enable",
            Verb::Disable => "disable",
            Verb::Scale => "scale",
            Verb::Rollout => "rollout",
            Verb::Rollouts => "rollouts",
            Verb::History => "history",
            Verb::Explain => "explain",
            Verb::Groups => "groups",
            Verb::Cordon => "cordon",
            Verb::Uncordon => "uncordon",
            Verb::Drain => "drain",
            Verb::Undrain => "undrain",
            Verb::Forget => "forget",
            Verb::Rebalance => "rebalance",
            Verb::Signal => "signal",
            Verb::Stdin => "stdin",
            Verb::Clear => "clear",
            Verb::Recover => "recover",
        }
    }

    /// The verb with this name.
    pub fn parse(name: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.name() == name)
    }
}

/// What every request may carry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Envelope {
    /// Id of the command: sent again with the same id, it acts once. Made up when missing.
    #[serde(default, deserialize_with = "command_id", skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Major version of the message.
    #[serde(default, deserialize_with = "major", skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// What a scheduler has a worker do at once, in the name of who sent it: the worker alone could not tell
/// who may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hand<Q> {
    /// Id and version. Sent again it acts again: what is asked says itself what is to happen once.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// Which worker.
    pub worker: WorkerName,
    /// What it is asked; `by` in it is who sends the command, whatever it says.
    pub ask: Q,
}

/// Reads an id, and says whose it is where it is none: serde does not know where it is in a message that
/// is made of two.
fn command_id<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Uuid>, D::Error> {
    let given = Value::deserialize(d)?;
    let wrong = || D::Error::custom(format!("id: expected a UUID, found {}", shown(&given)));
    match &given {
        Value::Null => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(|_| wrong()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(wrong()),
    }
}

/// Reads a version in the same way.
fn major<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u32>, D::Error> {
    let given = Value::deserialize(d)?;
    let found = given.as_u64().and_then(|version| u32::try_from(version).ok());
    if found.is_none() && !given.is_null() {
        let shown = shown(&given);
        let said = format!("version: expected a whole number, found {shown}");
        return Err(D::Error::custom(said));
    }
    Ok(found)
}

/// Declare programs: all of them or, if anything is wrong with one, none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Apply {
    /// Id and version.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// Programs by name; each a table of the keys of [`crate::program::ProgramSpec`].
    #[schemars(with = "BTreeMap<ProgramName, ProgramSpec>")]
    pub programs: BTreeMap<ProgramName, Map<String, Value>>,
    /// Only say what would be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Declare one program that does not exist, or is stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// Id and version.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// Name.
    pub name: ProgramName,
    /// The keys of [`crate::program::ProgramSpec`].
    #[schemars(with = "ProgramSpec")]
    pub program: Map<String, Value>,
}

/// What an `apply` or `create` did with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Declared for the first time.
    Created,
    /// Its declaration changed.
    Changed,
    /// It was already declared so.
    Unchanged,
}

/// One program of an [`Applied`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedProgram {
    /// Name.
    pub name: ProgramName,
    /// Identity.
    pub id: ProgramId,
    /// Revision now.
    pub revision: u64,
    /// What was done.
    pub change: Change,
    /// How many instances it has now.
    pub numprocs: u32,
    /// What is worth saying about the declaration.
    #[serde(default)]
    pub warnings: Vec<Problem>,
    /// The keys that changed; values are left out, since they may be secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// The change needs new children, and is rolled out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rolls: bool,
}

/// Answer to [`Apply`] and [`Create`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// By name.
    pub programs: Vec<AppliedProgram>,
    /// What would be done at once, in words: the answer to a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
}

/// Start, stop, restart, reload or remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Act {
    /// Id and version.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// What to act on.
    pub names: Vec<Target>,
    /// For `restart`: one after the other, as the programs' `update` says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rolling: bool,
    /// For `start` and `restart`: words after those of the declared command, for this start only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

impl Act {
    /// A request without particulars.
    pub fn new(envelope: Envelope, names: Vec<Target>) -> Act {
        Act { envelope, names, rolling: false, arguments: Vec::new() }
    }
}

/// One instance of an [`Acted`]: what is wanted of it now. The command is done when the instance's
/// `acted` is at least this and its state is the one wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActedInstance {
    /// The instance.
    pub name: InstanceId,
    /// Identity of its program.
    pub id: ProgramId,
    /// What is wanted of it now.
    pub wanted: Wanted,
}

/// Answer to [`Act`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acted {
    /// By name.
    pub instances: Vec<ActedInstance>,
}

/// Ask for states.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ask {
    /// Id and version.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// About what; everything when empty.
    #[serde(default)]
    pub names: Vec<Target>,
    /// Only rows after this instance, or of programs (and groups) after its program. Ask again after
    /// the last row of an answer, as long as one to `status` has the header [`HEADER_NEXT`]; others
    /// hold at most [`ANSWER_BYTES_MAX`], and the last one is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<InstanceId>,
}

/// The body of an answer that is a refusal. Its headers `Nats-Service-Error-Code` and
/// `Nats-Service-Error` say the same, as NATS micro services do (ADR-32).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// One of [`code`].
    pub code: u16,
    /// Why, for people.
    pub error: String,
    /// What is wrong with which key of which program, where that is known.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// Codes of `Nats-Service-Error-Code`; they mean what HTTP's mean.
pub mod code {
    /// The request could not be read, or what it declares is wrong.
    pub const BAD_REQUEST: u16 = 400;
    /// Its sender may not do that: the schedulers' grants say so.
    pub const FORBIDDEN: u16 = 403;
    /// No such program, instance or worker.
    pub const NOT_FOUND: u16 = 404;
    /// It exists, lives, or changed meanwhile.
    pub const CONFLICT: u16 = 409;
    /// The worker that is to act does not answer; nothing was done.
    pub const NO_WORKER: u16 = 502;
    /// The bus refused or did not answer; nothing is known to be written.
    pub const UNAVAILABLE: u16 = 503;
}
