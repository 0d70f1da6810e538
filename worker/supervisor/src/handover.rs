//! What a worker hands to the next version of itself, which takes its place in the same process
//! (`execve`): everything that it knows, as JSON in a file without a name, and the numbers of the
//! descriptors that stay open. Children do not notice: they keep their parent, and their pipes.
//!
//! Compatibility, of one minor version, as on the bus: a new field has a default, what is not known
//! is ignored, and nothing changes its meaning. What cannot be said so counts [`FORMAT`] up, and the
//! one before is still read. `golden/` keeps what each format looked like; its files are never edited.

mod back;
pub(crate) mod bytes;
mod descriptors;
mod document;
mod itself;
pub(crate) mod specs;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use dsbus_schema::ids::{Epoch, FleetName, Incarnation, InstanceId, SecretName, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent_link::AgentLeft;
use crate::binaries::BinariesLeft;
use crate::cgroup::CgroupRoot;
use crate::children::ChildrenLeft;
use crate::driver::{NotifyLeft, Orders, Wanted};
use crate::errands::ErrandLeft;
use crate::output::CompressorsLeft;
use crate::questions::Questions;
use crate::secrets::StandingLeft;
use crate::sockets::SocketsLeft;
use crate::streams::StreamLeft;
use crate::table::Table;

pub(crate) use back::close_way_back;
pub use back::{give_back, keep_way_back};
pub(crate) use descriptors::{Passing, Taking, arm_alarm, disarm_alarm, go_on, keep_open};
pub(crate) use document::write;
pub use itself::{Itself, owned, takes_over};
pub(crate) use itself::{Trial, document};

/// The present format.
pub(crate) const FORMAT: u32 = 1;
/// The oldest one that is read.
pub(crate) const FORMAT_MIN: u32 = 1;

/// What is handed over, taken apart.
#[derive(Debug)]
pub struct Handover {
    /// Version of the worker that hands over.
    pub(crate) version: String,
    pub(crate) left: Left,
    /// The file that it was read from.
    pub(crate) file: RawFd,
}

impl Handover {
    /// Reads what was handed over as the descriptor `number`. With `open` it is checked that all that
    /// is handed on is there.
    ///
    /// # Errors
    /// Why it cannot be used, for people.
    pub fn read(number: RawFd, open: bool) -> Result<Handover, String> {
        document::read(number, open)
    }

    /// Version of the worker that hands over.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What the owner of the worker handed over: see [`crate::Owner::hand_over`].
    pub fn owner(&self) -> &Value {
        &self.left.owner
    }

    /// Whether the worker that hands over is another one than this.
    ///
    /// # Errors
    /// What differs, for people.
    pub fn is_of(
        &self,
        fleet: &FleetName,
        worker: &WorkerName,
        directory: &Path,
    ) -> Result<(), String> {
        let Left { fleet: their_fleet, worker: their_worker, directory: theirs, .. } = &self.left;
        let differs = |what: &str, old: &dyn std::fmt::Display, new: &dyn std::fmt::Display| {
            Err(format!(
                "its {what} is {new}, and that of the worker that runs is {old}: this takes a restart"
            ))
        };
        let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        if their_fleet != fleet {
            return differs("fleet", their_fleet, fleet);
        }
        if their_worker != worker {
            return differs("name", their_worker, worker);
        }
        if *theirs != directory {
            return differs("directory", &theirs.display(), &directory.display());
        }
        Ok(())
    }
}

/// All that is handed over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) fleet: FleetName,
    pub(crate) worker: WorkerName,
    pub(crate) directory: PathBuf,
    pub(crate) incarnation: Incarnation,
    /// When it started, on the machine's clock and for people.
    pub(crate) started: (BootTime, Timestamp),
    /// When it handed over.
    pub(crate) at: BootTime,
    /// All descriptors that stay open.
    pub(crate) descriptors: Vec<RawFd>,
    /// The lock of the state directory.
    pub(crate) lock: RawFd,
    /// The executable of the worker that hands over.
    pub(crate) executable: RawFd,
    pub(crate) owner: Value,
    pub(crate) agent: AgentLeft,
    pub(crate) cgroups: Option<CgroupRoot>,
    pub(crate) table: Table,
    pub(crate) children: ChildrenLeft,
    pub(crate) errands: Vec<ErrandLeft>,
    pub(crate) questions: Questions,
    pub(crate) streams: Vec<StreamLeft>,
    pub(crate) notify: Vec<NotifyLeft>,
    pub(crate) compressors: CompressorsLeft,
    pub(crate) sockets: SocketsLeft,
    pub(crate) secrets: BTreeMap<SecretName, StandingLeft>,
    pub(crate) binaries: BinariesLeft,
    pub(crate) orders: Orders,
    pub(crate) wanted: VecDeque<Wanted>,
    pub(crate) held: VecDeque<Wanted>,
    pub(crate) forgotten: BTreeMap<InstanceId, Epoch>,
    pub(crate) starts: u64,
    pub(crate) last_source: u64,
    /// Instances of which only an earlier run of the worker has told.
    pub(crate) earlier: Vec<InstanceId>,
}
