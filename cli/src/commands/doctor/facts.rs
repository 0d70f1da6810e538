//! What was found, before anybody says what it means.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_client::{Account, Error, Place, Server, ServiceInfo, Stream, User};
use dsbus_scheduler::Grants;
use dsbus_schema::ids::{
    FleetName, Incarnation, InstanceId, ProgramId, ProgramName, SecretName, UserName, WorkerName,
};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::status::InstanceRow;
use dsbus_schema::storage::Bucket;
use dsbus_schema::worker::Worker;

/// Everything.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// Version of this binary.
    pub(super) version: &'static str,
    /// The bus, and where it is said.
    pub(super) settings: String,
    /// What is said, and not used.
    pub(super) unused: Option<String>,
    /// Files of secrets that others can read.
    pub(super) open_files: Vec<String>,
    /// How many files this process may have open.
    pub(super) open_files_max: Option<u64>,
    /// Fleet.
    pub(super) fleet: FleetName,
    /// Who asks.
    pub(super) user: UserName,
    /// For what `dsbus auth` has made that user, and its name there.
    pub(super) role: Option<(String, String)>,
    /// Files of grants that lie here.
    pub(super) grants: Vec<GrantsFound>,
    /// How a scheduler and a worker of this fleet are started.
    pub(super) start: [String; 2],
    /// What the bus says; why there is none, and what to do about it.
    pub(super) bus: Result<Bus, (String, String)>,
}

impl Facts {
    /// Who asks, for people.
    pub(super) fn who(&self) -> String {
        match &self.role {
            Some((role, name)) => format!("the {role} {name}"),
            None => "this user".to_owned(),
        }
    }
}

/// A file of grants.
#[derive(Debug, Clone)]
pub(super) struct GrantsFound {
    /// Where.
    pub(super) path: String,
    /// What it says; why it cannot be used.
    pub(super) read: Result<Grants, String>,
    /// Users that there are, where that is known here.
    pub(super) users: Option<BTreeSet<String>>,
}

/// What the bus says.
#[derive(Debug, Clone)]
pub(super) struct Bus {
    /// Where it is.
    pub(super) url: String,
    /// The server.
    pub(super) server: Result<Server, Error>,
    /// What `JetStream` allows.
    pub(super) account: Result<Account, Error>,
    /// What one may do there.
    pub(super) user: Result<User, Error>,
    /// The streams, by name.
    pub(super) streams: Vec<(String, Result<Stream, Error>)>,
    /// The time here when the last of them had answered.
    pub(super) now: Timestamp,
    /// Who answers.
    pub(super) services: Result<Vec<ServiceInfo>, Error>,
    /// Workers, and when they told that, by the clock of the server.
    pub(super) workers: Vec<(Worker, Timestamp)>,
    /// Those that hold a lease.
    pub(super) touched: BTreeSet<WorkerName>,
    /// How instances are; `None` where no scheduler is there to say it.
    pub(super) rows: Option<Result<Vec<InstanceRow>, Error>>,
    /// What is declared.
    pub(super) programs: BTreeMap<ProgramName, ProgramId>,
    /// The secrets that each names.
    pub(super) named: BTreeMap<ProgramName, BTreeSet<SecretName>>,
    /// Who has which secret, and to which key it is sealed.
    pub(super) secrets: BTreeMap<(WorkerName, SecretName), String>,
    /// What is placed, and where.
    pub(super) placements: Vec<(WorkerName, InstanceId)>,
    /// Of what there is a last known state.
    pub(super) statuses: Vec<(WorkerName, InstanceId)>,
    /// Of these, what has a child, as that run of its worker told, and was not told to stop.
    pub(super) children: Vec<(WorkerName, InstanceId, Incarnation)>,
    /// Durable consumers of events.
    pub(super) places: Vec<Place>,
    /// Buckets that could not be read.
    pub(super) unread: Vec<(Bucket, Error)>,
}
