//! Last known states.

mod unstarted;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::goal::Wanted;
use crate::ids::{Epoch, Incarnation, InstanceId, ProgramId, ProgramName, WorkerName};
use crate::moment::Timestamp;
use crate::program::Facility;
use crate::state::{Exit, State, Usage, WorkerState};
use crate::worker::{Capacity, Facts, Labels, Refusal};

pub use unstarted::Unstarted;

/// Longest line of standard error that is kept to explain a failure, in bytes.
pub const STDERR_LINE_BYTES_MAX: usize = 400;

/// The [`InstanceRow::reason`] of an instance that does not run because a person disabled it.
pub const DISABLED: &str = "disabled";

/// The reason of an instance that nothing but a person will start.
pub const NOT_STARTED: &str = "not started";

/// How [`Status::reason`] begins while it runs, and its last reload failed. `wanted.reloads` counts a
/// reload that failed, too, but only once that is known.
pub const RELOAD_FAILED: &str = "reload failed";

/// Last known state of an instance on one worker. Key `<worker>.<program>.<index>` of the status
/// bucket, or `_fleet.<program>.<index>` for what only schedulers know (PENDING, FATAL over the
/// fleet). The entry of the worker that holds the placement counts, and only under its epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Identity of the program.
    pub id: ProgramId,
    /// Epoch of the placement it is about.
    pub epoch: Epoch,
    /// Revision of the spec that was last acted on.
    pub revision: u64,
    /// What was last acted on.
    pub wanted: Wanted,
    /// State.
    pub state: State,
    /// It has ended for good, or was given up: its worker starts it only when more is wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rests: bool,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Process id of the child, while there is one.
    pub pid: Option<i32>,
    /// How often it was started again under this epoch.
    #[serde(default)]
    pub restarts: u64,
    /// How the last child ended.
    pub exit: Option<Exit>,
    /// What the last child used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What the child says of itself (`STATUS=` of `sd_notify(3)`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why it is in this state, for people.
    pub reason: Option<String>,
    /// Its worker's policy does not let it run there, and it was not started. Schedulers look for
    /// another worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Why the last spawn failed.
    pub spawnerr: Option<String>,
    /// Last line of standard error, where a failure is to be explained.
    #[serde(default)]
    pub stderr_line: Option<String>,
    /// File of standard output, on the worker.
    pub stdout_logfile: Option<String>,
    /// File of standard error, on the worker.
    pub stderr_logfile: Option<String>,
    /// `seq` of the last event under this epoch.
    pub seq: u64,
    /// Id of the event that told of this state.
    pub event: Option<Uuid>,
    /// Who wrote this: the worker's incarnation; nil for a scheduler.
    pub incarnation: Incarnation,
}

/// One instance as people see it: a row of `dsbus status -o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceRow {
    /// `web:0`.
    pub name: InstanceId,
    /// Identity of the program.
    pub id: ProgramId,
    /// Program.
    pub program: ProgramName,
    /// Which copy.
    pub index: u32,
    /// State.
    pub state: State,
    /// Supervisor's number of the state.
    pub statecode: u32,
    /// Where it is placed.
    pub worker: Option<WorkerName>,
    /// Process id, while there is a child.
    pub pid: Option<i32>,
    /// Epoch of the placement; 0 when it has none.
    pub epoch: Epoch,
    /// Revision of the spec that was last acted on.
    pub revision: u64,
    /// Since when it is in this state.
    pub since: Option<Timestamp>,
    /// How often it was started again under this epoch.
    pub restarts: u64,
    /// How the last child ended.
    pub exit: Option<Exit>,
    /// What the last child used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What the child says of itself (`STATUS=` of `sd_notify(3)`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The program's `meta`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// Why it is in this state.
    pub reason: Option<String>,
    /// Why the last spawn failed.
    pub spawnerr: Option<String>,
    /// Last line of standard error, where a failure is to be explained.
    pub stderr_line: Option<String>,
    /// File of standard output, on the worker.
    pub stdout_logfile: Option<String>,
    /// File of standard error, on the worker.
    pub stderr_logfile: Option<String>,
    /// Words after those of the command, given with its last start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// What people want of it.
    pub wanted: Wanted,
    /// What was last acted on, by its worker or by schedulers.
    pub acted: Wanted,
    /// Whether it is as it should be: it runs, is on its way to, has ended as expected, or was
    /// stopped by a request.
    pub ok: bool,
}

/// One worker as people see it: a row of `dsbus workers -o json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerRow {
    /// Name.
    pub name: WorkerName,
    /// State.
    pub state: WorkerState,
    /// Host name.
    pub host: String,
    /// Process id of the agent, on its machine.
    pub agent_pid: i32,
    /// Process id of the supervisor, on its machine.
    pub supervisor_pid: i32,
    /// How many instances are placed on it.
    pub instances: usize,
    /// When it last touched.
    pub last_touch: Option<Timestamp>,
    /// dsbus version.
    pub version: String,
    /// What it can do for a child; see [`crate::program::Facility`].
    #[serde(default)]
    pub facilities: Vec<Facility>,
    /// What its people say of it; see [`crate::worker::label`].
    #[serde(default)]
    pub labels: Labels,
    /// How much its instances may declare in all.
    #[serde(default)]
    pub capacity: Capacity,
    /// What its machine is, has left, and is busy with, as it last told.
    #[serde(default)]
    pub facts: Facts,
    /// What it does not run of what is written for it; see [`crate::worker::Worker::refuses`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuses: Option<String>,
}
