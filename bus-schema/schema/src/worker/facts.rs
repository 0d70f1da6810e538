//! What a worker's machine is, has left, and is busy with.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::moment::Timestamp;

/// How much the instances of a worker may declare in all. Each part is 0 where it is not known: by a
/// worker that is older than this record.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Capacity {
    /// Processors, in cores.
    pub cpu: f64,
    /// Memory, in bytes.
    pub memory: u64,
}

/// What was measured on a worker's machine; for people, and for the choice between workers that
/// could all take an instance. Values that could not be read are 0 or empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Facts {
    /// When it was measured, by that machine's clock; `None` when it never was.
    pub at: Option<Timestamp>,
    /// How busy all processors together were since the time before, 0 to 100. Time that a virtual
    /// machine waited for its host counts as busy.
    pub cpu_percent: f64,
    /// Load averages of 1, 5 and 15 minutes (`/proc/loadavg`).
    pub load: [f64; 3],
    /// Processors of the machine that are online.
    pub cores: u32,
    /// Memory of the machine, in bytes (`MemTotal`).
    pub memory_total: u64,
    /// Memory that new processes could have without swapping, in bytes (`MemAvailable`).
    pub memory_available: u64,
    /// Swap space, in bytes (`SwapTotal`).
    pub swap_total: u64,
    /// Swap space that is not used, in bytes (`SwapFree`).
    pub swap_free: u64,
    /// The file systems that matter to the worker: of its state directory, and of `/` where that is
    /// another one.
    pub disks: Vec<Disk>,
    /// Since the machine was started, in seconds.
    pub uptime_seconds: u64,
    /// Release of the kernel (`uname -r`).
    pub kernel: String,
    /// Name of the distribution (`PRETTY_NAME` of os-release(5)).
    pub os: String,
    /// Hardware architecture (`uname -m`).
    pub arch: String,
    /// Addresses of its network interfaces, without loopback and link-local ones.
    pub addresses: Vec<IpAddr>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Disk {
    /// A directory in it.
    pub path: String,
    /// Size, in bytes.
    pub total: u64,
    /// What users other than root can still write, in bytes.
    pub available: u64,
}
