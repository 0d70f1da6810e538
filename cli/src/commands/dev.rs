//! `dsbus dev`: a whole fleet in one terminal, gone when it ends.

mod child;
mod fleet;
mod home;
mod kill;
mod page;
mod server;
mod welcome;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use dsbus_schema::ids::{FleetName, WorkerName};
use dsbus_schema::lenient::Span;
use dsbus_schema::state::WorkerState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::{apply, status, workers};
use crate::args::{self, DevVerb, Format, Wait, Width};
use crate::config::Config;
use crate::connection::{self, Connection};
use crate::exit_code::Code;
use crate::failure::Failure;
use crate::file::Programs;
use crate::output;
use crate::settings::Origin;
use crate::wait::{self, Goal, Want};
use fleet::Fleet;
use home::Home;
use server::Server;
use welcome::Welcome;

/// How long the server, the schedulers and the workers may take to be ready.
const READY_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether they are.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long it is waited for the programs of the files.
const APPLY_MAX: Span = Span::from_secs(30);

/// Runs the fleet until it is told to stop, or does something to the one that runs here.
///
/// # Errors
/// When it cannot be started.
pub(super) fn run(config: &Config, args: args::Dev) -> Result<Code, Failure> {
    if let Some(DevVerb::Kill { worker }) = &args.verb {
        return connection::run(kill::run(config, worker));
    }
    let programs = if args.files.is_empty() { Programs::new() } else { apply::read(&args.files)? };
    let named = match &config.origin {
        Origin::Flag(_) => true,
        Origin::Context(_, by) => matches!(**by, Origin::Flag(_)),
        Origin::Variable(_)
        | Origin::Parent
        | Origin::Dev(_)
        | Origin::File(..)
        | Origin::Selected(_)
        | Origin::Default => false,
    };
    let given = named.then(|| config.urls.join(","));
    let server = match given {
        Some(_) => None,
        None => Some(Server::find(&config.around)?),
    };
    if let (None, Some(_)) = (&server, args.port) {
        let why =
            "--port is for the bus that dsbus dev starts; --nats or --context names one that runs";
        return Err(Failure::usage(why).hint("leave one of them out"));
    }
    let home = Home::open(&config.around.directory, args.data.as_deref(), &config.fleet)?;
    if let (Some(_), Some(port)) = (&server, args.port) {
        server::must_be_free(port)?;
    }
    connection::run(async {
        let plan = Plan { config: config.clone(), args, programs, given, server };
        let mut fleet = Fleet::new(&home)?;
        let mut stop = Stop::listen()?;
        let ended = tokio::select! {
            ended = plan.serve(&mut fleet, &home) => ended.map(|_| ()),
            () = stop.asked() => Ok(()),
        };
        // What happened is told before it is cleared away.
        let ended = ended.map_err(|failure| {
            output::failure(&failure);
            Failure::told(failure.code)
        });
        fleet.stop(&mut stop).await;
        ended
    })?;
    Ok(Code::Done)
}

/// What was asked for.
#[derive(Debug)]
struct Plan {
    config: Config,
    args: args::Dev,
    programs: Programs,
    /// A bus that exists already.
    given: Option<String>,
    server: Option<Server>,
}

impl Plan {
    /// Starts everything, says so, and watches over it for ever.
    async fn serve(&self, fleet: &mut Fleet, home: &Home) -> Result<Infallible, Failure> {
        let url = match (&self.given, &self.server) {
            (Some(url), _) => url.clone(),
            (None, Some(server)) => fleet.start_server(server, self.args.port).await?,
            (None, None) => return Err(Failure::usage("there is no bus")),
        };
        let mut config = self.config.clone();
        if self.given.is_none() {
            config.settled.urls = vec![url.clone()];
            config.settled.origin = Origin::Flag("--nats");
            // What is said of another bus is not for this one.
            config.settled.access = dsbus_client::Access::default();
        }
        home.tell(&url)?;
        let names = worker_names(self.args.workers)?;
        fleet.start_schedulers(&config, self.args.schedulers)?;
        fleet.start_workers(&config, &names)?;
        let page = page::place(&self.args)?;
        if let Some(at) = &page {
            fleet.start_gateway(&config, at)?;
        }
        let connection = tokio::select! {
            connection = ready(&config, &names) => connection?,
            failure = fleet.first_end() => return Err(failure),
        };
        tokio::select! {
            () = page::answers(page.as_ref()) => {}
            failure = fleet.first_end() => return Err(failure),
        }
        let welcome = Welcome {
            server: self.server.as_ref().map(|server| server.version.clone()),
            schedulers: self.args.schedulers,
            workers: &names,
            config: &config,
            home,
            page: page.as_ref(),
        };
        welcome.what_runs()?;
        let first = tokio::select! {
            first = declare(&connection, self.programs.clone()) => first?,
            failure = fleet.first_end() => return Err(failure),
        };
        welcome.what_next(first.as_deref())?;
        drop(connection);
        Ok(fleet.watch().await)
    }
}

/// Applies the programs, or shows those that are there; returns the name of an instance, for
/// examples.
async fn declare(connection: &Connection, programs: Programs) -> Result<Option<String>, Failure> {
    if !programs.is_empty() {
        let first = programs.keys().next().map(|program| format!("{program}:0"));
        let wait = Wait { no_wait: false, timeout: APPLY_MAX };
        // What failed has been told, and is best looked into while the fleet runs.
        apply::apply(connection, programs, &wait, Format::default()).await?;
        return Ok(first);
    }
    let rows = connection.status(&[]).await?;
    let wants: Vec<Want> = rows
        .iter()
        .map(|row| Want { name: row.name.clone(), goal: Goal::Revision(row.revision) })
        .collect();
    // What does not run is in the table.
    wait::wait(connection, &wants, APPLY_MAX.0, |_| Ok(())).await?;
    let rows = connection.status(&[]).await?;
    if !rows.is_empty() {
        status::table(&rows, Width::Fitted)?;
    }
    Ok(rows.first().map(|row| row.name.to_string()))
}

fn worker_names(count: u16) -> Result<Vec<WorkerName>, Failure> {
    (1..=count)
        .map(|n| WorkerName::parse(&format!("w{n}")).map_err(|e| Failure::usage(e.to_string())))
        .collect()
}

/// Waits until a scheduler answers, and all of these workers take instances.
async fn ready(config: &Config, names: &[WorkerName]) -> Result<Connection, Failure> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        let waits_for = match Connection::open(config).await {
            Ok(connection) => match missing(&connection, names).await {
                Ok(missing) if missing.is_empty() => return Ok(connection),
                Ok(missing) => format!("the workers are not ready: {}", missing.join(" ")),
                Err(failure) => failure.message,
            },
            Err(failure) => failure.message,
        };
        if Instant::now() >= deadline {
            return Err(Failure::new(Code::TimedOut, waits_for));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn missing(connection: &Connection, names: &[WorkerName]) -> Result<Vec<String>, Failure> {
    let rows = workers::all(connection).await?;
    let ready = |name: &&WorkerName| {
        rows.iter().any(|row| row.name == **name && row.state == WorkerState::Ready)
    };
    Ok(names.iter().filter(|name| !ready(name)).map(ToString::to_string).collect())
}

/// The wish to stop: Ctrl-C, SIGTERM, or the terminal's end.
#[derive(Debug)]
struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    fn listen() -> Result<Stop, Failure> {
        let on = |kind| signal(kind);
        let signals =
            [on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?];
        Ok(Stop { signals })
    }

    /// Resolves each time it is asked for.
    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// What is written beside the address of the bus: who runs here, and where its data is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Record {
    pid: u32,
    data: PathBuf,
    /// The data goes away with the fleet.
    temporary: bool,
    fleet: FleetName,
}
