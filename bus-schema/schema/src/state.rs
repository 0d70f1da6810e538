//! The states of an instance and of a worker.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// State of an instance. Names and numbers are Supervisor's (its manual, "Process States"), and
/// PENDING.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Stopped by a request, or never started.
    Stopped,
    /// No worker can take it.
    Pending,
    /// Started, and alive for less than `startsecs`.
    Starting,
    /// Alive.
    Running,
    /// A start failed; the next one waits.
    Backoff,
    /// Asked to stop.
    Stopping,
    /// Ended by itself, and is not started again.
    Exited,
    /// Given up.
    Fatal,
    /// Its worker is lost, and no other can take it.
    Unknown,
}

impl State {
    /// Supervisor's number.
    pub fn code(self) -> u32 {
        match self {
            State::Stopped => 0,
            State::Pending => 5,
            State::Starting => 10,
            State::Running => 20,
            State::Backoff => 30,
            State::Stopping => 40,
            State::Exited => 100,
            State::Fatal => 200,
            State::Unknown => 1000,
        }
    }

    /// Whether a child may be alive in this state.
    pub fn may_have_child(self) -> bool {
        match self {
            State::Starting | State::Running | State::Stopping | State::Unknown => true,
            State::Stopped | State::Pending | State::Backoff | State::Exited | State::Fatal => {
                false
            }
        }
    }

    /// The name, in capitals.
    pub fn name(self) -> &'static str {
        match self {
            State::Stopped => "STOPPED",
            State::Pending => "PENDING",
            State::Starting => "STARTING",
            State::Running => "RUNNING",
            State::Backoff => "BACKOFF",
            State::Stopping => "STOPPING",
            State::Exited => "EXITED",
            State::Fatal => "FATAL",
            State::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a child ended: exactly one of `code` and `signal` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Exit {
    /// Exit code.
    pub code: Option<i32>,
    /// Number of the signal that ended it.
    pub signal: Option<i32>,
    /// It left a core dump.
    #[serde(default)]
    pub core: bool,
}

impl Exit {
    /// It called exit.
    pub fn code(code: i32) -> Exit {
        Exit { code: Some(code), signal: None, core: false }
    }

    /// A signal ended it.
    pub fn signal(signal: i32) -> Exit {
        Exit { code: None, signal: Some(signal), core: false }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(number)) => match crate::program::Signal::from_number(number) {
                Some(signal) => write!(f, "SIG{signal}"),
                None => write!(f, "signal {number}"),
            },
            (None, None) => f.write_str("unknown exit"),
        }?;
        if self.core { f.write_str(" (core dumped)") } else { Ok(()) }
    }
}

/// What a child used, with all its descendants that it waited for (wait4(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Processor time, user and system, in milliseconds.
    pub cpu_ms: u64,
    /// Most memory that it held at once, in bytes; 0 when that is not known. Of all its processes
    /// together, with what the kernel keeps of files for them, where they have a cgroup that counts
    /// memory; else of the greatest single process (resident), which is not known while that was
    /// no greater than the worker itself.
    pub memory_peak: u64,
}

/// State of a worker, as schedulers see it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Takes instances.
    Ready,
    /// Takes no new ones.
    Cordoned,
    /// Gives its instances away.
    Draining,
    /// Its touch is overdue; it is being asked.
    Suspect,
    /// Its touch expired and it did not answer.
    Lost,
    /// It was told to stop.
    Stopping,
    /// It stopped because it was told to, and is not back.
    Stopped,
}

impl WorkerState {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            WorkerState::Ready => "ready",
            WorkerState::Cordoned => "cordoned",
            WorkerState::Draining => "draining",
            WorkerState::Suspect => "suspect",
            WorkerState::Lost => "lost",
            WorkerState::Stopping => "stopping",
            WorkerState::Stopped => "stopped",
        }
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
