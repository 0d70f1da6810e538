//! What the worker tells about itself and its machine: its record in the workers bucket.

use dsbus_schema::moment::BootTime;
use dsbus_schema::worker::{Capacity, Facts, Labels, Worker};

use crate::bus_side::BusSide;
use crate::clock;
use crate::errands;
use crate::facts::look::Busy;
use crate::run::Agent;

impl BusSide {
    fn record(&self, facts: Facts) -> Worker {
        let (me, hello) = (&self.me, &self.hello);
        Worker {
            name: hello.worker.clone(),
            machine: me.machine.clone(),
            boot: me.boot,
            directory: me.directory.clone(),
            host: me.host.clone(),
            incarnation: me.incarnation,
            agent_pid: nix::unistd::getpid().as_raw(),
            supervisor_pid: hello.supervisor_pid,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: hello.started,
            facilities: hello.facilities.clone(),
            labels: hello.labels.clone(),
            capacity: hello.capacity,
            facts,
            stopping: hello.stopping,
        }
    }
}

impl Agent {
    /// Looks at the machine when it is time to, and writes the record when there is news.
    pub(crate) fn look(&mut self, now: BootTime) {
        if self.bus.watched.due_slowly(now) {
            self.errands.spawn(errands::look_slowly(self.bus.me.directory.clone()));
        }
        if !self.bus.watched.due(now) {
            return;
        }
        self.bus.watched.seen(Busy::look(), now);
        // One that is still being written would be replaced by one that says little more.
        let free = self.bus.told && !self.bus.recording();
        if free && self.bus.watched.worth_telling(&self.bus.watched.facts(now, clock::wall()), now)
        {
            self.record(now);
        }
    }

    /// What the worker's owner says of it has changed.
    pub(crate) fn described(&mut self, labels: Labels, capacity: Capacity, now: BootTime) {
        let hello = &mut self.bus.hello;
        if (&hello.labels, hello.capacity) == (&labels, capacity) {
            return;
        }
        (hello.labels, hello.capacity) = (labels, capacity);
        if self.bus.told {
            self.record(now);
        }
    }

    /// The worker was told to stop. Its leases are held until its children are gone, and then left
    /// to expire, so that a worker that is back soon takes them over.
    pub(crate) fn stopping(&mut self, reason: &str, now: BootTime) {
        tracing::info!(reason, "stopping");
        self.bus.hello.stopping = true;
        if self.bus.told {
            self.record(now);
        }
    }

    /// Writes the record; one that is still being written is given up for it.
    pub(crate) fn record(&mut self, now: BootTime) {
        let Some(online) = &self.bus.online else { return };
        let facts = self.bus.watched.facts(now, clock::wall());
        self.bus.watched.told(facts.clone(), now);
        let writing = errands::record(online.bus.clone(), self.bus.record(facts));
        if let Some(older) = self.bus.recording.replace(self.errands.spawn(writing)) {
            older.abort();
        }
    }
}
