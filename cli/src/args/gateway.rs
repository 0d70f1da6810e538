//! `dsbus gateway`.

use std::path::PathBuf;

use clap::Args as Group;
use dsbus_gateway::Listen;
use dsbus_schema::ids::WorkerName;

use super::Own;

/// Below the help of `gateway`.
pub(super) const GATEWAY: &str = "\
FILE says who may use it, and where it listens:

  listen = [\"127.0.0.1:9001\", \"unix:/run/dsbus-gateway/http.sock\"]
  chmod = \"0770\"                            # of its sockets; 0700 unless set
  chown = \"ann:admins\"                      # whose they are; USER, USER:GROUP or :GROUP
  secret_file = \"/etc/dsbus/gateway.secret\"   # where several share one address

  [user.ann]
  password = \"{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d\"   # or as it is; or password_file
  role = \"operator\"                         # or \"viewer\", who may only look

Without users nobody has to say who he is, and only this machine is let in.";

/// `dsbus gateway`.
#[derive(Debug, Group)]
pub(crate) struct Gateway {
    /// Users, and where to listen
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Where to listen, instead of where the file says (127.0.0.1:9001 where nobody says it):
    /// HOST:PORT, :PORT, or unix:PATH; several times for several
    #[arg(long, value_name = "ADDRESS", value_parser = Listen::parse)]
    pub(crate) listen: Vec<Listen>,
    /// Show Supervisor's tools, at /RPC2 and /logtail, what runs on this worker only, with the process
    /// ids of its machine: they cannot name /workers/NAME/RPC2
    #[arg(long, value_name = "NAME")]
    pub(crate) worker: Option<WorkerName>,
    /// Let everybody do everything who reaches the address, also from other machines
    #[arg(long)]
    pub(crate) insecure: bool,
    #[command(flatten)]
    pub(crate) own: Own,
}
