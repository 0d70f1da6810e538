//! `dsbus worker|scheduler|gateway start|stop|restart|status`: a daemon where nothing like systemd is.

use clap::{Args as Group, Subcommand};
use dsbus_schema::lenient::Span;

use super::Worker;

/// A daemon in the foreground, or what to do about one in the background.
#[derive(Debug, Group)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Daemon<O: Group, A: Subcommand = DaemonAct<O>> {
    #[command(subcommand)]
    pub(crate) act: Option<A>,
    #[command(flatten)]
    pub(crate) options: O,
}

/// What is done about a daemon in the background.
#[derive(Debug, Subcommand)]
pub(crate) enum DaemonAct<O: Group> {
    /// Start it in the background, and wait until it is ready
    Start(Background<O>),
    /// Stop it, and wait until it has ended
    Stop(Background<O>),
    /// Stop it, where it runs, and start it again with these options
    Restart(Background<O>),
    /// Say whether it runs: exits 0 when it does, 3 when it does not
    Status(Same<O>),
}

/// What is done about a worker in the background.
#[derive(Debug, Subcommand)]
pub(crate) enum OfWorker {
    #[command(flatten)]
    Daemon(DaemonAct<Worker>),
    /// Let it read its file again, and become the version of dsbus that lies at its path by now, without
    /// touching a child; waits until that is so, or says why it is not
    Reload(Background<Worker>),
}

/// The options that it runs with, and how long to wait for it.
#[derive(Debug, Group)]
pub(crate) struct Background<O: Group> {
    #[command(flatten)]
    pub(crate) options: O,
    /// How long to wait until it is so
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) timeout: Span,
}

/// The options that it was started with: those that say where it is.
#[derive(Debug, Group)]
pub(crate) struct Same<O: Group> {
    #[command(flatten)]
    pub(crate) options: O,
}

/// Where a daemon keeps what is about its process.
#[derive(Debug, Clone, Default, Group)]
pub(crate) struct Own {
    /// Write its process id there while it runs
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<std::path::PathBuf>,
    /// Append what it logs to this file, and not to standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) logfile: Option<std::path::PathBuf>,
}
