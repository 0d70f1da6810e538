//! What passes between the driver and the agent.

use std::sync::Arc;

use dsbus_schema::call::Channel;
use dsbus_schema::event::WorkerChange;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::worker::Capacity;

use crate::agent_link::Change;
use crate::capacity::capacity;
use crate::clock::{self, Now};
use crate::instance::Instance;
use crate::poller::Ready;
use crate::protocol::{Hello, ToAgent, ToSupervisor};

use super::{Driver, Ending, Source};
use crate::facilities::facilities;

impl Driver {
    /// Starts the agent when there is none, and replaces one that does not answer.
    pub(super) fn tend_agent(&mut self, now: Now) {
        if self.agent.tend(now.boot) == Change::Started {
            self.greet();
        }
    }

    /// Tells the agent what one turn of the loop said; reports are on disk before it hears of them.
    pub(super) fn tell_agent(&mut self) {
        self.save_reports();
        self.hand_out();
        if let Some(on) = self.agent.awaits_reading()
            && let Some(fd) = self.agent.fd()
        {
            self.poller.watch_writing(fd, on);
        }
    }

    /// Tells a new agent how things stand.
    fn greet(&mut self) {
        if let Some(fd) = self.agent.fd()
            && let Err(e) = self.poller.add(Ready::Agent, fd)
        {
            tracing::error!("cannot listen to the agent: {e}");
        }
        self.hear_words();
        let held = self.table.held();
        let hello = Hello {
            worker: self.config.worker.clone(),
            incarnation: self.incarnation,
            generation: self.agent.generation(),
            started: self.started.wall,
            supervisor_pid: i32::try_from(std::process::id()).unwrap_or(0),
            directory: self.home.path().display().to_string(),
            stopping: !self.goes_on(),
            draining: matches!(self.ending, Ending::Draining(_)),
            children: self.children.iter().map(|living| living.child.clone()).collect(),
            facilities: facilities(&self.machine, &self.config.settings),
            labels: self.config.settings.labels.clone(),
            capacity: self.capacity(),
            policy: self.machine.policy_facts(&self.config.settings.policy),
            seal_key: Some(self.secrets.public_key()),
            leases: self.table.leases(),
            held: held.len(),
            memory: Some(self.table.memory()),
        };
        self.agent.send(&ToAgent::Hello(hello));
        for (name, placement) in held {
            self.agent.send(&ToAgent::Held { name, placement: Box::new(placement) });
        }
        for (name, placement) in self.table.all_let_go() {
            let (name, placement) = (name.clone(), Box::new(placement.clone()));
            self.agent.send(&ToAgent::LetGo { name, placement });
        }
        for (name, status) in self.table.statuses() {
            let (name, status) = (name.clone(), Box::new(status));
            self.agent.send(&ToAgent::Stands { name, status });
        }
        // It is given them when all this is said.
        self.reports.take_back();
        self.bye_said = false;
        let names: Vec<_> = self.secrets.names().cloned().collect();
        for name in names {
            self.agent.send(&ToAgent::Secret { name });
        }
        for said in self.questions.waiting() {
            self.agent.send(&said);
        }
    }

    /// Tells the agent what its owner says of the worker.
    pub(super) fn describe(&mut self) {
        let (labels, capacity) = (self.config.settings.labels.clone(), self.capacity());
        let policy = self.machine.policy_facts(&self.config.settings.policy);
        self.agent.send(&ToAgent::Described { labels, capacity, policy });
    }

    fn capacity(&self) -> Capacity {
        let children = self.machine.cgroups.as_ref().map(|root| root.path.as_path());
        capacity(self.config.settings.capacity, children)
    }

    /// What the agent logs goes into the worker's own log file, where there is one.
    fn hear_words(&mut self) {
        let Some(words) = self.agent.words() else { return };
        self.last_source += 1;
        let number = self.last_source;
        if let Err(e) = self.poller.add(Ready::Source(number), words) {
            tracing::error!("cannot hear what the agent logs: {e}");
        }
        self.sources.retain(|_, source| !matches!(source, Source::Words));
        self.sources.insert(number, Source::Words);
    }

    /// The agent was reaped.
    pub(super) fn bury_agent(&mut self, pid: i32, now: Now) {
        // Its last words may still be in the socket.
        self.hear_agent();
        if self.ending != Ending::Done {
            tracing::warn!("the agent (pid {pid}) died");
        }
        self.agent_died(now);
    }

    /// The agent is dead; while the worker lives, a new one takes its place.
    pub(super) fn agent_died(&mut self, now: Now) {
        self.agent.lost(now.boot);
    }

    pub(super) fn hear_agent(&mut self) {
        let now = clock::now();
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
        match message {
            ToSupervisor::Sync { orders, keep, let_go } => {
                self.sync(orders, &keep, let_go.as_ref(), now);
            }
            ToSupervisor::Anew(anew) => self.table.began_anew(anew),
            ToSupervisor::Place { order } => self.place(order, now),
            ToSupervisor::Unplace { name } => self.unplace(&name, now),
            ToSupervisor::Lease { seconds, until } => {
                let effects = self.table.lease(seconds, until, now);
                self.perform(effects, now);
            }
            ToSupervisor::Done { through } => self.published(through),
            ToSupervisor::Ping { number } => {
                self.agent.send(&ToAgent::Pong { number });
                self.agent.flush();
            }
            ToSupervisor::Pong { .. } => {}
            ToSupervisor::Probed { number, trouble } => {
                if let Some((name, input)) = self.questions.answered(number, trouble) {
                    let effects = self.table.handle(&name, input, now);
                    self.perform(effects, now);
                }
            }
            ToSupervisor::Secret { name, found } => self.hear_secret(&name, found.as_deref()),
            ToSupervisor::ClearLogs { number, name, forget } => {
                let done = if forget { self.forget_later(&name) } else { self.clear_logs(&name) };
                let (trouble, unknown) = match done {
                    Ok(()) => (None, false),
                    Err(why) => (Some(why), self.table.get(&name).is_none()),
                };
                self.agent.send(&ToAgent::Cleared { number, trouble, unknown });
            }
            ToSupervisor::Signal { number, ask } => {
                let outcome = self.signal_child(ask, now);
                self.agent.send(&ToAgent::Handed { number, outcome });
            }
            ToSupervisor::Stdin { number, ask } => {
                let outcome = self.write_stdin(ask, now);
                self.agent.send(&ToAgent::Handed { number, outcome });
            }
            ToSupervisor::NameTaken { by } => self.name_taken(&by),
            ToSupervisor::Unusable { why } => self.give_up(&why, false),
            ToSupervisor::Drained => {
                if matches!(self.ending, Ending::Draining(_)) {
                    self.stop("SIGTERM; its instances were given away", false);
                }
            }
            ToSupervisor::Finished => {
                if matches!(self.ending, Ending::Bye(_)) {
                    self.ending = Ending::Done;
                }
            }
        }
    }

    /// Empties the logs of an instance, whether it has a child or not.
    fn clear_logs(&mut self, name: &InstanceId) -> Result<(), String> {
        let spec = self.table.get(name).map(|instance| Arc::clone(instance.spec()));
        let spec = spec.ok_or_else(|| format!("{name} is not placed here"))?;
        for channel in [Channel::Stdout, Channel::Stderr] {
            let plan = self.plan(name, &spec, channel);
            self.streams.outputs.clear(&plan)?;
        }
        Ok(())
    }

    /// Removes the directory of an instance when it is taken away. Nobody is to read its logs then.
    fn forget_later(&mut self, name: &InstanceId) -> Result<(), String> {
        let epoch = self.table.get(name).map(Instance::epoch);
        let epoch = epoch.ok_or_else(|| format!("{name} is not placed here"))?;
        // Those that are not here any more were placed anew, or their placement was lost.
        let table = &self.table;
        self.forgotten.retain(|known, epoch| table.get(known).map(Instance::epoch) == Some(*epoch));
        self.forgotten.insert(name.clone(), epoch);
        Ok(())
    }

    fn name_taken(&mut self, by: &str) {
        let worker = self.config.worker.clone();
        if self.goes_on() {
            self.worker_event(WorkerChange::NameTaken, Some(format!("it is held by {by}")));
        }
        self.nameless = true;
        self.give_up(&format!("the name {worker} is held by {by}"), true);
    }

    fn give_up(&mut self, why: &str, fence: bool) {
        if self.goes_on() {
            tracing::error!("{why}");
            self.exit_code = 1;
            self.stop(why, fence);
        } else if fence {
            // It was stopping already, and exclusive children may not take their time any longer.
            let now = clock::now();
            let effects = self.table.shutdown(true, now);
            self.perform(effects, now);
        }
    }
}
