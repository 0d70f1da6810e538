//! The worker's record in the workers bucket: written when there is news of the worker or its machine.

use dsbus_schema::moment::BootTime;

use crate::clock;
use crate::errands;
use crate::facts::look::Busy;
use crate::run::Agent;

impl Agent {
    /// Looks at the machine when it is time to, and writes the record when there is news.
    pub(crate) fn look(&mut self, now: BootTime) {
        if self.watched.due_slowly(now) {
            self.errands.spawn(errands::look_slowly(self.side.me.directory.clone()));
        }
        if !self.watched.due(now) {
            return;
        }
        self.watched.seen(Busy::look(), now);
        // One that is still being written would be replaced by one that says little more.
        let free = self.side.told() && self.recording.is_none();
        if free && self.watched.worth_telling(&self.watched.facts(now, clock::wall()), now) {
            self.record(now);
        }
    }

    /// Writes the record; one that is still being written is given up for it.
    pub(crate) fn record(&mut self, now: BootTime) {
        let Some(online) = &self.online else { return };
        let facts = self.watched.facts(now, clock::wall());
        self.watched.told(facts.clone(), now);
        let record = self.side.record(nix::unistd::getpid().as_raw(), facts);
        let writing = errands::record(online.bus.clone(), record);
        if let Some(older) = self.recording.replace(self.errands.spawn(writing)) {
            older.abort();
        }
    }
}
