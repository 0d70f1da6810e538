//! `dsbus version`

use dsbus_client::{Bus, Error, ServiceInfo};
use dsbus_schema::storage::Bucket;
use dsbus_schema::subject::SERVICE;
use dsbus_schema::worker::Worker;
use serde::Serialize;

use crate::args::{self, Format};
use crate::config::Config;
use crate::connection::Connection;
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::output;
use crate::table::{Column, Text};

/// Of this binary.
pub(crate) const OWN: &str = env!("CARGO_PKG_VERSION");

const COLUMNS: [Column; 4] = [
    Column { title: "WHAT", leaves: 0, optional: false },
    Column { title: "NAME", leaves: 0, optional: true },
    Column { title: "VERSION", leaves: 0, optional: false },
    Column { title: "NOTE", leaves: 0, optional: true },
];

/// The answer.
#[derive(Debug, Default, Serialize)]
struct Versions {
    /// Of this binary.
    version: &'static str,
    /// Of the server, where one answers.
    nats_server: Option<String>,
    schedulers: Vec<Named>,
    workers: Vec<Named>,
    /// Why there is no more to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
    version: String,
}

/// Prints the versions of what can be reached.
///
/// # Errors
/// When nobody reads it.
pub(super) async fn run(config: &Config, args: &args::Version) -> Result<Code, Failure> {
    let mut versions = Versions { version: OWN, ..Versions::default() };
    match Connection::open(config).await {
        Err(failure) => versions.problem = Some(failure.message),
        Ok(connection) => {
            if let Err(e) = of_fleet(&connection.bus, &mut versions).await {
                versions.problem = Some(connection.explain(e).await.message);
            }
        }
    }
    match args.output {
        Format::Data(data) => output::data(data, &versions)?,
        Format::Text(wide) => {
            output::table(wide, &COLUMNS, &rows(&versions))?;
            if let Some(problem) = &versions.problem {
                output::note(problem);
            }
        }
    }
    Ok(Code::Done)
}

async fn of_fleet(bus: &Bus, versions: &mut Versions) -> Result<(), Error> {
    versions.nats_server = Some(bus.server().await?.version);
    let answering = bus.services().await?;
    let of = |info: &ServiceInfo| Named { name: info.id.clone(), version: info.version.clone() };
    let schedulers = answering.iter().filter(|info| info.service == SERVICE);
    versions.schedulers = schedulers.map(of).collect();
    versions.workers = match bus.read_all(Bucket::Workers, "version").await {
        Ok(entries) => entries
            .iter()
            .filter_map(|entry| entry.json::<Worker>().ok().flatten())
            .map(|worker| Named { name: worker.name.to_string(), version: worker.version })
            .collect(),
        // There is no fleet there.
        Err(Error::NotProvisioned) => Vec::new(),
        Err(other) => return Err(other),
    };
    Ok(())
}

fn rows(versions: &Versions) -> Vec<Vec<Text>> {
    let row = |what: &str, name: &str, version: &str| -> Vec<Text> {
        let note = if version == OWN || what == "nats-server" {
            ""
        } else {
            "not the version of this dsbus"
        };
        vec![what.into(), name.into(), version.into(), note.into()]
    };
    let mut rows = vec![row("dsbus", "", versions.version)];
    rows.extend(versions.nats_server.iter().map(|version| row("nats-server", "", version)));
    rows.extend(versions.schedulers.iter().map(|s| row("scheduler", &s.name, &s.version)));
    rows.extend(versions.workers.iter().map(|w| row("worker", &w.name, &w.version)));
    rows
}
