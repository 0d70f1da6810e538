//! One process of the fleet: started so that it ends with this one, its output in a log.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use dsbus_schema::ids::WorkerName;
use dsbus_schema::state::Exit;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::failure::Failure;

/// How many lines of its log are shown when it ends unexpectedly.
const TAIL_LINES: usize = 12;

/// What a process is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// The bus.
    Server,
    /// A scheduler, by its id.
    Scheduler(String),
    /// A worker's supervisor; its agent is a child of it.
    Worker(WorkerName),
    /// The web page.
    Gateway,
}

impl Role {
    /// Name of its log.
    pub(super) fn log_name(&self) -> String {
        match self {
            Role::Server => "nats-server".to_owned(),
            Role::Scheduler(id) => format!("scheduler-{id}"),
            Role::Worker(name) => format!("worker-{name}"),
            Role::Gateway => "gateway".to_owned(),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Role::Server => f.write_str("nats-server"),
            Role::Scheduler(id) => write!(f, "scheduler {id}"),
            Role::Worker(name) => write!(f, "worker {name}"),
            Role::Gateway => f.write_str("the gateway"),
        }
    }
}

/// A process of the fleet, and how to start it again.
#[derive(Debug)]
pub(super) struct Member {
    /// What it is.
    pub(super) role: Role,
    /// Its command line.
    pub(super) command: Vec<OsString>,
    /// What it has in its environment beside ours: not everybody can see that.
    environment: Vec<(String, String)>,
    /// This binary, as it was found at the start: it may be built anew meanwhile.
    binary: PathBuf,
    /// Where its output goes.
    pub(super) log: PathBuf,
    child: Option<Child>,
    /// When it is to be started again.
    pub(super) back_at: Option<Instant>,
}

impl Member {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(
        role: Role,
        command: Vec<OsString>,
        environment: Vec<(String, String)>,
        binary: PathBuf,
        log: PathBuf,
    ) -> Result<Member, Failure> {
        let mut member =
            Member { role, command, environment, binary, log, child: None, back_at: None };
        member.start_again()?;
        Ok(member)
    }

    /// Starts it once more, with the same command line and log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start_again(&mut self) -> Result<(), Failure> {
        self.back_at = None;
        let out = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.binary);
        for variable in dsbus_starter::VARIABLES {
            command.env_remove(variable);
        }
        command
            .args(["tied", "--parent", &std::process::id().to_string(), "--"])
            .args(&self.command)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            // Ctrl-C is for this process: it stops the others in order.
            .process_group(0)
            .kill_on_drop(true);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Its process id, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// How it ended, the first time this is asked after it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(status)
    }

    /// Waits until it has ended.
    pub(super) async fn end(&mut self) {
        if let Some(child) = &mut self.child {
            // A child that cannot be waited for has been waited for.
            let _ = child.wait().await;
            self.child = None;
        }
    }

    /// Sends it a signal, while it runs.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended just now, which is what a signal is for here.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// The last lines of its log, indented.
    pub(super) fn tail(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        if last.is_empty() {
            return "    (it is empty)".to_owned();
        }
        let indented: Vec<String> = last.iter().map(|line| format!("    {line}")).collect();
        indented.join("\n")
    }
}

/// `exit code 1`, `SIGKILL`.
pub(super) fn describe(status: ExitStatus) -> String {
    Exit { code: status.code(), signal: status.signal(), core: status.core_dumped() }.to_string()
}
