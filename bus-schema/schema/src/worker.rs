//! What a worker tells about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{Incarnation, WorkerName};
use crate::moment::Timestamp;
use crate::program::{Facility, ProgramSpec, USER};

mod facts;
pub mod label;
mod policy;

pub use facts::{Capacity, Disk, Facts};
pub use label::Labels;
pub use policy::{Bar, PolicyFacts, Refusal};

/// A worker. Key `<worker>` of the workers bucket, written by the worker when its agent starts, when
/// it is told to stop, when its labels or capacity change, and when its facts have changed so much
/// that it is worth telling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Worker {
    /// Name.
    pub name: WorkerName,
    /// See [`crate::touch::Touch::machine`].
    pub machine: String,
    /// See [`crate::touch::Touch::boot`].
    pub boot: Uuid,
    /// State directory.
    pub directory: String,
    /// Host name.
    pub host: String,
    /// The supervisor's run.
    pub incarnation: Incarnation,
    /// Process id of the agent.
    pub agent_pid: i32,
    /// Process id of the supervisor.
    pub supervisor_pid: i32,
    /// dsbus version.
    pub version: String,
    /// When the supervisor started.
    pub started: Timestamp,
    /// What it can do for a child; see [`Facility`].
    #[serde(default)]
    pub facilities: Vec<Facility>,
    /// What its people say of it; see [`label`].
    #[serde(default)]
    pub labels: Labels,
    /// How much its instances may declare in all.
    #[serde(default)]
    pub capacity: Capacity,
    /// The public key that secrets for it are sealed to (X25519, `X...`); none of a worker of an
    /// older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<String>,
    /// What its machine is, has left, and is busy with.
    #[serde(default)]
    pub facts: Facts,
    /// What its owner allows there, as far as it decides where instances are placed. `None` where
    /// everything is allowed, and the worker may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyFacts>,
    /// What it does not run of what is written for it, and why, for people: who signed it is none of
    /// those in its file of signers, or that file cannot be used. `None` where it refuses nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuses: Option<String>,
    /// It was told to stop, and waits until its instances are moved away; a later run of it takes
    /// instances again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// It was told to stop: it takes no new instances.
    #[serde(default)]
    pub stopping: bool,
}

impl Worker {
    /// The digest of its policy; empty where it tells none.
    pub fn policy_digest(&self) -> &str {
        self.policy.as_ref().map_or("", |policy| &policy.digest)
    }

    /// Whether it can do for a child of `spec` what that needs: one facility of those in
    /// [`ProgramSpec::needs`]. A worker that may become nobody else can still run a program as who
    /// it is.
    pub fn has(&self, need: &Facility, spec: &ProgramSpec) -> bool {
        let own =
            || spec.user.is_some() && spec.user == self.policy.as_ref().map(|p| p.user.clone());
        self.facilities.contains(need) || (need == USER && own())
    }
}
