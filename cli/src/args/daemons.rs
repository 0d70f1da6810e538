//! Command lines of the daemons, and of what they start.

use std::path::PathBuf;

use clap::Args as Group;
use dsbus_schema::ids::{UserName, WorkerName};
use dsbus_schema::worker::label;

use super::Own;

/// `dsbus scheduler`.
#[derive(Debug, Group)]
pub(crate) struct Scheduler {
    /// Name of this scheduler among the others; made up unless set
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<UserName>,
    /// Copies of what is stored; 3 where the NATS cluster has three nodes, else 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) replicas: Option<u8>,
    /// Public `NKeys` of all schedulers of this fleet, one a line: placements that none of them signed
    /// are written over. Read again when it changes. Else the file signers beside the dsbus.toml
    /// that names the bus, where there is one; without it, any signature counts
    #[arg(long, value_name = "FILE")]
    pub(crate) signers: Option<PathBuf>,
    /// Who may command what; read again when it changes. Else grants.toml beside the dsbus.toml that
    /// names the bus, where there is one; without it, everybody may do everything
    #[arg(long, value_name = "FILE")]
    pub(crate) grants: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) own: Own,
}

/// `dsbus worker`.
#[derive(Debug, Group)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(crate) struct Worker {
    /// Name of this worker; unless set that of the one that ran in --dir before, else the host's
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<WorkerName>,
    /// State directory; /var/lib/dsbus/NAME for root, else ~/.local/state/dsbus/NAME
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// What programs may choose this worker by, such as zone=eu; several times for several labels.
    /// Wins over the label of that name in the file
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label::parse)]
    pub(crate) labels: Vec<(String, String)>,
    /// Told to stop by SIGTERM, first let the fleet move everything away that runs here, for
    /// `drain_timeout` of the file at most; a second SIGTERM stops at once
    #[arg(long)]
    pub(crate) drain: bool,
    /// The worker's own configuration, worker.toml: log, pidfile, user, limits, what all its children
    /// get. Else DIR/worker.toml with --dir, else /etc/dsbus/worker.toml, where there is one. Options
    /// given here win over it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Run also where the bus is another machine's and has no TLS, or where nobody's signature is
    /// asked for: whoever can write to the bus can then run anything here
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Stay in the foreground, whatever the file says
    #[arg(short, long, overrides_with = "nodaemon")]
    pub(crate) nodaemon: bool,
    /// Only check the configuration, and print what a worker would use
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Take the place of the worker that this process was until now, and left that descriptor
    #[arg(long, value_name = "FD", hide = true)]
    pub(crate) take_over: Option<i32>,
    /// Only say whether it could do that
    #[arg(long, value_name = "FD", hide = true)]
    pub(crate) try_take_over: Option<i32>,
    /// Why another version that had taken over gave the place back
    #[arg(long, value_name = "WHY", hide = true)]
    pub(crate) given_back: Option<String>,
}

/// `dsbus agent`.
#[derive(Debug, Group)]
pub(crate) struct Agent {
    /// File descriptor of the socket to the supervisor
    #[arg(long)]
    pub(crate) fd: i32,
    /// File of the schedulers' public keys
    #[arg(long, value_name = "FILE")]
    pub(crate) signers: Option<PathBuf>,
    /// What to log; `DSBUS_LOG` and `RUST_LOG` win over it
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// `dsbus tied`.
#[derive(Debug, Group)]
pub(crate) struct Tied {
    /// Process id of the starter
    #[arg(long)]
    pub(crate) parent: i32,
    /// What to run
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}
