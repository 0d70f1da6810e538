//! `dsbus dev`.

use std::path::PathBuf;

use clap::{Args as Group, Subcommand};
use dsbus_gateway::Listen;
use dsbus_schema::ids::WorkerName;

/// `dsbus dev`. With `--nats` it uses that bus and starts no server.
#[derive(Debug, Group)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Dev {
    #[command(subcommand)]
    pub(crate) verb: Option<DevVerb>,
    /// How many workers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) workers: u16,
    /// How many schedulers
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub(crate) schedulers: u16,
    /// Port of the bus; a free one unless set
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Keep everything in this directory: a second start goes on where the first one ended
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where the web page is: 127.0.0.1:9001; a free port of this machine unless set
    #[arg(long, value_name = "ADDRESS", value_parser = Listen::parse, conflicts_with = "no_gateway")]
    pub(crate) gateway: Option<Listen>,
    /// Without the web page
    #[arg(long)]
    pub(crate) no_gateway: bool,
    /// TOML files to apply
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// What one does to a fleet of `dsbus dev`.
#[derive(Debug, Subcommand)]
pub(crate) enum DevVerb {
    /// kill -9 both processes of a worker on this machine, and see its instances move
    Kill {
        /// The worker
        worker: WorkerName,
    },
}
