//! A fleet of real processes on hosts: NATS servers, schedulers, workers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dsbus_client::{Bus, ConnectOptions};
use dsbus_schema::command::{Ask, Verb};
use dsbus_schema::ids::{FleetName, UserName};
use dsbus_schema::state::WorkerState;
use dsbus_schema::status::{InstanceRow, WorkerRow};
use nix::sys::signal::Signal;

use crate::clock::look;
use crate::daemon::{Daemon, Ended};
use crate::hosts::{Hosts, Ports};
use crate::{Outcome, monitor, process};

/// What a fleet of this size needs no fraction of, on a machine that is busy with others.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at the fleet.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// The host of this process.
pub(crate) const OBSERVER: &str = "obs";

/// How large it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) nats: usize,
    pub(crate) schedulers: usize,
    pub(crate) workers: usize,
}

/// The fleet. [`Fleet::end`] ends it; what is left ends with the hosts.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) hosts: Hosts,
    /// Logs, stores, lives.
    pub(crate) directory: PathBuf,
    pub(crate) nats: Vec<Arc<Daemon>>,
    pub(crate) schedulers: Vec<Arc<Daemon>>,
    pub(crate) workers: Vec<Arc<Daemon>>,
}

/// Names of the hosts that a fleet of this size needs; see [`Hosts::build`].
pub(crate) fn host_names(size: Size) -> Vec<String> {
    let named = |letter: &'static str, n: usize| (1..=n).map(move |i| format!("{letter}{i}"));
    [OBSERVER.to_owned()]
        .into_iter()
        .chain(named("n", size.nats))
        .chain(named("s", size.schedulers))
        .chain(named("w", size.workers))
        .collect()
}

impl Fleet {
    /// Starts everything, and waits until all workers are ready.
    pub(crate) async fn start(hosts: Hosts, directory: PathBuf, size: Size) -> Outcome<Fleet> {
        for folder in ["lives", "store", "logs"] {
            std::fs::create_dir_all(directory.join(folder))?;
        }
        let mut fleet = Fleet {
            hosts,
            directory,
            nats: Vec::new(),
            schedulers: Vec::new(),
            workers: Vec::new(),
        };
        for number in 1..=size.nats {
            let server = fleet.server(number, size.nats)?;
            fleet.nats.push(server);
        }
        look("the NATS servers to be healthy", DEADLINE, LOOK, async || fleet.healthy().await)
            .await?;
        for number in 1..=size.schedulers {
            let name = format!("s{number}");
            let daemon = fleet.dsbus(&name, &["scheduler", "--id", &name])?;
            fleet.schedulers.push(daemon);
        }
        for number in 1..=size.workers {
            let name = format!("w{number}");
            let place = fleet.directory.join(&name).display().to_string();
            let daemon =
                fleet.dsbus(&name, &["worker", "--name", &name, "--dir", &place, "--insecure"])?;
            fleet.workers.push(daemon);
        }
        let bus = fleet.bus("chaos start").await?;
        look("all workers to be ready", DEADLINE, LOOK, async || {
            let rows = workers(&bus).await?;
            let ready = rows.iter().filter(|row| row.state == WorkerState::Ready).count();
            if ready == size.workers { Ok(()) } else { Err(format!("{ready} are")) }
        })
        .await?;
        Ok(fleet)
    }

    fn server(&self, number: usize, of: usize) -> Outcome<Arc<Daemon>> {
        let name = format!("n{number}");
        let address = self.hosts.address(&name);
        let store = self.directory.join("stores").join(&name);
        let Ports { clients, routes, monitor } = self.hosts.ports;
        let mut lines = vec![
            format!("server_name: {name}\nlisten: \"{address}:{clients}\""),
            format!("http: \"{address}:{monitor}\""),
            format!("jetstream {{ store_dir: \"{}\" }}", store.display()),
        ];
        if of > 1 {
            let others: Vec<String> = (1..=of)
                .map(|i| format!("\"nats://{}:{routes}\"", self.hosts.address(&format!("n{i}"))))
                .collect();
            let others = others.join(", ");
            lines.push(format!(
                "cluster {{ name: c, listen: \"{address}:{routes}\", routes: [{others}] }}"
            ));
        }
        let file = self.directory.join(format!("{name}.conf"));
        std::fs::write(&file, lines.join("\n"))?;
        self.daemon(
            &name,
            dsbus_harness::nats_server(),
            vec!["-c".into(), file.display().to_string()],
        )
    }

    fn dsbus(&self, name: &str, words: &[&str]) -> Outcome<Arc<Daemon>> {
        let urls = self.urls().join(",");
        let words = [&["--nats", urls.as_str()], words].concat();
        let words = words.into_iter().map(str::to_owned).collect();
        self.daemon(name, &crate::beside("dsbus")?, words)
    }

    fn daemon(&self, name: &str, program: &Path, words: Vec<String>) -> Outcome<Arc<Daemon>> {
        let template = self.hosts.command(name, program);
        let log = self.directory.join("logs").join(format!("{name}.log"));
        let directory = self.directory.clone();
        // Commands cannot be copied.
        let first = template.get_program().to_owned();
        let rest: Vec<_> = template.get_args().map(std::ffi::OsStr::to_owned).collect();
        let environment: Vec<_> = template
            .get_envs()
            .map(|(k, v)| (k.to_owned(), v.map(std::ffi::OsStr::to_owned)))
            .collect();
        Daemon::start(name, name, log, move || {
            let mut command = std::process::Command::new(&first);
            command
                .args(&rest)
                .args(&words)
                .current_dir(&directory)
                .stdin(std::process::Stdio::null());
            for (key, value) in &environment {
                match value {
                    Some(value) => command.env(key, value),
                    None => command.env_remove(key),
                };
            }
            command.env("DSBUS_LOG", "info");
            command
        })
    }

    /// Where the NATS servers listen.
    pub(crate) fn urls(&self) -> Vec<String> {
        let servers = if self.nats.is_empty() { 1 } else { self.nats.len() };
        (1..=servers)
            .map(|i| self.hosts.address(&format!("n{i}")))
            .map(|address| format!("nats://{address}:{}", self.hosts.ports.clients))
            .collect()
    }

    /// A connection as any client has it.
    pub(crate) async fn bus(&self, label: &str) -> Outcome<Bus> {
        let options = ConnectOptions {
            urls: self.urls(),
            fleet: FleetName::default(),
            user: UserName::default(),
            access: dsbus_client::Access::default(),
            label: label.to_owned(),
            wait: true,
        };
        Ok(Bus::connect(options).await?)
    }

    /// Whether all NATS servers are up, know each other, and are abreast of all streams.
    pub(crate) async fn healthy(&self) -> Result<(), String> {
        for server in &self.nats {
            monitor::healthy(&self.monitor(server)).await?;
        }
        Ok(())
    }

    fn monitor(&self, server: &Daemon) -> String {
        format!("{}:{}", self.hosts.address(&server.host), self.hosts.ports.monitor)
    }

    /// The NATS server that a connection of this name is to.
    pub(crate) async fn server_of(&self, connection: &str) -> Option<Arc<Daemon>> {
        for server in &self.nats {
            if monitor::serves(&self.monitor(server), connection).await {
                return Some(Arc::clone(server));
            }
        }
        None
    }

    /// The NATS server that leads a stream.
    pub(crate) async fn leader(&self, stream: &str) -> Option<Arc<Daemon>> {
        for server in &self.nats {
            if monitor::leads(&self.monitor(server), &server.name, stream).await {
                return Some(Arc::clone(server));
            }
        }
        None
    }

    /// Agent and children of a worker whose supervisor is this process.
    pub(crate) fn below(supervisor: i32) -> (Option<i32>, Vec<i32>) {
        let (agents, others): (Vec<i32>, Vec<i32>) = process::children(supervisor)
            .into_iter()
            .partition(|pid| process::words(*pid).iter().any(|word| word == "agent"));
        let witness = |pid: &i32| {
            process::words(*pid).first().is_some_and(|word| word.ends_with("chaos-witness"))
        };
        (agents.first().copied(), others.into_iter().filter(witness).collect())
    }

    /// All daemons.
    pub(crate) fn daemons(&self) -> impl Iterator<Item = &Arc<Daemon>> {
        self.nats.iter().chain(&self.schedulers).chain(&self.workers)
    }

    /// Daemons that ended although nothing was done to them.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        self.daemons().flat_map(|daemon| daemon.ended()).collect()
    }

    /// Asks the daemons to stop, workers first: one that is killed leaves a cgroup.
    pub(crate) async fn end(&self) -> Outcome<()> {
        for daemons in [&self.workers, &self.schedulers, &self.nats] {
            for daemon in daemons {
                daemon.fault_begins();
                daemon.again(None);
                daemon.signal(Signal::SIGTERM);
            }
            look("daemons to stop", DEADLINE, LOOK, async || {
                match daemons.iter().find(|daemon| daemon.pid().is_some()) {
                    Some(daemon) => Err(format!("{} runs", daemon.name)),
                    None => Ok(()),
                }
            })
            .await?;
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The hosts are about to end all that runs on them: nobody is to start it again.
        for daemon in self.daemons() {
            daemon.fault_begins();
            daemon.again(None);
        }
    }
}

/// All instances, as schedulers see them.
pub(crate) async fn instances(bus: &Bus) -> Result<Vec<InstanceRow>, String> {
    bus.status(&[]).await.map_err(|e| e.to_string())
}

/// All workers, as schedulers see them.
pub(crate) async fn workers(bus: &Bus) -> Result<Vec<WorkerRow>, String> {
    bus.command(Verb::Workers, &Ask::default()).await.map_err(|e| e.to_string())
}
