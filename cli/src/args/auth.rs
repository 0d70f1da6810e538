//! The command line of `dsbus auth`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as Group, Subcommand};
use dsbus_schema::filter::Filter;
use dsbus_schema::ids::{UserName, WorkerName};
use dsbus_schema::permit::{Deed, Role};

use super::Format;

/// What `dsbus auth --help` says behind the options.
const AUTH_HELP: &str = "\
A fleet with TLS, and a user for each that may do no more than it must:

  dsbus auth init /etc/dsbus/auth --servers tls://nats.example.org:4222 --workers w1,w2
  nats-server -c /etc/dsbus/auth/nats/nats.conf
  cd /etc/dsbus/auth/users/scheduler && dsbus scheduler
  cd /etc/dsbus/auth/users/admin && dsbus status

users/NAME is all that a machine needs to be NAME: copy it there, and keep it from
others. Later:

  cd /etc/dsbus/auth && dsbus auth add worker w3 && nats-server --signal reload

docs/security.md tells what each role may do.";

/// `dsbus auth`.
#[derive(Debug, Group)]
#[command(after_help = AUTH_HELP)]
pub(crate) struct Auth {
    #[command(subcommand)]
    pub(crate) verb: AuthVerb,
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthVerb {
    /// Make a directory with the configuration of the NATS servers, certificates, and users
    Init(AuthInit),
    /// Make a user
    Add(AuthAdd),
    /// Give a user another key; the old one holds until it is revoked
    Rotate(AuthUser),
    /// Let a user in no more, or no more by the old key
    Revoke(AuthRevoke),
    /// List users
    List(AuthList),
    /// Print what a role may do on the bus
    Permissions(AuthPermissions),
}

/// `dsbus auth init`.
#[derive(Debug, Group)]
pub(crate) struct AuthInit {
    /// The directory; it must not be there, or be empty
    pub(crate) directory: PathBuf,
    /// Where clients find the servers; `tls://NODE:4222` for each node, else `tls://127.0.0.1:4222`
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(crate) servers: Vec<String>,
    /// Hosts of the nodes of a NATS cluster: a configuration for each, and TLS between them
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,
    /// Workers to make users for
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) workers: Vec<WorkerName>,
    /// Programs that are event listeners may run on these workers: all events may be read there
    #[arg(long)]
    pub(crate) listeners: bool,
    /// More names and addresses that the servers are reached by, for their certificate
    #[arg(long = "host", value_name = "NAME", value_delimiter = ',')]
    pub(crate) hosts: Vec<String>,
    /// The servers' certificate, instead of one by an authority that is made here
    #[arg(long, value_name = "FILE", requires = "server_key")]
    pub(crate) server_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    pub(crate) server_key: Option<PathBuf>,
    /// Who vouches for it; what the machines trust, unless set
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    pub(crate) server_ca: Option<PathBuf>,
    /// Where this directory will be on the servers, if not where it is now
    #[arg(long, value_name = "DIR")]
    pub(crate) at: Option<PathBuf>,
    /// Where the servers store; nats/data in the directory unless set
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Where each server tells whoever asks how it is, over HTTP and without a password, such as
    /// `127.0.0.1:8222`; nowhere unless set
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) monitor: Option<SocketAddr>,
    /// Where the directory is there already, change nothing in it, and succeed
    #[arg(long)]
    pub(crate) once: bool,
    /// Then copy what each machine needs into what is there in DIR, such as the volumes of
    /// containers: users/NAME into DIR/NAME, what the servers need into DIR/nats, and the gateway's
    /// password of a monitor into DIR/monitor
    #[arg(long, value_name = "DIR")]
    pub(crate) hand_out: Option<PathBuf>,
}

/// Which directory.
#[derive(Debug, Group)]
pub(crate) struct AuthDirectory {
    /// The directory that `dsbus auth init` made
    #[arg(long = "dir", global = true, value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
}

/// `dsbus auth add`.
#[derive(Debug, Group)]
pub(crate) struct AuthAdd {
    #[command(flatten)]
    pub(crate) at: AuthDirectory,
    #[command(subcommand)]
    pub(crate) role: RoleArgs,
}

/// `dsbus auth rotate`.
#[derive(Debug, Group)]
pub(crate) struct AuthUser {
    /// The user
    pub(crate) name: UserName,
    #[command(flatten)]
    pub(crate) at: AuthDirectory,
}

/// `dsbus auth revoke`.
#[derive(Debug, Group)]
pub(crate) struct AuthRevoke {
    /// The user
    pub(crate) name: UserName,
    /// Only the key from before `dsbus auth rotate`
    #[arg(long)]
    pub(crate) old: bool,
    /// Also the last scheduler, or the last operator that may do everything
    #[arg(long, conflicts_with = "old")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) at: AuthDirectory,
}

/// `dsbus auth list`.
#[derive(Debug, Group)]
pub(crate) struct AuthList {
    #[command(flatten)]
    pub(crate) at: AuthDirectory,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
}

/// `dsbus auth permissions`.
#[derive(Debug, Group)]
pub(crate) struct AuthPermissions {
    /// As options of nsc add user
    #[arg(long, global = true)]
    pub(crate) nsc: bool,
    /// Consumers of events that are others' own, which this one may not touch: the name of each
    /// listener, and alert-NAME of each alert
    #[arg(long, global = true, value_name = "CONSUMER", value_delimiter = ',')]
    pub(crate) durables: Vec<UserName>,
    #[command(subcommand)]
    pub(crate) role: RoleArgs,
}

/// A role, and what it needs.
#[derive(Debug, Subcommand)]
pub(crate) enum RoleArgs {
    /// Decides; reads and writes all state
    Scheduler {
        /// Name of the user
        #[arg(default_value = "scheduler")]
        name: UserName,
    },
    /// Acts for whoever it lets in by HTTP
    Gateway {
        /// Name of the user
        #[arg(default_value = "gateway")]
        name: UserName,
    },
    /// Looks, and sees no value of an environment
    Viewer {
        /// Name of the user
        #[arg(default_value = "viewer")]
        name: UserName,
    },
    /// Looks, and acts
    Operator {
        /// Name of the user
        name: UserName,
        /// What it may do, with commas: commands such as start,stop,restart, and signal, stdin, clear,
        /// emit, listeners, secret; everything unless set
        #[arg(long, value_name = "VERB", value_delimiter = ',', value_parser = deed)]
        verbs: Option<Vec<Deed>>,
    },
    /// Runs programs
    Worker {
        /// Name of the worker
        name: WorkerName,
        /// It may run event listeners: all events may be read there
        #[arg(long)]
        listeners: bool,
    },
    /// Reads events, by a consumer that has its name
    Listener {
        /// Name of the listener
        name: UserName,
        /// Kinds and TYPEs: process.*, FATAL, worker.LOST
        #[arg(long, value_name = "EVENT", value_delimiter = ',')]
        events: Vec<String>,
        /// Of which programs
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        programs: Vec<String>,
        /// Of which workers
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        workers: Vec<String>,
    },
    /// Reads events, and tells people
    Alert {
        /// Name of the user, and of the set of rules: see dsbus alert --name
        #[arg(default_value = "alert")]
        name: UserName,
    },
}

fn deed(text: &str) -> Result<Deed, String> {
    Deed::parse(text).ok_or_else(|| {
        let all: Vec<&str> = Deed::all().into_iter().map(Deed::name).collect();
        format!("{text:?} is none of {}", all.join(", "))
    })
}

impl RoleArgs {
    /// The user's name, and what it is.
    ///
    /// # Errors
    /// When a filter of events means nothing, or a name cannot be that of rules.
    pub(crate) fn role(&self) -> Result<(String, Role), String> {
        let role = match self {
            RoleArgs::Scheduler { name } => return Ok((name.to_string(), Role::Scheduler)),
            RoleArgs::Gateway { name } => return Ok((name.to_string(), Role::Gateway)),
            RoleArgs::Viewer { name } => return Ok((name.to_string(), Role::Viewer)),
            RoleArgs::Operator { name, verbs } => {
                let deeds = verbs.clone().unwrap_or_else(Deed::all);
                (name.to_string(), Role::Operator(deeds))
            }
            RoleArgs::Worker { name, listeners } => {
                let role = Role::Worker { worker: name.clone(), listeners: *listeners };
                (name.to_string(), role)
            }
            RoleArgs::Listener { name, events, programs, workers } => {
                let filter = Filter::parse(events, programs, workers);
                (name.to_string(), Role::Listener(filter.map_err(|e| e.to_string())?))
            }
            RoleArgs::Alert { name } => {
                let alert = super::alert::name(name.as_str())?;
                (name.to_string(), Role::Alert(alert))
            }
        };
        Ok(role)
    }
}
