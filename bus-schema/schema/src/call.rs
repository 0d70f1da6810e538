//! Calls to a worker: `dsbus.NS.worker.<worker>.<verb>`.

mod hands;
mod inventory;
mod log;
mod usage;
mod window;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, InstanceId};

pub use hands::{STDIN_BYTES_MAX, STDIN_PAUSE_MAX, SignalAsk, SignalSent, StdinAsk, StdinTaken};
pub use inventory::{Hold, Holding, INVENTORY_BYTES_MAX, Inventory, InventoryAsk};
pub use log::{
    Channel, LOG_BULK_BYTES_MAX, LOG_BYTES_MAX, LOG_LINES_MAX, LOG_WAIT_MAX, LogAsk, LogFrom,
    LogPart, LogPlace, output_bytes_max,
};

pub use usage::{USAGE_INSTANCES_MAX, UsageAsk, UsageOf, Use, Using};
pub use window::{LogWindow, WindowAsk, WindowFrom};

/// A verb of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerVerb {
    /// Empty -> [`Pong`]. Answered only while the supervisor answers the agent.
    Ping,
    /// [`LogAsk`] -> [`LogPart`], at once.
    Log,
    /// The same over a connection of its own, in larger parts; the answer may wait for output.
    /// Answered only for a while after a [`WorkerVerb::Log`] that meant to go on: nobody answers
    /// until then, and while nobody follows.
    LogBulk,
    /// [`WindowAsk`] -> [`LogWindow`], at once.
    LogWindow,
    /// [`Clear`] -> [`Cleared`], when the logs are empty.
    Clear,
    /// [`UsageAsk`] -> [`Using`], measured at once.
    Usage,
    /// [`SignalAsk`] -> [`SignalSent`], when it is sent.
    Signal,
    /// [`StdinAsk`] -> [`StdinTaken`], at once.
    Stdin,
    /// [`InventoryAsk`] -> [`Inventory`], at once. It holds environments: only schedulers may ask.
    Inventory,
}

impl WorkerVerb {
    /// All of them.
    pub const ALL: [WorkerVerb; 9] = [
        WorkerVerb::Ping,
        WorkerVerb::Log,
        WorkerVerb::LogBulk,
        WorkerVerb::LogWindow,
        WorkerVerb::Clear,
        WorkerVerb::Usage,
        WorkerVerb::Signal,
        WorkerVerb::Stdin,
        WorkerVerb::Inventory,
    ];

    /// Those that are answered whenever the worker is on the bus.
    pub const ALWAYS: [WorkerVerb; 8] = [
        WorkerVerb::Ping,
        WorkerVerb::Log,
        WorkerVerb::LogWindow,
        WorkerVerb::Clear,
        WorkerVerb::Usage,
        WorkerVerb::Signal,
        WorkerVerb::Stdin,
        WorkerVerb::Inventory,
    ];

    /// The token in a subject.
    pub fn name(self) -> &'static str {
        match self {
            WorkerVerb::Ping => "ping",
            WorkerVerb::Log => "log",
            WorkerVerb::LogBulk => "log-bulk",
            WorkerVerb::LogWindow => "log-window",
            WorkerVerb::Clear => "clear",
            WorkerVerb::Usage => "usage",
            WorkerVerb::Signal => "signal",
            WorkerVerb::Stdin => "stdin",
            WorkerVerb::Inventory => "inventory",
        }
    }
}

/// A worker's answer to a ping: who lives under this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pong {
    /// Its run.
    pub incarnation: Incarnation,
    /// Host name.
    pub host: String,
    /// See [`crate::touch::Touch::machine`].
    pub machine: String,
    /// State directory.
    pub directory: String,
    /// Process id of the supervisor.
    pub supervisor_pid: i32,
}

/// Ask to truncate the log files of an instance, and to remove its rotated ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clear {
    /// Whose.
    pub name: InstanceId,
    /// Nothing now: its directory on the worker, with the logs in it, is removed when it is taken away from
    /// there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget: bool,
}

/// The log files are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cleared {
    /// Whose.
    pub name: InstanceId,
}
