//! The command line of `dsbus healthy`.

use clap::{Args as Group, Subcommand};
use dsbus_schema::alert::AlertName;
use dsbus_schema::ids::{UserName, WorkerName};

pub(super) const HEALTHY: &str = "\
For the health checks of containers, which have no shell: a line says how it is,
and the exit code is 0 when it is well, and no other time. A worker, scheduler or alert
is asked about with its own key, in its own folder:

  HEALTHCHECK CMD [\"dsbus\", \"healthy\", \"worker\", \"w1\"]

Without the bus a worker is not well, and yet its children live on: do not let
anything restart it for that.";

/// `dsbus healthy`.
#[derive(Debug, Group)]
pub(crate) struct Healthy {
    #[command(subcommand)]
    pub(crate) who: Probe,
}

/// Who is asked about.
#[derive(Debug, Subcommand)]
pub(crate) enum Probe {
    /// Whether the bus holds a live lease of this worker
    Worker {
        /// Its name
        name: WorkerName,
    },
    /// Whether the bus holds a live lease of this scheduler
    Scheduler {
        /// Its `--id`
        id: UserName,
    },
    /// Whether the bus holds a live lease of this set of rules: of whichever process works at it
    Alert {
        /// Its `--name`
        #[arg(default_value = "alert", value_parser = super::alert::name)]
        name: AlertName,
    },
    /// Whether GET of this address is answered with 200; prints what it answers
    Http {
        /// Such as `http://127.0.0.1:9001/readyz` of a gateway, and `http://127.0.0.1:8222/healthz` of a
        /// nats-server
        url: String,
    },
}
