//! Watches: each delivers in order, several are apart from each other, and one whose stream lost
//! its leader, or whose connection broke, is blind for a while.

use dsbus_client::{Entry, Item};
use dsbus_schema::storage::Bucket;

use crate::dice::MS;
use crate::event::{Event, Run};
use crate::stream::{index, matches};
use crate::world::World;

/// A watch of one process.
#[derive(Debug)]
pub(crate) struct Watch {
    run: Run,
    pub(crate) bucket: Bucket,
    filter: String,
    /// Sequence of the last entry that was delivered, and of the last that is on its way.
    delivered: u64,
    sent: u64,
    live: bool,
    caught_up: bool,
    generation: u64,
    /// When the last item arrives.
    busy_until: u64,
}

impl World {
    /// Begins a watch.
    pub(crate) fn watch(&mut self, run: Run, bucket: Bucket, filter: &str) {
        self.watches.push(Watch {
            run,
            bucket,
            filter: filter.to_owned(),
            delivered: 0,
            sent: 0,
            live: false,
            caught_up: false,
            generation: 0,
            busy_until: 0,
        });
        let at = self.agenda.now() + MS;
        self.agenda.at(at, Event::Resume { watch: self.watches.len() - 1, generation: 0 });
    }

    /// Begins to deliver, if it can; else tries again.
    pub(crate) fn resume(&mut self, watch: usize, generation: u64) {
        let w = &self.watches[watch];
        if w.generation != generation || w.live || !self.lives(w.run) {
            return;
        }
        let (run, stream) = (w.run, index(w.bucket));
        let linked = self.procs.get(&run.who).is_some_and(|p| p.link.node.is_some());
        if !linked || self.streams[stream].leader.is_none() {
            let again = self.agenda.now() + self.dice.ms(50, 250);
            return self.agenda.at(again, Event::Resume { watch, generation });
        }
        let new = self.streams[stream].after(w.sent, &w.filter);
        let first = !w.caught_up;
        let w = &mut self.watches[watch];
        w.live = true;
        for entry in new {
            self.send_item(watch, Item::Entry(entry));
        }
        if first {
            self.send_item(watch, Item::CaughtUp);
        }
    }

    fn send_item(&mut self, watch: usize, item: Item) {
        let way = self.way();
        let now = self.agenda.now();
        let w = &mut self.watches[watch];
        if let Item::Entry(entry) = &item {
            w.sent = entry.seq;
        }
        w.busy_until = w.busy_until.max(now + way);
        let (run, generation, way) = (w.run, w.generation, w.busy_until - now);
        self.carry(run, way, Event::Deliver { to: run, watch, generation, item });
    }

    /// New entries go to every watch that sees them.
    pub(crate) fn deliver(&mut self, stream: usize, new: &[Entry]) {
        for watch in 0..self.watches.len() {
            let w = &self.watches[watch];
            if !w.live || index(w.bucket) != stream {
                continue;
            }
            for entry in new {
                if matches(&self.watches[watch].filter, &entry.key) {
                    self.send_item(watch, Item::Entry(entry.clone()));
                }
            }
        }
    }

    /// An item has arrived; says whether it is still of this watch.
    pub(crate) fn delivered(&mut self, watch: usize, generation: u64, item: &Item) -> bool {
        let w = &mut self.watches[watch];
        if w.generation != generation {
            return false;
        }
        match item {
            Item::Entry(entry) => w.delivered = entry.seq,
            Item::CaughtUp => w.caught_up = true,
            Item::Reset => {}
        }
        true
    }

    /// The process has no connection, or is no more.
    pub(crate) fn stop_watches(&mut self, run: Run) {
        for w in self.watches.iter_mut().filter(|w| w.run == run) {
            w.live = false;
            w.generation += 1;
            w.sent = w.delivered;
        }
    }

    /// The process stops to watch.
    pub(crate) fn drop_watches(&mut self, run: Run) {
        self.stop_watches(run);
        for w in self.watches.iter_mut().filter(|w| w.run == run) {
            w.generation += 1 << 32;
        }
    }

    /// The process is connected again.
    pub(crate) fn restart_watches(&mut self, run: Run) {
        let now = self.agenda.now();
        for watch in 0..self.watches.len() {
            if self.watches[watch].run == run {
                let generation = self.watches[watch].generation;
                let at = now + self.dice.ms(1, 200);
                self.agenda.at(at, Event::Resume { watch, generation });
            }
        }
    }

    /// A stream has lost its leader.
    pub(crate) fn blind_watches(&mut self, stream: usize) {
        for w in self.watches.iter_mut().filter(|w| index(w.bucket) == stream) {
            w.live = false;
        }
    }

    /// A stream has a leader again: a watch notices late, and one in a few is blind for long.
    pub(crate) fn resume_watches(&mut self, stream: usize) {
        let now = self.agenda.now();
        for watch in 0..self.watches.len() {
            if index(self.watches[watch].bucket) == stream {
                let generation = self.watches[watch].generation;
                let at = now
                    + if self.dice.one_in(4) {
                        self.dice.ms(0, 1_800)
                    } else {
                        self.dice.ms(0, 60)
                    };
                self.agenda.at(at, Event::Resume { watch, generation });
            }
        }
    }

    /// One watch is blind for a while, by itself.
    pub(crate) fn stall_watch(&mut self, watch: usize, pause: u64) {
        let at = self.agenda.now() + pause;
        let w = &mut self.watches[watch];
        w.live = false;
        let generation = w.generation;
        self.agenda.at(at, Event::Resume { watch, generation });
    }

    /// The watches of a living process.
    pub(crate) fn watches_of(&self, run: Run) -> Vec<usize> {
        (0..self.watches.len()).filter(|w| self.watches[*w].run == run).collect()
    }
}
