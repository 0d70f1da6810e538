//! What a person declares. Key names and defaults are Supervisor's (its manual, "`[program:x]`
//! Section Settings") where Supervisor has the key.

mod check;
mod child;
mod command;
mod defaults;
mod environment;
mod event_listener;
mod event_name;
pub mod expand;
mod hook;
mod job;
mod limits;
mod log;
mod needs;
mod on_fatal;
mod order;
mod place;
mod probe;
mod problem;
mod read;
mod restart;
mod retries;
mod schedule;
#[cfg(test)]
mod schedule_tests;
mod signal;
mod socket;
mod spec;
mod stop;
#[cfg(test)]
mod tests;
mod update;
mod warn;
pub(crate) mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::goal::Commands;
use crate::ids::{InstanceId, ProgramId, ProgramName, UserName};
use crate::moment::Timestamp;
use crate::rollout::Rollout;

pub use check::{
    LOG_BACKUPS_MAX, NUMPROCS_MAX, SPEC_BYTES_MAX, START_RETRIES_MAX, TOUCH_TIMEOUT_MAX,
    TOUCH_TIMEOUT_MIN,
};
pub use child::{TOUCH_TIMEOUT_DEFAULT, TOUCH_TIMEOUT_EXCLUSIVE};
pub use command::Command;
pub use environment::{ENVIRONMENT_FILE, ENVIRONMENT_SECRET, EnvironmentValue};
pub use event_listener::{BUFFER_SIZE_MAX, EVENT_LISTENERS, EventListener};
pub use event_name::{EventName, UnknownEvent};
pub use hook::{Hook, HookPoint};
pub use job::{Kind, MAX_AGE_MIN};
pub use limits::{CAPABILITIES, Capability, Limits, Mode, RLIMITS, Rlimit};
pub use log::{LogTarget, LogTargets};
pub use needs::{CGROUP, Facility, USER, key_of};
pub use on_fatal::OnFatal;
pub use order::{Condition, DependsOn};
pub use place::{LabelRule, OnWorkerLoss, Resources, Strategy};
pub use probe::Probe;
pub use problem::Problem;
pub use restart::AutoRestart;
pub use retries::Retries;
pub use schedule::{MissedRun, Schedule, run_id};
pub use signal::Signal;
pub use socket::{ExtraFile, FileMode, SocketAddress};
pub use spec::ProgramSpec;
pub use stop::{StopSignal, StopSignals};
pub use update::Update;

/// A program as it is stored: the declaration and its identity. Key `<program>` of the programs
/// bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Program {
    /// Identity for life.
    pub id: ProgramId,
    /// Name.
    pub name: ProgramName,
    /// Grows by one with every change of `spec`; the first is 1.
    pub revision: u64,
    /// What was declared.
    pub spec: ProgramSpec,
    /// A person asked to remove it: instances are stopped, then everything of it is deleted.
    #[serde(default)]
    pub removing: bool,
    /// When its schedule was declared or last changed: due times before that are none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Timestamp>,
    /// The commands that declared it.
    #[serde(default)]
    pub commands: Commands,
    /// A rollout that is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<Rollout>>,
    /// When this revision was declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// Who declared this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserName>,
    /// Why there is this revision, where there is more to say than that it was declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Program {
    /// A program that is declared for the first time.
    pub fn new(id: ProgramId, name: ProgramName, spec: ProgramSpec) -> Program {
        Program {
            id,
            name,
            revision: 1,
            spec,
            removing: false,
            declared: None,
            commands: Commands::default(),
            rollout: None,
            changed: None,
            by: None,
            reason: None,
        }
    }

    /// The program's instances.
    pub fn instances(&self) -> impl Iterator<Item = InstanceId> + '_ {
        (0..self.spec.numprocs).map(|index| InstanceId::new(self.name.clone(), index))
    }
}
