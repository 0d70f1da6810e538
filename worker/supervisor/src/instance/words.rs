//! What is said to an instance, and what it wants done.

use std::sync::Arc;

use dsbus_schema::event::{NoticeFact, ProcessFact, WorkerChange};
use dsbus_schema::ids::Epoch;
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::{Hook, HookPoint, Probe, ProgramSpec, Signal};
use dsbus_schema::state::{Exit, Usage};
use dsbus_schema::status::Status;
use dsbus_schema::worker::Refusal;
use serde::{Deserialize, Serialize};

use super::Placed;

/// What happens to an instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Its placement is new or changed; events under its epoch go on after `seq`.
    Place {
        /// The placement.
        placed: Placed,
        /// Last `seq` under its epoch.
        seq: u64,
    },
    /// It is not placed here any more.
    Unplace {
        /// Nobody has taken its placement away: the bus has lost it, or went back in time, and it is
        /// exclusive.
        lost: bool,
    },
    /// The worker stops: stop the child and start no more.
    Shutdown {
        /// Kill at once where the child is exclusive: the name belongs to another worker.
        fence: bool,
    },
    /// The child that was asked for lives.
    Spawned {
        /// Its process id.
        pid: i32,
    },
    /// It could not be started.
    SpawnFailed {
        /// Why.
        why: String,
    },
    /// It may not be started here: nothing was.
    Refused {
        /// By which policy, and why.
        refusal: Refusal,
    },
    /// The owner changed what is allowed.
    Judged {
        /// Why it may not be started here, if it may not.
        refusal: Option<Refusal>,
    },
    /// It was not started: when its turn came, it was not wanted any longer.
    NotSpawned,
    /// The main process of a `daemon` is another one than the one that was started.
    Adopted {
        /// What it was known as until now.
        pid: i32,
        /// What it is known as from now on.
        main: i32,
    },
    /// A child is reaped, and nothing is left of what it started.
    Ended(End),
    /// The lease it lives by was extended.
    Lease {
        /// Until when.
        until: BootTime,
    },
    /// A hook ended.
    HookEnded {
        /// Which.
        hook: HookId,
        /// How.
        outcome: HookOutcome,
    },
    /// A question was answered.
    Probed {
        /// Of which child.
        pid: i32,
        /// Which question.
        question: Question,
        /// `None` when all is well, else why not.
        trouble: Option<String>,
    },
    /// A child said something by `sd_notify(3)`.
    Notified {
        /// Which child.
        pid: i32,
        /// What.
        word: Word,
    },
    /// The executable file of the child changed, and has been left alone since.
    BinaryChanged,
    /// Time has passed.
    Tick,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Which child.
    pub pid: i32,
    /// Exit code or signal.
    pub exit: Exit,
    /// What it used.
    pub usage: Option<Usage>,
    /// The last line it wrote on standard error.
    pub stderr_line: Option<String>,
    /// The kernel killed it, or something it started, because its memory ran out.
    pub oom: bool,
}

/// A hook that runs: which one, and about which child. A new child's and an old one's may run at the
/// same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookId {
    /// When it runs.
    pub point: HookPoint,
    /// The child, where there is one.
    pub pid: Option<i32>,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookOutcome {
    /// Exit code 0.
    Done,
    /// It could not be run, or ended otherwise.
    Failed {
        /// Why, for people.
        why: String,
        /// How it ended, if it ran.
        exit: Option<Exit>,
    },
    /// It took too long, and was killed.
    TimedOut,
}

/// Which of its two questions a child is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Question {
    /// Is it ready?
    Readiness,
    /// Is it well?
    Liveness,
}

/// What a child says by `sd_notify(3)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// `READY=1`
    Ready,
    /// `WATCHDOG=1`
    Alive,
    /// `WATCHDOG=trigger`
    Unwell,
    /// `STATUS=...`
    Status(String),
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start a child of this spec under this epoch, when its turn comes, and answer with `Spawned`,
    /// `SpawnFailed` or `NotSpawned`.
    Spawn {
        /// The spec.
        spec: Arc<ProgramSpec>,
        /// The epoch.
        epoch: Epoch,
    },
    /// Signal a child.
    Signal {
        /// The child.
        pid: i32,
        /// The signal.
        signal: Signal,
        /// Its whole process group, not only the child.
        group: bool,
    },
    /// SIGKILL a child, and everything it started.
    Kill {
        /// The child.
        pid: i32,
    },
    /// Run a hook, and answer with `HookEnded`.
    Hook {
        /// Which.
        id: HookId,
        /// What to run.
        hook: Box<Hook>,
        /// As whom, and where.
        spec: Arc<ProgramSpec>,
        /// How the child that it is about ended, after it has.
        exit: Option<Exit>,
    },
    /// Kill a hook that runs; it is answered for with `HookEnded`.
    KillHook {
        /// Which.
        id: HookId,
    },
    /// Ask a child, and answer with `Probed`.
    Ask {
        /// The child.
        pid: i32,
        /// Which question.
        question: Question,
        /// How to ask.
        probe: Box<Probe>,
        /// As whom, and where.
        spec: Arc<ProgramSpec>,
    },
    /// What is declared of a living child changed in keys that act from outside.
    Change {
        /// The child.
        pid: i32,
        /// The spec it lives under from now on.
        spec: Arc<ProgramSpec>,
    },
    /// Tell how the instance stands, and the event when the state changed.
    Report {
        /// How it stands.
        status: Box<Status>,
        /// The event.
        fact: Option<Box<ProcessFact>>,
    },
    /// Tell something that is no change of state.
    Notice(Box<NoticeFact>),
    /// The instance was taken away and nothing of it is left: forget it.
    Gone {
        /// The epoch it had.
        epoch: Epoch,
    },
    /// Tell something about the worker.
    Worker {
        /// What.
        change: WorkerChange,
        /// Why.
        reason: String,
    },
    /// End the worker: the one program that it is for has ended for good.
    EndWorker {
        /// The exit code that it ends with.
        code: u8,
        /// Why.
        reason: String,
    },
}

/// Where the output of an instance can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Files {
    /// File of standard output, if it goes to one.
    pub stdout: Option<String>,
    /// File of standard error, if it goes to one.
    pub stderr: Option<String>,
}
