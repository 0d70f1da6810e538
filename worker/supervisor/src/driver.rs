//! The loop: sleep until something happens, tell the table, do the effects. No decisions here.

mod agent_side;
mod deaths;
mod effects;
mod hands;
mod judging;
mod orders;
mod secrets;
mod signals;
mod standing;
mod start;
mod take_over;
mod telling;
mod upgrade;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use dsbus_schema::event::WorkerChange;
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId};
use dsbus_schema::moment::BootTime;
use dsbus_starter::Starter;

use crate::agent_link::AgentLink;
use crate::binaries::Binaries;
use crate::children::Children;
use crate::clock::{self, Now};
use crate::errands::Errands;
use crate::facilities::Machine;
use crate::home::Home;
use crate::notify::NotifySocket;
use crate::poller::{Poller, Ready};
use crate::questions::Questions;
use crate::report::Reports;
use crate::secrets::Secrets;
use crate::sockets::Sockets;
use crate::streams::Streams;
use crate::table::Table;
use crate::{Config, Fatal, spawn};
use upgrade::Upgrade;

pub(crate) use effects::Wanted;
pub(crate) use orders::Orders;
pub(crate) use upgrade::NotifyLeft;

/// How long the agent may take to publish the last reports before the worker ends without it.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
/// When a sleep took so much longer than it was meant to, this process was frozen.
const FROZEN: Duration = Duration::from_millis(500);
/// How long one kind of work may keep the loop from looking at signals and the agent: deaths are
/// repaired, and pings answered, within a few milliseconds whatever else there is to do.
const TURN: Duration = Duration::from_millis(3);

/// How far a worker is on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Not,
    /// It was told to stop, and gives its instances away before it does: until then at most.
    Draining(BootTime),
    /// Children are being stopped.
    Stopping,
    /// None is left; the agent publishes the last reports until then.
    Bye(BootTime),
    Done,
}

/// What a number of [`Ready::Source`] is about.
#[derive(Debug)]
enum Source {
    /// A pipe of output.
    Output,
    /// What the child of this number says of itself.
    Notify(u64, NotifySocket),
    /// Executable files.
    Binaries,
    /// What the agent logs.
    Words,
}

/// A worker's process side.
struct Driver {
    config: Config,
    incarnation: Incarnation,
    started: Now,
    home: Home,
    machine: Machine,
    poller: Poller,
    table: Table,
    children: Children,
    errands: Errands,
    questions: Questions,
    streams: Streams,
    sockets: Sockets,
    secrets: Secrets,
    binaries: Binaries,
    binaries_source: Option<u64>,
    reports: Reports,
    /// The agent was told that no report will follow.
    bye_said: bool,
    agent: AgentLink,
    /// Placements that are not acted on yet.
    orders: Orders,
    /// Children that are to be started: each instance asks for one at a time.
    wanted: VecDeque<Wanted>,
    /// Those of them that wait for a secret.
    held: Vec<Wanted>,
    /// Instances whose directory is removed when they are taken away, with their epoch. Never more than
    /// there are instances.
    forgotten: HashMap<InstanceId, Epoch>,
    /// How many children were started.
    starts: u64,
    sources: HashMap<u64, Source>,
    last_source: u64,
    /// Sources that are ready and had no turn yet; none twice.
    backlog: VecDeque<u64>,
    queued: HashSet<u64>,
    upgrade: Upgrade,
    ending: Ending,
    /// The program that the worker is for has ended.
    end_asked: Option<(u8, String)>,
    exit_code: u8,
    /// Whoever started the worker, and wants to hear how it stands.
    starter: Starter,
    /// The agent has told what is placed here.
    synced: bool,
    /// Another worker has the name: what is told under it from now on would be told of that one.
    nameless: bool,
}

/// Runs a worker until it is told to stop; one in whose place another version has come goes on as
/// that one. Returns its exit code.
///
/// # Errors
/// When it cannot even begin: its state directory is in use, or cannot be written.
pub fn run(mut config: Config) -> Result<u8, Fatal> {
    spawn::keep_descriptors_private();
    let mut driver = match config.handover.take() {
        None => Driver::begin(config)?,
        Some(handover) => Driver::take_over(config, handover)?,
    };
    driver.run();
    Ok(driver.exit_code)
}

impl Driver {
    fn run(&mut self) {
        loop {
            let now = clock::now();
            self.tend(now);
            self.tell_agent();
            if self.ending == Ending::Done {
                self.end();
                return;
            }
            let deadline = self.deadline(now);
            let asleep = clock::now().boot;
            let ready = self.poller.wait(deadline, asleep);
            let woken = clock::now().boot;
            if deadline.is_some_and(|at| woken.since(at.max(asleep)) > FROZEN) {
                tracing::warn!("this process was frozen for a while");
                self.agent.forgive(woken);
            }
            self.wake(&ready);
        }
    }

    /// Everything that time brings.
    fn tend(&mut self, now: Now) {
        let effects = self.table.tick(now);
        self.perform(effects, now);
        self.tend_errands(now);
        self.streams.outputs.tend(now.boot);
        self.adopt_daemons(now);
        self.bury(now);
        self.tend_secrets(now);
        self.start_children();
        self.children.tend(clock::now().boot);
        self.take_orders(now);
        self.restart_changed(now);
        self.tend_agent(now);
        if let Some((code, reason)) = self.end_asked.take()
            && self.goes_on()
        {
            self.exit_code = code;
            self.stop(&reason, false);
        }
        self.tend_ending(now);
        self.tend_upgrade(now);
        self.tend_starter(now.boot);
        self.poller.set_last_resort(self.last_resort());
    }

    /// When exclusive children must be gone, whatever this process is busy with.
    fn last_resort(&self) -> Option<BootTime> {
        let idle = self.children.is_empty() && self.errands.is_empty();
        if idle { None } else { self.table.last_resort() }
    }

    fn tend_ending(&mut self, now: Now) {
        if let Ending::Draining(until) = self.ending
            && now.boot >= until
        {
            tracing::warn!("not everything could be given away in time");
            self.stop("SIGTERM, and giving its instances away took too long", false);
        }
        if self.ending == Ending::Stopping && self.table.childless() && self.children.is_empty() {
            tracing::info!("no child is left");
            if !self.nameless {
                self.worker_event(WorkerChange::Stopped, None);
            }
            self.ending = Ending::Bye(now.boot + LAST_WORDS_MAX);
        }
        if let Ending::Bye(until) = self.ending
            && now.boot >= until
        {
            tracing::warn!("the agent could not publish everything in time; the next run will");
            self.ending = Ending::Done;
        }
    }

    /// Whether it does what it is told, and is not on its way out.
    fn goes_on(&self) -> bool {
        match self.ending {
            Ending::Not | Ending::Draining(_) => true,
            Ending::Stopping | Ending::Bye(_) | Ending::Done => false,
        }
    }

    fn deadline(&self, now: Now) -> Option<BootTime> {
        let ending = match self.ending {
            Ending::Draining(until) | Ending::Bye(until) => Some(until),
            Ending::Not | Ending::Stopping | Ending::Done => None,
        };
        let linger = self.children.deadline(now.boot);
        let busy = !self.backlog.is_empty() || !self.orders.is_empty() || !self.wanted.is_empty();
        let busy = (busy || self.reports_busy()).then_some(now.boot);
        let agent = Some(self.agent.deadline());
        let errands = self.errands.deadline();
        let binaries = self.binaries.deadline();
        let outputs = self.streams.outputs.deadline();
        let secrets = self.secrets.deadline();
        let (upgrade, starter) = (self.upgrade.deadline(), self.starter_deadline());
        let children = [self.table.deadline(), linger, errands, binaries, outputs];
        let all = [secrets, ending, busy, agent, upgrade, starter].into_iter().chain(children);
        all.flatten().min()
    }

    fn wake(&mut self, ready: &[Ready]) {
        // Signals first: a flood of output must not delay the restart of another child.
        if ready.contains(&Ready::Signal) {
            self.heed_signals();
        }
        for who in ready {
            match who {
                Ready::Signal => {}
                Ready::Timer => self.poller.timer_heard(),
                Ready::Agent => self.hear_agent(),
                Ready::Source(number) => {
                    if self.queued.insert(*number) {
                        self.backlog.push_back(*number);
                    }
                }
            }
        }
        // What has no turn now comes before what is ready next time: none is starved.
        let begin = clock::now();
        let mut now = begin;
        while now.boot.since(begin.boot) < TURN
            && let Some(number) = self.backlog.pop_front()
        {
            self.queued.remove(&number);
            self.read(number, now);
            now = clock::now();
        }
    }

    fn read(&mut self, number: u64, now: Now) {
        match self.sources.get(&number) {
            Some(Source::Output) => {
                let told = self.streams.read(number);
                self.tell_output(told, now);
            }
            Some(Source::Notify(child, socket)) => {
                let (child, said) = (*child, socket.recv());
                self.heed_notices(child, said, now);
            }
            Some(Source::Binaries) => self.binaries.read(now.boot),
            Some(Source::Words) => self.agent.pass_on_words(),
            // It was closed since it became ready.
            None => {}
        }
    }

    /// A number for something that is to be waited for.
    fn source(&mut self, source: Source) -> u64 {
        self.last_source += 1;
        self.sources.insert(self.last_source, source);
        self.last_source
    }

    /// Process ids that are ours to reap and no children's.
    fn others(&self) -> Vec<i32> {
        let agent = self.agent.pid().into_iter();
        let agent = agent.chain(self.upgrade.pid());
        agent.chain(self.errands.pids()).chain(self.streams.outputs.compressing()).collect()
    }

    /// Nothing is left to do: the agent is told by the closing of its socket.
    fn end(&mut self) {
        let now = clock::now().boot;
        self.agent.lost(now);
        if let Some(root) = &self.machine.cgroups {
            root.remove();
        }
    }
}
