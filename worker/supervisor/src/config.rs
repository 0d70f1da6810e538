//! What a worker needs to know before it starts.

use std::ffi::OsString;
use std::path::PathBuf;

use dsbus_schema::ids::{FleetName, WorkerName};

/// Configuration of a worker, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name.
    pub worker: WorkerName,
    /// Fleet, which children are told.
    pub fleet: FleetName,
    /// State directory.
    pub directory: PathBuf,
    /// Command of the agent; it finds its socket as descriptor [`crate::AGENT_FD`].
    pub agent: Vec<OsString>,
}
