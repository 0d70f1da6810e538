//! Looks at everything, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;

use dsbus_client::{Credentials, Entry, Error};
use dsbus_schema::program::Program;
use dsbus_schema::secret::SealedSecret;
use dsbus_schema::state::State;
use dsbus_schema::status::Status;
use dsbus_schema::storage::{Bucket, FleetKey, parse_instance_key, parse_secret_key};
use dsbus_schema::subject::SERVICE;
use dsbus_schema::worker::Worker;
use nix::sys::resource::{Resource, getrlimit};

use super::facts::{Bus, Facts};
use super::grants;
use crate::clock;
use crate::commands::version::OWN;
use crate::config::Config;
use crate::connection::Connection;
use crate::role;

/// Name of its watches, for the administrator of the server.
const NAME: &str = "doctor";

/// Looks at everything.
pub(super) async fn gather(config: &Config) -> Facts {
    let bus = match Connection::open(config).await {
        Ok(connection) => Ok(of_bus(&connection).await),
        Err(failure) => Err((failure.message, failure.hint.unwrap_or_default())),
    };
    let limit = getrlimit(Resource::RLIMIT_NOFILE).ok();
    Facts {
        version: OWN,
        settings: format!(
            "the bus is {} ({}); fleet {}",
            config.shown(),
            config.origin,
            config.fleet
        ),
        unused: config.unused(),
        open_files: secrets_of_all(config),
        open_files_max: limit.map(|(soft, _)| soft),
        fleet: config.fleet.clone(),
        user: config.user.clone(),
        role: role::of(config).map(|(role, name)| (role.to_owned(), name.to_owned())),
        grants: grants::found(config),
        start: ["scheduler", "worker"].map(|daemon| role::start(config, daemon)),
        bus,
    }
}

/// Files of secrets that others than their owner can read.
fn secrets_of_all(config: &Config) -> Vec<String> {
    let credentials = match &config.access.credentials {
        Credentials::File(path) | Credentials::Nkey(path) => Some(path),
        Credentials::Address
        | Credentials::Password { .. }
        | Credentials::Token(_)
        | Credentials::Jwt { .. } => None,
    };
    let key = config.access.tls.own.as_ref().map(|(_, key)| key);
    let open = |path: &&std::path::PathBuf| {
        std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
    };
    let files = credentials.into_iter().chain(key).filter(open);
    files.map(|path| path.display().to_string()).collect()
}

async fn of_bus(connection: &Connection) -> Bus {
    let bus = &connection.bus;
    // One after the other: the round trip is to be that of a server at rest.
    let server = bus.server().await;
    let (account, user) = futures::join!(bus.account(), bus.user_info());
    let streams = bus.streams().await;
    let now = clock::now();
    let (services, places) = futures::join!(bus.services(), bus.places());
    // Where it is not known whether one is there, asking tells.
    let answers =
        services.as_ref().map_or(true, |all| all.iter().any(|one| one.service == SERVICE));
    let rows = if answers { Some(connection.bus.status(&[]).await) } else { None };
    let mut found = Bus {
        url: connection.shown(),
        server,
        account,
        user,
        streams,
        now,
        services,
        workers: Vec::new(),
        touched: BTreeSet::new(),
        rows,
        programs: BTreeMap::new(),
        named: BTreeMap::new(),
        secrets: BTreeMap::new(),
        placements: Vec::new(),
        statuses: Vec::new(),
        children: Vec::new(),
        places: places.unwrap_or_default(),
        unread: Vec::new(),
    };
    // What is written meanwhile is read in the order in which it comes to be: a program, then its
    // placements, then their states.
    let buckets =
        [Bucket::Status, Bucket::Fleet, Bucket::Programs, Bucket::Secrets, Bucket::Workers];
    let permissions = found.user.as_ref().ok().and_then(|user| user.permissions.clone());
    for bucket in buckets {
        let may = permissions.as_ref().is_none_or(|all| all.read(bus.fleet(), bucket));
        let read = if may {
            bus.read_all(bucket, NAME).await
        } else {
            // Each try would be a line in the server's log.
            Err(Error::Denied { what: format!("reading {}", bucket.name(bus.fleet())) })
        };
        match read {
            Ok(entries) => found.take(bucket, &entries),
            Err(error) => found.unread.push((bucket, error)),
        }
    }
    found
}

impl Bus {
    fn take(&mut self, bucket: Bucket, entries: &[Entry]) {
        for entry in entries {
            match bucket {
                Bucket::Status => {
                    let Some((worker, instance)) = parse_instance_key(&entry.key) else { continue };
                    if let Ok(Some(status)) = entry.json::<Status>()
                        && status.state.may_have_child()
                        && status.state != State::Stopping
                    {
                        self.children.push((worker.clone(), instance.clone(), status.incarnation));
                    }
                    self.statuses.push((worker, instance));
                }
                Bucket::Fleet => match FleetKey::parse(&entry.key) {
                    Some(FleetKey::Placement(worker, instance)) => {
                        self.placements.push((worker, instance));
                    }
                    Some(FleetKey::Touch(worker, _)) => {
                        self.touched.insert(worker);
                    }
                    Some(FleetKey::Scheduler(_)) | None => {}
                },
                Bucket::Programs => {
                    if let Ok(Some(program)) = entry.json::<Program>() {
                        let secrets = program.spec.secrets().cloned().collect();
                        self.named.insert(program.name.clone(), secrets);
                        self.programs.insert(program.name, program.id);
                    }
                }
                Bucket::Workers => {
                    if let Ok(Some(worker)) = entry.json::<Worker>() {
                        self.workers.push((worker, entry.time));
                    }
                }
                Bucket::Secrets => {
                    let key = parse_secret_key(&entry.key);
                    if let (Some(at), Ok(Some(sealed))) = (key, entry.json::<SealedSecret>()) {
                        self.secrets.insert(at, sealed.key);
                    }
                }
                Bucket::Goals | Bucket::Alerts => {}
            }
        }
    }
}
