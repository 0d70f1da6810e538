//! Command lines of verbs that show what runs and what it says.

use clap::Args as Group;
use dsbus_schema::ids::{Target, WorkerName};

use super::Format;

/// `dsbus status`.
#[derive(Debug, Group)]
pub(crate) struct Status {
    /// Programs or instances; everything without one
    #[arg(value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    /// Go on, and show every change as it happens; until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How to print the answer; with -w, json is one row a line
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus workers`.
#[derive(Debug, Group)]
pub(crate) struct Workers {
    /// Everything about these workers; a line for each of all without one
    #[arg(value_name = "WORKER")]
    pub(crate) names: Vec<WorkerName>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus logs`.
#[derive(Debug, Group)]
pub(crate) struct Logs {
    /// Programs or instances
    #[arg(required_unless_present = "daemon", value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
    /// What this worker itself says, rather than its instances
    #[arg(long, value_name = "WORKER", conflicts_with_all = ["names", "stderr"])]
    pub(crate) daemon: Option<WorkerName>,
    /// How many lines to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) lines: u32,
    /// Go on with what comes, also after a move to another worker
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Standard error instead of standard output
    #[arg(long)]
    pub(crate) stderr: bool,
}

/// `dsbus clear`.
#[derive(Debug, Group)]
pub(crate) struct Clear {
    /// Programs or instances; all is every program
    #[arg(required = true, value_name = "NAME", value_parser = Target::parse)]
    pub(crate) names: Vec<Target>,
}
