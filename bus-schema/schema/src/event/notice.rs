//! Facts about an instance that are no change of its state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Channel;
use crate::ids::{Epoch, InstanceId, ProgramId, ProgramName, UserName, WorkerName};
use crate::program::{HookPoint, Signal};
use crate::state::Exit;

/// Most bytes of output in one event; more is several events.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// What happened to an instance beside its changes of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Notice {
    /// A hook ended well.
    HookDone,
    /// A hook ended badly.
    HookFailed,
    /// A hook took too long, and was killed.
    HookTimedOut,
    /// A probe was answered badly.
    ProbeFailed,
    /// The kernel killed a process of it because its memory ran out.
    OomKill,
    /// It was asked by a signal to read its configuration anew.
    Reloaded,
    /// A reload began that starts a new child before it stops the old one.
    ReloadStarted,
    /// The new child of a reload is RUNNING, and the old one is being stopped.
    ReloadSwitched,
    /// The new child of a reload failed; the old one stays.
    ReloadFailed,
    /// Its executable file changed.
    BinaryChanged,
    /// Its child was older than `max_age`; it is stopped, and another one started.
    Recycled,
    /// Its output cannot be written; what is lost is counted.
    OutputLost,
    /// Its output is written again.
    OutputWrittenAgain,
    /// A process of it does not die of SIGKILL.
    DoesNotDie,
    /// A person sent a signal to it.
    Signalled,
    /// A person closed its standard input.
    StdinClosed,
}

impl Notice {
    /// The TYPE: the last token of the subject.
    pub fn type_name(self) -> &'static str {
        match self {
            Notice::HookDone => "HOOK_DONE",
            Notice::HookFailed => "HOOK_FAILED",
            Notice::HookTimedOut => "HOOK_TIMED_OUT",
            Notice::ProbeFailed => "PROBE_FAILED",
            Notice::OomKill => "OOM_KILL",
            Notice::Reloaded => "RELOADED",
            Notice::ReloadStarted => "RELOAD_STARTED",
            Notice::ReloadSwitched => "RELOAD_SWITCHED",
            Notice::ReloadFailed => "RELOAD_FAILED",
            Notice::BinaryChanged => "BINARY_CHANGED",
            Notice::Recycled => "RECYCLED",
            Notice::OutputLost => "OUTPUT_LOST",
            Notice::OutputWrittenAgain => "OUTPUT_WRITTEN_AGAIN",
            Notice::DoesNotDie => "DOES_NOT_DIE",
            Notice::Signalled => "SIGNALLED",
            Notice::StdinClosed => "STDIN_CLOSED",
        }
    }
}

/// Something that happened to an instance, and is no change of its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticeFact {
    /// The instance.
    pub name: InstanceId,
    /// Identity of the program.
    pub id: ProgramId,
    /// Where.
    pub worker: WorkerName,
    /// Epoch of the placement.
    pub epoch: Epoch,
    /// What.
    pub change: Notice,
    /// The process this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Which hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookPoint>,
    /// How the process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Which signal, for `SIGNALLED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Who did it, as they named themselves, where a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserName>,
    /// Why, for people.
    pub reason: String,
}

/// How output became an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// It was logged, and `*_events_enabled` is on.
    Log,
    /// It stood between the marks of capture mode.
    Communication,
}

/// Something that a child said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputFact {
    /// The instance.
    pub name: InstanceId,
    /// Identity of the program.
    pub id: ProgramId,
    /// The group of the program, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ProgramName>,
    /// Name of the copy, where the program gives its copies names: `web_00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Where.
    pub worker: WorkerName,
    /// Epoch of the placement.
    pub epoch: Epoch,
    /// The child.
    pub pid: i32,
    /// Where it said it.
    pub channel: Channel,
    /// How this became an event.
    pub output: OutputKind,
    /// What it said; bytes that are not UTF-8 are shown as U+FFFD.
    pub text: String,
}

impl OutputFact {
    /// The TYPE: the last token of the subject.
    pub fn type_name(&self) -> &'static str {
        match (self.output, self.channel) {
            (OutputKind::Log, Channel::Stdout) => "LOG_STDOUT",
            (OutputKind::Log, Channel::Stderr) => "LOG_STDERR",
            (OutputKind::Communication, Channel::Stdout) => "COMMUNICATION_STDOUT",
            (OutputKind::Communication, Channel::Stderr) => "COMMUNICATION_STDERR",
        }
    }
}
