//! Children, as the agent is told of them.

use dsbus_schema::ids::{Epoch, InstanceId};
use serde::{Deserialize, Serialize};

/// A child, as the second enforcer of its deadline needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Instance.
    pub name: InstanceId,
    /// Epoch.
    pub epoch: Epoch,
    /// Process id; its process group, too, unless `group` names another one.
    pub pid: i32,
    /// Its process group, where it does not lead it: the main process of a daemon mostly does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<i32>,
    /// Field 22 of `/proc/<pid>/stat`: with the pid it names a process for ever.
    pub start_time: u64,
    /// The lease it must not outlive, in seconds; `None` when it is not exclusive.
    pub lease: Option<u64>,
    /// Directory of the cgroup that holds it and everything it started, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
}
