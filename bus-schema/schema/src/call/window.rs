//! Reading so many bytes of a log file at an offset, as Supervisor's clients do: of the file that is
//! written now, not of those that were rotated away.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Channel, LogPart};
use crate::ids::InstanceId;

/// Ask for a part of the log file that is written now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WindowAsk {
    /// Whose; nobody's is the worker's own log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<InstanceId>,
    /// Which.
    #[serde(default)]
    pub channel: Channel,
    /// From where.
    pub from: WindowFrom,
    /// How many bytes at most; more than [`super::LOG_BYTES_MAX`] are asked for in several asks.
    pub bytes: u64,
}

/// Where a window begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowFrom {
    /// At this offset of the file, in bytes.
    Offset(u64),
    /// So many bytes before its end; at its begin where it is shorter.
    Last(u64),
}

/// A part of the log file that is written now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogWindow {
    /// Offset of its first byte in the file; the size of the file where it begins beyond its end.
    pub offset: u64,
    /// How long the file was when it was read, in bytes.
    pub size: u64,
    /// The bytes; `next` is where a call `log` goes on, and `more` says that bytes that were asked for are
    /// missing.
    pub part: LogPart,
}
