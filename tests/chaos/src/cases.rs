//! Failures that were thought of, each played by itself: `chaos case NAME`. Each ends with what it
//! measured, or with what went wrong.

mod bus;
mod commands;
mod freezes;
mod losses;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use dsbus_client::Bus;
use dsbus_schema::status::InstanceRow;
use nix::sys::signal::Signal;
use uuid::Uuid;

use crate::clock::look;
use crate::daemon::Daemon;
use crate::ear::{Ear, Placed};
use crate::fleet::{DEADLINE, Fleet, LOOK, Size, instances};
use crate::hosts::Hosts;
use crate::lives::{self, Life};
use crate::programs::{self, Keys};
use crate::{Outcome, fleet, process};

/// A failure that was thought of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// The leader of the stream of placements is killed again and again, with 200 leases: no move
    LeaderKilled,
    /// The only NATS server is away for a while: no move, exclusive children come back in place
    ServerDown,
    /// A scheduler is frozen while a lease expires, and thaws later: it does nothing wrong
    SchedulerFrozen,
    /// A worker's machine is frozen and thaws: the outdated child dies, its writes are refused
    MachineFrozen,
    /// No scheduler lives, and children crash: they start again, nothing moves, no event is lost
    NoSchedulers,
    /// Everything is killed and started in random order: what ran runs, what was stopped is stopped
    AllAtOnce,
    /// The machine of a worker loses power, and with it the NATS server that the only scheduler speaks to
    PowerLost,
    /// Fifty commands at once from ten clients: one answer each, and one effect
    FiftyCommands,
}

impl Case {
    fn size(self) -> Size {
        let of = |nats, schedulers, workers| Size { nats, schedulers, workers };
        match self {
            Case::LeaderKilled => of(3, 2, 3),
            Case::ServerDown | Case::SchedulerFrozen | Case::MachineFrozen => of(1, 2, 2),
            Case::NoSchedulers => of(1, 2, 3),
            Case::AllAtOnce => of(3, 2, 3),
            Case::PowerLost => of(3, 1, 2),
            Case::FiftyCommands => of(1, 3, 3),
        }
    }

    /// Plays it; lines that tell what was measured. Where no host is cut, all share the loopback.
    pub(crate) async fn play(
        self,
        hosts: Hosts,
        directory: PathBuf,
        short: bool,
    ) -> Outcome<Vec<String>> {
        let fleet = Arc::new(Fleet::start(hosts, directory, self.size()).await?);
        let stage = Stage {
            bus: fleet.bus("chaos case").await?,
            ear: Ear::listen(&fleet.urls()).await?,
            fleet,
        };
        let told = match self {
            Case::LeaderKilled => bus::leader_killed(&stage, short).await,
            Case::ServerDown => bus::server_down(&stage, short).await,
            Case::SchedulerFrozen => freezes::scheduler_frozen(&stage).await,
            Case::MachineFrozen => freezes::machine_frozen(&stage, short).await,
            Case::NoSchedulers => losses::no_schedulers(&stage, short).await,
            Case::AllAtOnce => losses::all_at_once(&stage, short).await,
            Case::PowerLost => losses::power_lost(&stage, short).await,
            Case::FiftyCommands => commands::fifty_commands(&stage).await,
        };
        stage.fleet.end().await?;
        told
    }

    /// The hosts that it needs.
    pub(crate) fn hosts(self) -> Outcome<Hosts> {
        Hosts::build(&fleet::host_names(self.size()), self == Case::PowerLost)
    }
}

/// What cases share.
struct Stage {
    fleet: Arc<Fleet>,
    bus: Bus,
    ear: Ear,
}

impl Stage {
    /// Declares programs, and waits until all of them run.
    async fn apply(&self, programs: Vec<(String, Keys)>) -> Outcome<()> {
        // Nobody may answer in time; sent again under its id it acts once.
        let (bus, id) = (&self.bus, Uuid::now_v7());
        look("programs to be declared", DEADLINE, LOOK, async move || {
            let declared = programs::apply(bus, id, programs.clone()).await;
            declared.map(drop).map_err(|e| e.to_string())
        })
        .await?;
        self.all_run().await.map(drop)
    }

    /// Waits until all instances are acted on and have one child where they are to run, else none.
    async fn all_run(&self) -> Outcome<Vec<InstanceRow>> {
        self.wait("all to be as wanted", |rows| {
            let wrong = rows.iter().find(|row| {
                row.acted != row.wanted
                    || (row.state == dsbus_schema::state::State::Running) != row.wanted.run
            });
            if rows.is_empty() { Some("nothing is declared".to_owned()) } else { wrong.map(told) }
        })
        .await
    }

    /// Waits until `wrong` finds nothing in the rows of all instances.
    async fn wait(
        &self,
        what: &str,
        wrong: impl Fn(&[InstanceRow]) -> Option<String>,
    ) -> Outcome<Vec<InstanceRow>> {
        look(what, DEADLINE, LOOK, async || {
            let rows = instances(&self.bus).await?;
            match wrong(&rows) {
                Some(wrong) => Err(wrong),
                None => Ok(rows),
            }
        })
        .await
    }

    /// Every placement so far of instances of `program`, once all was heard.
    async fn placed(&self, program: &str) -> Outcome<Vec<Placed>> {
        self.ear.catch_up(DEADLINE).await?;
        let of = format!("{program}:");
        Ok(self.ear.heard().placed.into_iter().filter(|p| p.instance.starts_with(&of)).collect())
    }

    /// Fails unless each instance of `program` was placed once, and never again.
    async fn assert_no_move(&self, program: &str) -> Outcome<()> {
        let mut placed = self.placed(program).await?;
        placed.sort_by(|a, b| (&a.instance, a.epoch).cmp(&(&b.instance, b.epoch)));
        match placed.windows(2).find(|pair| pair[0].instance == pair[1].instance) {
            Some(pair) => Err(format!("it was placed anew: {pair:?}").into()),
            None => Ok(()),
        }
    }

    /// Fails when two copies of an instance of `program` lived at once.
    fn assert_single(&self, program: &str) -> Outcome<()> {
        let of = format!("{program}:");
        match lives::overlaps(&self.lives()?, |name| name.starts_with(&of)).first() {
            Some(overlap) => Err(format!("two copies: {overlap:?}").into()),
            None => Ok(()),
        }
    }

    /// Fails when an event of a worker is missing.
    async fn assert_gapless(&self) -> Outcome<()> {
        let rows = instances(&self.bus).await?;
        let last = crate::statuses::read(&self.bus, &rows).await.into_iter().collect();
        self.ear.catch_up(DEADLINE).await?;
        // An event that was on its way to the ear when a server was cut off comes again.
        look("every event to be heard", DEADLINE, LOOK, async || {
            let gap = self.ear.heard().gaps(&last).first().map(ToString::to_string);
            gap.map_or(Ok(()), |gap| Err(format!("lost events: {gap}")))
        })
        .await
    }

    fn lives(&self) -> Outcome<Vec<Life>> {
        lives::read(&self.fleet.directory)
    }

    /// The one child of an instance.
    fn child(&self, instance: &str) -> Option<i32> {
        let all = process::witnesses(&self.fleet.directory);
        all.into_iter().find(|(_, of)| of == instance).map(|(pid, _)| pid)
    }

    /// Waits until all workers are ready.
    async fn workers_ready(&self) -> Outcome<()> {
        look("all workers to be ready", DEADLINE, LOOK, async || {
            let rows = fleet::workers(&self.bus).await?;
            let other =
                rows.iter().find(|row| row.state != dsbus_schema::state::WorkerState::Ready);
            other.map_or(Ok(()), |row| Err(format!("{} is {}", row.name, row.state)))
        })
        .await
    }
}

/// kill -9 of a daemon, of a worker's both processes; it stays away until [`back`].
async fn kill(daemon: &Daemon) -> Outcome<()> {
    let agent = daemon.pid().and_then(|pid| Fleet::below(pid).0);
    daemon.fault_begins();
    daemon.again(None);
    daemon.signal(Signal::SIGKILL);
    if let Some(agent) = agent {
        process::signal(agent, Signal::SIGKILL);
    }
    look("it to end", DEADLINE, LOOK, async || {
        if daemon.pid().is_none() { Ok(()) } else { Err(daemon.name.clone()) }
    })
    .await
}

/// Starts a daemon again that was killed.
async fn back(daemon: &Daemon) -> Outcome<()> {
    daemon.as_usual();
    daemon.fault_ends();
    look("it to run", DEADLINE, LOOK, async || {
        if daemon.pid().is_some() { Ok(()) } else { Err(daemon.name.clone()) }
    })
    .await
}

/// Something that lasts.
fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn told(row: &InstanceRow) -> String {
    format!("{} is {}, wanted {:?}, acted {:?}", row.name, row.state, row.wanted, row.acted)
}

/// A program that only sleeps.
fn sleeper(numprocs: u32, touch_timeout: u32) -> Keys {
    let keys = serde_json::json!({
        "command": ["sleep", "100000"], "numprocs": numprocs, "startsecs": 0,
        "touch_timeout": touch_timeout,
    });
    match keys {
        serde_json::Value::Object(keys) => keys,
        _ => Keys::new(),
    }
}
