//! Calls to a worker: `dsbus.NS.worker.<worker>.<verb>`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, InstanceId};

/// Most bytes of log in one answer.
pub const LOG_BYTES_MAX: usize = 256 * 1024;
/// Most lines of log in one answer.
pub const LOG_LINES_MAX: u32 = 100_000;

/// A verb of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerVerb {
    /// Empty -> [`Pong`]. Answered only while the supervisor answers the agent.
    Ping,
    /// [`LogAsk`] -> [`LogPart`].
    Log,
    /// [`Clear`] -> [`Cleared`], when the logs are empty.
    Clear,
}

impl WorkerVerb {
    /// All of them.
    pub const ALL: [WorkerVerb; 3] = [WorkerVerb::Ping, WorkerVerb::Log, WorkerVerb::Clear];

    /// The token in a subject.
    pub fn name(self) -> &'static str {
        match self {
            WorkerVerb::Ping => "ping",
            WorkerVerb::Log => "log",
            WorkerVerb::Clear => "clear",
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

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

impl Channel {
    /// `stdout` or `stderr`.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
        }
    }
}

/// Where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFrom {
    /// The last so many lines, of at most [`LOG_BYTES_MAX`] bytes.
    Last(u32),
    /// From this place on, as an earlier answer gave it.
    Place(LogPlace),
}

/// A place in a log. It names the file by inode, so that a reader follows it over a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogPlace {
    /// Inode of the file.
    pub file: u64,
    /// Offset in bytes.
    pub offset: u64,
}

/// Ask for output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogAsk {
    /// Whose.
    pub name: InstanceId,
    /// Which.
    #[serde(default)]
    pub channel: Channel,
    /// From where.
    pub from: LogFrom,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogPart {
    /// The text; bytes that are not UTF-8 are shown as U+FFFD.
    pub text: String,
    /// Where to go on.
    pub next: LogPlace,
    /// More is there already.
    pub more: bool,
    /// The beginning of what was asked for is left out: the place was rotated away, or the last lines
    /// are longer than an answer holds. This begins at the oldest that is left or fits.
    #[serde(default)]
    pub skipped: bool,
}

/// Ask to truncate the log files of an instance, and to remove its rotated ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clear {
    /// Whose.
    pub name: InstanceId,
}

/// The log files are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cleared {
    /// Whose.
    pub name: InstanceId,
}
