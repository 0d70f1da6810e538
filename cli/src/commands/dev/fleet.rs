//! All processes of a `dsbus dev`: started in order, watched, started again, and stopped in order.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use dsbus_gateway::Listen;
use dsbus_schema::ids::WorkerName;
use nix::sys::signal::Signal;
use tokio::time::{Instant, interval, sleep, timeout};

use super::child::{Member, Role, describe};
use super::home::{self, Home};
use super::server::{self, Server};
use super::{LOOK_EVERY, READY_MAX, Stop};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

/// How long a worker or scheduler that ended stays away: long enough to see its instances move,
/// as after the reboot of a machine.
pub(super) const REBOOT: Duration = Duration::from_secs(20);
/// How long the server and the gateway stay away.
const RESTART: Duration = Duration::from_secs(1);
/// How long workers may take to stop their instances, until they are killed.
const WORKERS_STOP_MAX: Duration = Duration::from_secs(30);
/// How long schedulers and the server may take to stop.
const STOP_MAX: Duration = Duration::from_secs(5);

/// The processes. Dropping it kills what still runs.
#[derive(Debug)]
pub(super) struct Fleet {
    members: Vec<Member>,
    /// How they find the bus.
    environment: Vec<(String, String)>,
    binary: PathBuf,
    data: PathBuf,
}

impl Fleet {
    /// A fleet without a process yet.
    ///
    /// # Errors
    /// When the path of this binary is not known.
    pub(super) fn new(home: &Home) -> Result<Fleet, Failure> {
        let binary = std::env::current_exe()?;
        Ok(Fleet {
            members: Vec::new(),
            environment: Vec::new(),
            binary,
            data: home.data().to_owned(),
        })
    }

    fn start(&mut self, role: Role, command: Vec<std::ffi::OsString>) -> Result<(), Failure> {
        let log = self.data.join("log").join(format!("{}.log", role.log_name()));
        let environment = self.environment.clone();
        let member = Member::start(role, command, environment, self.binary.clone(), log)?;
        self.members.push(member);
        Ok(())
    }

    /// Starts the server, and waits for its address.
    ///
    /// # Errors
    /// When it ends, or does not come up.
    pub(super) async fn start_server(
        &mut self,
        server: &Server,
        port: Option<u16>,
    ) -> Result<String, Failure> {
        // Addresses of servers that were killed are of no use to anyone.
        let _ = fs::remove_dir_all(server::ports(&self.data));
        fs::create_dir_all(server::ports(&self.data))?;
        self.start(Role::Server, server.command(&self.data, port))?;
        let deadline = Instant::now() + READY_MAX;
        let url = loop {
            let pid = self.members.last().and_then(Member::pid);
            if let Some(url) = pid.and_then(|pid| server::address(&self.data, pid)) {
                break url;
            }
            if let Some(failure) = self.look_for_end() {
                return Err(failure);
            }
            if Instant::now() >= deadline {
                return Err(Failure::failed("nats-server does not come up"));
            }
            sleep(LOOK_EVERY / 4).await;
        };
        // When it is started again it must be where everyone looks for it.
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
        if let Some(member) = self.members.last_mut() {
            member.command = server.command(&self.data, port);
        }
        Ok(url)
    }

    /// Starts schedulers `s1`, `s2`.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(super) fn start_schedulers(&mut self, config: &Config, count: u16) -> Result<(), Failure> {
        self.environment = config.as_environment();
        for n in 1..=count {
            let id = format!("s{n}");
            let mut command = self.dsbus(config);
            command.extend(["scheduler", "--id", &id].map(Into::into));
            self.start(Role::Scheduler(id), command)?;
        }
        Ok(())
    }

    /// Starts workers.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(super) fn start_workers(
        &mut self,
        config: &Config,
        names: &[WorkerName],
    ) -> Result<(), Failure> {
        self.environment = config.as_environment();
        for name in names {
            let mut command = self.dsbus(config);
            command.extend(["worker", "--name", name.as_str(), "--dir"].map(Into::into));
            command.push(self.data.join("workers").join(name.as_str()).into());
            self.start(Role::Worker(name.clone()), command)?;
        }
        Ok(())
    }

    /// Starts a gateway.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start_gateway(&mut self, config: &Config, at: &Listen) -> Result<(), Failure> {
        self.environment = config.as_environment();
        let mut command = self.dsbus(config);
        let address = match at {
            Listen::Tcp(address) => address.to_string(),
            Listen::Unix(path) => format!("unix:{}", path.display()),
        };
        command.extend(["gateway", "--listen", &address].map(Into::into));
        self.start(Role::Gateway, command)
    }

    fn dsbus(&self, config: &Config) -> Vec<std::ffi::OsString> {
        let mut command = vec![self.binary.clone().into()];
        command.extend(config.as_arguments());
        command
    }

    /// Resolves with the first process that ends.
    pub(super) async fn first_end(&mut self) -> Failure {
        let mut ticks = interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            if let Some(failure) = self.look_for_end() {
                return failure;
            }
        }
    }

    fn look_for_end(&mut self) -> Option<Failure> {
        self.members.iter_mut().find_map(|member| {
            let status = member.ended()?;
            let said = format!("{} ended ({}); its log ends:", member.role, describe(status));
            Some(Failure::failed(format!("{said}\n{}", member.tail())))
        })
    }

    /// Watches for ever: tells what ends, and starts it again in a while.
    pub(super) async fn watch(&mut self) -> Infallible {
        let mut ticks = interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            for member in &mut self.members {
                if let Some(status) = member.ended() {
                    tell_end(member, status, &self.data);
                }
                if member.back_at.is_some_and(|at| Instant::now() >= at) {
                    come_back(member);
                }
            }
        }
    }

    /// Stops everything: workers first, so that they can tell the schedulers, the bus last.
    /// Resolves when all of it has ended; a second wish to stop makes short work of it.
    pub(super) async fn stop(&mut self, stop: &mut Stop) {
        let bus = self.members.iter().any(|member| matches!(member.role, Role::Server));
        output::note(if bus {
            "stopping workers, schedulers and the bus"
        } else {
            "stopping workers and schedulers"
        });
        let orderly = async {
            self.stop_all(|role| matches!(role, Role::Gateway), STOP_MAX).await;
            self.stop_all(|role| matches!(role, Role::Worker(_)), WORKERS_STOP_MAX).await;
            self.stop_all(|role| matches!(role, Role::Scheduler(_)), STOP_MAX).await;
            self.stop_all(|role| matches!(role, Role::Server), STOP_MAX).await;
        };
        let asked_again = tokio::select! {
            () = orderly => false,
            () = stop.asked() => true,
        };
        if asked_again {
            output::note("killing what still runs");
        }
        for member in &mut self.members {
            member.signal(Signal::SIGKILL);
            member.end().await;
        }
    }

    async fn stop_all(&mut self, which: impl Fn(&Role) -> bool, limit: Duration) {
        let mut members: Vec<&mut Member> =
            self.members.iter_mut().filter(|member| which(&member.role)).collect();
        for member in &members {
            member.signal(Signal::SIGTERM);
        }
        let all = futures::future::join_all(members.iter_mut().map(|member| member.end()));
        if timeout(limit, all).await.is_ok() {
            return;
        }
        for member in members.iter_mut().filter(|member| member.pid().is_some()) {
            let after = limit.as_secs();
            output::note(format_args!("{} did not stop in {after} s: killing it", member.role));
            member.signal(Signal::SIGKILL);
            member.end().await;
        }
    }
}

fn come_back(member: &mut Member) {
    match member.start_again() {
        Ok(()) => output::note(format_args!("{} is back", member.role)),
        Err(failure) => {
            let (role, seconds) = (&member.role, REBOOT.as_secs());
            let why = failure.message;
            output::note(format_args!("{role} does not start ({why}); again in {seconds} s"));
            member.back_at = Some(Instant::now() + REBOOT);
        }
    }
}

fn tell_end(member: &mut Member, status: ExitStatus, data: &std::path::Path) {
    let away = match &member.role {
        Role::Server | Role::Gateway => RESTART,
        Role::Scheduler(_) | Role::Worker(_) => REBOOT,
    };
    member.back_at = Some(Instant::now() + away);
    let meant = match &member.role {
        Role::Worker(name) => fs::remove_file(home::killed(data, name)).is_ok(),
        Role::Server | Role::Scheduler(_) | Role::Gateway => false,
    };
    let (role, seconds) = (&member.role, away.as_secs());
    if meant {
        output::note(format_args!(
            "{role} was killed; it comes back in {seconds} s, as after a reboot"
        ));
    } else {
        output::note(format_args!(
            "{role} ended unexpectedly ({}); it comes back in {seconds} s. {} ends:\n{}",
            describe(status),
            member.log.display(),
            member.tail()
        ));
    }
}
