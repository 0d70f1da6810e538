//! What passes between the driver and the agent.

use crate::agent_link::Change;
use crate::clock::{self, Now};
use crate::poller::Ready;
use crate::protocol::{Hello, ToAgent, ToSupervisor};

use super::{Driver, Ending};
use dsbus_schema::event::WorkerChange;

impl Driver {
    /// Starts the agent when there is none, and replaces one that does not answer.
    pub(super) fn tend_agent(&mut self, now: Now) {
        if self.agent.tend(now.boot) == Change::Started {
            self.greet();
        }
        if let Some(fd) = self.agent.fd() {
            self.poller.watch_writing(fd, self.agent.has_unsent());
        }
    }

    /// Tells a new agent how things stand, and everything that no agent has published yet.
    fn greet(&mut self) {
        if let Some(fd) = self.agent.fd()
            && let Err(e) = self.poller.add(Ready::Agent, fd)
        {
            tracing::error!("cannot listen to the agent: {e}");
        }
        let hello = Hello {
            worker: self.config.worker.clone(),
            incarnation: self.incarnation,
            generation: self.agent.generation(),
            started: self.started.wall,
            supervisor_pid: i32::try_from(std::process::id()).unwrap_or(0),
            directory: self.home.path().display().to_string(),
            stopping: self.ending != Ending::Not,
            children: self.children.iter().cloned().collect(),
            facilities: Vec::new(),
            leases: self.table.leases(),
        };
        self.agent.send(&ToAgent::Hello(hello));
        for line in self.reports.waiting() {
            self.agent.send_line(line);
        }
        if matches!(self.ending, Ending::Bye(_)) {
            self.agent.send(&ToAgent::Bye);
        }
    }

    /// The agent is dead; while the worker lives, a new one takes its place.
    pub(super) fn agent_died(&mut self, now: Now) {
        self.agent.lost(now.boot);
    }

    pub(super) fn hear_agent(&mut self) {
        let now = clock::now();
        self.agent.flush();
        match self.agent.receive(now.boot) {
            Some(said) => {
                for message in said {
                    self.heed(message, now);
                }
            }
            None => self.agent_died(now),
        }
    }

    fn heed(&mut self, message: ToSupervisor, now: Now) {
        let effects = match message {
            ToSupervisor::Sync { orders } => {
                let home = &self.home;
                self.table.sync(orders, |name, spec| Driver::files(home, name, spec), now)
            }
            ToSupervisor::Place { order } => {
                let home = &self.home;
                self.table.place(*order, |name, spec| Driver::files(home, name, spec), now)
            }
            ToSupervisor::Unplace { name } => {
                self.table.handle(&name, crate::instance::Input::Unplace, now)
            }
            ToSupervisor::Lease { seconds, until } => self.table.lease(seconds, until, now),
            ToSupervisor::Done { through } => return self.published(through),
            ToSupervisor::Ping { number } => return self.agent.send(&ToAgent::Pong { number }),
            ToSupervisor::Pong { .. }
            | ToSupervisor::Probed { .. }
            | ToSupervisor::ClearLogs { .. } => return,
            ToSupervisor::NameTaken { by } => return self.name_taken(&by),
            ToSupervisor::Unusable { why } => return self.give_up(&why, false),
            ToSupervisor::Finished => {
                if matches!(self.ending, Ending::Bye(_)) {
                    self.ending = Ending::Done;
                }
                return;
            }
        };
        self.perform(effects, now);
    }

    fn name_taken(&mut self, by: &str) {
        let worker = self.config.worker.clone();
        if self.ending == Ending::Not {
            self.worker_event(WorkerChange::NameTaken, Some(format!("it is held by {by}")));
        }
        self.give_up(&format!("the name {worker} is held by {by}"), true);
    }

    fn give_up(&mut self, why: &str, fence: bool) {
        if self.ending == Ending::Not {
            tracing::error!("{why}");
            self.exit_code = 1;
            self.stop(why, fence);
        }
    }
}
