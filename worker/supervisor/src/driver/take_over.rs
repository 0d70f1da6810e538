//! The beginning of a worker: as a new one, or in the place of another version that hands over.

use dsbus_schema::event::WorkerChange;
use dsbus_schema::ids::Incarnation;
use uuid::Uuid;

use super::upgrade::NotifyLeft;
use super::{Driver, Source};
use crate::agent_link::AgentLink;
use crate::binaries::Binaries;
use crate::children::Children;
use crate::clock::{self, Now};
use crate::config::Config;
use crate::errands::Errands;
use crate::facilities::Machine;
use crate::handover::{Handover, Left, Taking, close_way_back, disarm_alarm, give_back};
use crate::home::Home;
use crate::notify::NotifySocket;
use crate::output::{self, Outputs};
use crate::poller::{Poller, Ready};
use crate::report::Reports;
use crate::secrets::Secrets;
use crate::sockets::Sockets;
use crate::streams::Streams;
use crate::table::Table;
use crate::{Fatal, fatal, spawn};
use std::os::fd::AsFd;

/// What a driver cannot be without.
struct Ground {
    incarnation: Incarnation,
    started: Now,
    home: Home,
    machine: Machine,
    poller: Poller,
    secrets: Secrets,
    reports: Reports,
}

impl Driver {
    /// A worker that starts.
    pub(super) fn begin(config: Config) -> Result<Driver, Fatal> {
        let incarnation = Incarnation(Uuid::now_v7());
        let home = Home::open(&config.directory, incarnation)?;
        home.note_name(&config.fleet, &config.worker);
        let secrets = secrets(&config, &home)?;
        let reports = Reports::open(&home.reports(&config.fleet, &config.worker));
        if !reports.is_empty() {
            tracing::info!("{} reports of an earlier run wait for the bus", reports.waiting());
        }
        let poller = Poller::new()?;
        spawn::adopt_orphans();
        let (name, place) = (&config.worker, home.path().display());
        tracing::info!(target: "dsbus_supervisor::driver", "worker {name} starts in {place}");
        let machine = Machine::find(&config.settings, &config.fleet, &config.worker, home.path());
        if let Some(trouble) = &machine.cgroup_trouble {
            tracing::info!("{trouble}");
        }
        clean_up(&config);
        let started = clock::now();
        Ok(Driver::on(
            config,
            Ground { incarnation, started, home, machine, poller, secrets, reports },
        ))
    }

    /// A worker in the place of another version. Until everything is there that may be missing, the
    /// place can be given back.
    pub(super) fn take_over(config: Config, handover: Handover) -> Result<Driver, Fatal> {
        let prepared = Poller::new().and_then(|poller| {
            let keys = crate::secrets::keys(&handover.left.directory)?;
            Ok((poller, Secrets::new(keys, config.fleet.clone(), config.worker.clone())))
        });
        let (poller, secrets) = match prepared {
            Ok(prepared) => prepared,
            Err(e) => return Err(fatal(give_back(&e.to_string()))),
        };
        let Handover { version, mut left, file } = handover;
        let (mut taking, given_back) = (Taking::default(), config.given_back.clone());
        let at = left.at;
        // Whatever can be missing was looked for. What cannot be taken nevertheless has given the place
        // back; where even that fails, the version before could not have it either.
        let taken = Driver::adopt(config, &mut left, poller, secrets, &mut taking);
        let mut driver = taken.map_err(|why| {
            fatal(format!("version {version} handed over what cannot be taken: {why}"))
        })?;
        // The document, and the executable before this one: nobody goes back now.
        for number in [file, left.executable] {
            if let Err(why) = taking.take(number) {
                tracing::warn!("what is not needed any more cannot be closed: {why}");
            }
        }
        let now = clock::now();
        let gap = now.boot.since(at);
        tracing::info!(
            "took over {} children from version {version} in {gap:?}",
            driver.children.iter().count()
        );
        let own = env!("CARGO_PKG_VERSION");
        match given_back {
            None => {
                let reason = format!("from version {version} to {own}; no child was touched");
                driver.home.note_reloaded(now.boot, &Ok(format!("took over {reason}")));
                driver.worker_event(WorkerChange::Upgraded, Some(reason));
            }
            Some(why) => {
                let reason = format!("version {own} goes on, its successor gave up: {why}");
                tracing::error!("{reason}");
                driver.home.note_reloaded(now.boot, &Err(reason.clone()));
                driver.worker_event(WorkerChange::UpgradeFailed, Some(reason));
            }
        }
        driver.reap();
        Ok(driver)
    }

    fn adopt(
        config: Config,
        left: &mut Left,
        poller: Poller,
        secrets: Secrets,
        taking: &mut Taking,
    ) -> Result<Driver, String> {
        let home = Home::taken_over(&left.directory, taking.take(left.lock)?);
        let home = home.map_err(|why| give_back(&why))?;
        home.note_name(&config.fleet, &config.worker);
        let mut reports = Reports::open(&home.reports(&config.fleet, &config.worker));
        reports.resume(&left.earlier);
        let machine = Machine::with_cgroups(left.cgroups.take());
        let (boot, wall) = left.started;
        let incarnation = left.incarnation;
        let started = Now { boot, wall };
        let ground = Ground { incarnation, started, home, machine, poller, secrets, reports };
        let mut driver = Driver::on(config, ground);
        driver.adopt_rooms(left, taking)?;
        let resort = driver.table.last_resort();
        driver.poller.set_last_resort(resort);
        if let Err(e) = disarm_alarm() {
            tracing::error!("the alarm of the version before stays: {e}");
        }
        Ok(driver)
    }

    fn adopt_rooms(&mut self, left: &mut Left, taking: &mut Taking) -> Result<(), String> {
        let now = clock::now();
        let empty = Table::new(self.config.worker.clone(), self.incarnation);
        self.table = std::mem::replace(&mut left.table, empty);
        self.table.share_specs();
        self.children = Children::take_over(std::mem::take(&mut left.children), taking)?;
        self.errands = Errands::take_over(std::mem::take(&mut left.errands));
        self.questions = std::mem::take(&mut left.questions);
        for stream in std::mem::take(&mut left.streams) {
            self.sources.insert(stream.number, Source::Output);
            self.streams.take_over(&self.poller, stream, taking)?;
        }
        self.streams.outputs.take_over(std::mem::take(&mut left.compressors));
        for NotifyLeft { number, child, socket, name, uid } in std::mem::take(&mut left.notify) {
            let socket = NotifySocket::of(taking.take(socket)?, name, uid);
            if let Err(e) = self.poller.add(Ready::Source(number), socket.as_fd()) {
                tracing::error!("cannot hear what a child says of itself: {e}");
            }
            self.sources.insert(number, Source::Notify(child, socket));
        }
        self.sockets = Sockets::take_over(std::mem::take(&mut left.sockets), taking)?;
        self.secrets.take_over(std::mem::take(&mut left.secrets));
        self.starts = left.starts;
        self.last_source = left.last_source;
        self.binaries = Binaries::take_over(std::mem::take(&mut left.binaries), now.boot);
        self.hear_binaries();
        self.orders = std::mem::take(&mut left.orders);
        self.wanted = std::mem::take(&mut left.wanted);
        self.held = std::mem::take(&mut left.held).into();
        self.forgotten = std::mem::take(&mut left.forgotten).into_iter().collect();
        self.agent.take_over(&left.agent, taking, now.boot)?;
        // What follows cannot be undone.
        close_way_back();
        self.agent.replace(now.boot);
        Ok(())
    }

    fn on(mut config: Config, ground: Ground) -> Driver {
        let Ground { incarnation, started, home, machine, poller, secrets, reports } = ground;
        Driver {
            table: Table::new(config.worker.clone(), incarnation),
            agent: AgentLink::new(config.agent.clone(), config.log.clone(), config.echo.take()),
            streams: Streams::new(Outputs::new(&config.settings).within(home.path())),
            config,
            incarnation,
            started,
            home,
            machine,
            poller,
            children: Children::default(),
            errands: Errands::default(),
            questions: super::Questions::default(),
            sockets: Sockets::default(),
            secrets,
            binaries: Binaries::default(),
            binaries_source: None,
            reports,
            bye_said: false,
            orders: super::Orders::default(),
            wanted: std::collections::VecDeque::new(),
            held: Vec::new(),
            forgotten: std::collections::HashMap::new(),
            starts: 0,
            sources: std::collections::HashMap::new(),
            last_source: 0,
            backlog: std::collections::VecDeque::new(),
            queued: std::collections::HashSet::new(),
            upgrade: super::Upgrade::No,
            ending: super::Ending::Not,
            end_asked: None,
            exit_code: 0,
            starter: dsbus_starter::Starter::here(),
            synced: false,
            nameless: false,
        }
    }
}

fn secrets(config: &Config, home: &Home) -> Result<Secrets, Fatal> {
    let keys = crate::secrets::keys(home.path())?;
    Ok(Secrets::new(keys, config.fleet.clone(), config.worker.clone()))
}

/// Removes logs of earlier runs, where the owner wants that (Supervisor's rule for AUTO logs).
fn clean_up(config: &Config) {
    if let Some(directory) = config.settings.childlogdir.as_ref()
        && !config.settings.nocleanup
        && let Err(e) = output::place::clean_up(directory, config.worker.as_str())
    {
        tracing::warn!("{} cannot be cleaned up: {e}", directory.display());
    }
}
