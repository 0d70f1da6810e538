//! The loop: sleep until something happens, tell the table, do the effects. No decisions here.

mod agent_side;

use std::collections::VecDeque;
use std::time::Duration;

use dsbus_schema::call::Channel;
use dsbus_schema::event::{WorkerChange, WorkerFact};
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId};
use dsbus_schema::moment::BootTime;
use dsbus_schema::program::ProgramSpec;
use uuid::Uuid;

use crate::agent_link::AgentLink;
use crate::children::{Children, Start};
use crate::clock::{self, Now};
use crate::facilities::Machine;
use crate::home::Home;
use crate::instance::{Effect, Files, Input};
use crate::poller::{Poller, Ready};
use crate::protocol::{ProcessEvent, Reported, ToAgent};
use crate::report::Reports;
use crate::spawn::Who;
use crate::table::{Effects, Table};
use crate::{Config, Fatal, spawn};

/// How long the agent may take to publish the last reports before the worker ends without it.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
/// How often a process group is looked at that does not become empty; mostly the death of its last
/// member is told earlier.
const LINGER_LOOK: Duration = Duration::from_millis(20);
/// When the loop was away for this much longer than it meant to, this process was frozen.
const FROZEN: Duration = Duration::from_millis(500);

/// How far a worker is on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Not,
    /// Children are being stopped.
    Stopping,
    /// None is left; the agent publishes the last reports until then.
    Bye(BootTime),
    Done,
}

/// A worker's process side.
struct Driver {
    config: Config,
    incarnation: Incarnation,
    machine: Machine,
    starts: u64,
    started: Now,
    home: Home,
    poller: Poller,
    table: Table,
    children: Children,
    reports: Reports,
    agent: AgentLink,
    ending: Ending,
    exit_code: u8,
}

/// Runs a worker until it is told to stop. Returns its exit code.
///
/// # Errors
/// When it cannot even begin: its state directory is in use, or cannot be written.
pub fn run(config: Config) -> Result<u8, Fatal> {
    spawn::keep_descriptors_private();
    let home = Home::open(&config.directory)?;
    let poller = Poller::new()?;
    spawn::adopt_orphans();
    let incarnation = Incarnation(Uuid::now_v7());
    home.note_run(incarnation);
    tracing::info!("worker {} starts in {}", config.worker, home.path().display());
    let mut driver = Driver {
        table: Table::new(config.worker.clone(), incarnation),
        agent: AgentLink::new(config.agent.clone()),
        config,
        incarnation,
        machine: Machine::without_cgroups(),
        starts: 0,
        started: clock::now(),
        home,
        poller,
        children: Children::default(),
        reports: Reports::default(),
        ending: Ending::Not,
        exit_code: 0,
    };
    driver.run();
    Ok(driver.exit_code)
}

impl Driver {
    fn run(&mut self) {
        let mut slept_until = None;
        loop {
            let now = clock::now();
            if slept_until.is_some_and(|at| now.boot.since(at) > FROZEN) {
                tracing::warn!("this process was frozen for a while");
                self.agent.forgive(now.boot);
            }
            self.tend(now);
            if self.ending == Ending::Done {
                self.end();
                return;
            }
            let deadline = self.deadline(now);
            let asleep = clock::now().boot;
            let ready = self.poller.wait(deadline, asleep);
            slept_until = deadline.map(|at| at.max(asleep));
            self.wake(&ready);
        }
    }

    /// Everything that time brings.
    fn tend(&mut self, now: Now) {
        let effects = self.table.tick(now);
        self.perform(effects, now);
        self.bury(now);
        self.tend_agent(now);
        if self.ending == Ending::Stopping && self.table.childless() && self.children.is_empty() {
            tracing::info!("no child is left");
            self.worker_event(WorkerChange::Stopped, None);
            self.agent.send(&ToAgent::Bye);
            self.ending = Ending::Bye(now.boot + LAST_WORDS_MAX);
        }
        if let Ending::Bye(until) = self.ending
            && now.boot >= until
        {
            tracing::warn!("the agent could not publish everything in time");
            self.ending = Ending::Done;
        }
        let last_resort = if self.children.is_empty() { None } else { self.table.last_resort() };
        self.poller.set_last_resort(last_resort);
    }

    fn deadline(&self, now: Now) -> Option<BootTime> {
        let ending = match self.ending {
            Ending::Bye(until) => Some(until),
            Ending::Not | Ending::Stopping | Ending::Done => None,
        };
        let linger = self.children.some_linger().then(|| now.boot + LINGER_LOOK);
        let agent = Some(self.agent.deadline());
        [self.table.deadline(), ending, linger, agent].into_iter().flatten().min()
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
                Ready::Pipe(pipe) => self.children.read(*pipe),
            }
        }
    }

    fn heed_signals(&mut self) {
        for signal in self.poller.signals() {
            match signal {
                libc::SIGCHLD => {
                    let now = clock::now();
                    for other in self.children.reap() {
                        if self.agent.pid() == Some(other) {
                            // Its last words may still be in the socket.
                            self.hear_agent();
                            if self.ending != Ending::Done {
                                tracing::warn!("the agent (pid {other}) died");
                            }
                            self.agent_died(now);
                        }
                    }
                    self.bury(now);
                }
                libc::SIGTERM => self.stop("SIGTERM", false),
                libc::SIGINT => self.stop("SIGINT", false),
                _ => tracing::info!("signal {signal} is ignored"),
            }
        }
    }

    /// Tells the table of children that are gone.
    fn bury(&mut self, now: Now) {
        for gone in self.children.gone(&self.home) {
            self.agent.send(&ToAgent::ChildGone { pid: gone.pid });
            let input = Input::Ended { exit: gone.exit, stderr_line: gone.stderr_line };
            let effects = self.table.handle(&gone.name, input, now);
            self.perform(effects, now);
        }
    }

    /// Begins to stop the worker; asked again, kills at once.
    fn stop(&mut self, why: &str, fence: bool) {
        let now = clock::now();
        if self.ending != Ending::Not {
            tracing::warn!("{why} again: killing what is left");
            for child in self.children.iter() {
                self.children.signal(child.pid, libc::SIGKILL);
            }
            return;
        }
        tracing::info!("stopping: {why}");
        self.ending = Ending::Stopping;
        self.worker_event(WorkerChange::Stopping, Some(why.to_owned()));
        self.agent.send(&ToAgent::Stopping { reason: why.to_owned() });
        let effects = self.table.shutdown(fence, now);
        self.perform(effects, now);
    }

    /// Does what the table wants done, and what comes of it.
    fn perform(&mut self, effects: Effects, now: Now) {
        let mut left = VecDeque::from(effects);
        while let Some((name, effect)) = left.pop_front() {
            match effect {
                Effect::Spawn { spec, epoch } => {
                    let input = self.spawn(&name, &spec, epoch);
                    left.extend(self.table.handle(&name, input, now));
                }
                Effect::Signal { pid, signal } => self.children.signal(pid, signal.number()),
                Effect::Kill { pid } => self.children.signal(pid, libc::SIGKILL),
                Effect::Report { mut status, fact } => {
                    let event = fact.map(|fact| {
                        let id = Uuid::now_v7();
                        status.event = Some(id);
                        Box::new(ProcessEvent { id, time: now.wall, fact: *fact })
                    });
                    self.report(Reported::Instance { name, status, event });
                }
                Effect::Gone { epoch } => self.report(Reported::Gone { name, epoch }),
                Effect::Worker { change, reason } => self.worker_event(change, Some(reason)),
            }
        }
    }

    fn spawn(&mut self, name: &InstanceId, spec: &ProgramSpec, epoch: Epoch) -> Input {
        // Before it lives: this process may be frozen right after.
        self.poller.last_resort_by(self.table.last_resort_of(spec));
        self.starts += 1;
        let directory = self.home.instance(name);
        let who = Who {
            name,
            epoch,
            worker: &self.config.worker,
            fleet: &self.config.fleet,
            home: &directory,
            settings: &self.config.settings,
            machine: &self.machine,
            notify: None,
            incarnation: self.incarnation,
            number: self.starts,
        };
        let start = Start { spec, who: &who };
        match self.children.start(&self.home, &self.poller, name, &start) {
            Ok(child) => {
                let pid = child.pid;
                self.agent.send(&ToAgent::Child(child));
                Input::Spawned { pid }
            }
            Err(why) => Input::SpawnFailed { why },
        }
    }

    fn files(home: &Home, name: &InstanceId) -> Files {
        let path = |channel| home.log(name, channel).display().to_string();
        Files { stdout: path(Channel::Stdout), stderr: path(Channel::Stderr) }
    }

    fn report(&mut self, what: Reported) {
        let report = self.reports.push(what).clone();
        self.agent.send(&ToAgent::Report(report));
    }

    /// The bus has reports again; if some were dropped meanwhile, that is told after them.
    fn published(&mut self, through: u64) {
        self.reports.done(through);
        let dropped = if self.reports.is_empty() { self.reports.take_dropped() } else { 0 };
        if dropped > 0 {
            let reason = format!("the bus was away for too long: {dropped} reports were dropped");
            tracing::error!("{reason}");
            self.worker_event(WorkerChange::EventsDropped, Some(reason));
        }
    }

    fn worker_event(&mut self, change: WorkerChange, reason: Option<String>) {
        let fact = WorkerFact {
            worker: self.config.worker.clone(),
            change,
            reason,
            incarnation: Some(self.incarnation),
        };
        let (id, time) = (Uuid::now_v7(), clock::now().wall);
        self.report(Reported::Worker { id, time, fact });
    }

    /// Nothing is left to do: the agent is told by the closing of its socket.
    fn end(&mut self) {
        let now = clock::now().boot;
        self.agent.lost(now);
    }
}
