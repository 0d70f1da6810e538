//! The leaders of streams: they die, are elected, and hand over.

use dsbus_schema::storage::Bucket;

use crate::dice::SECOND;
use crate::event::Event;
use crate::stream::{Proposal, index};
use crate::world::World;

/// An election, in milliseconds.
const ELECTION_MS: (u64, u64) = (3_600, 8_500);
/// When the new leader first looks for expired keys, in milliseconds.
const FIRST_SWEEP_MS: (u64, u64) = (250, 1_300);

impl World {
    /// A stream's leader is dead.
    pub(crate) fn lose_leader(&mut self, stream: usize) {
        let now = self.agenda.now();
        let election = self.dice.ms(ELECTION_MS.0, ELECTION_MS.1);
        // Of what was in flight the first so many had been agreed upon.
        let flying = self.streams[stream].in_flight.len();
        let agreed = self.dice.below(flying + 1);
        let s = &mut self.streams[stream];
        s.leader = None;
        s.term += 1;
        s.in_flight.truncate(agreed);
        for proposal in &mut s.in_flight {
            proposal.answer = None;
            // Stored by the election, not by the clock.
            proposal.number = u64::MAX;
        }
        let term = s.term;
        if self.nodes.len() > 1 {
            self.agenda.at(now + election, Event::Elect { stream, term });
        }
        self.blind_watches(stream);
    }

    /// A stream has a leader again.
    pub(crate) fn elect(&mut self, stream: usize, term: u64) {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].up).collect();
        let leader = self.dice.pick(&up);
        let s = &mut self.streams[stream];
        if s.term != term || s.leader.is_some() {
            return;
        }
        if leader.is_none() || (self.nodes.len() > 1 && up.len() < 2) {
            let again = self.agenda.now() + SECOND;
            return self.agenda.at(again, Event::Elect { stream, term });
        }
        s.leader = leader;
        let left: Vec<Proposal> = s.in_flight.drain(..).collect();
        for proposal in left {
            self.store(stream, proposal);
        }
        self.note(|| format!("stream {stream}: n{} leads", leader.unwrap_or_default() + 1));
        if stream == index(Bucket::Fleet) {
            let first = self.dice.ms(FIRST_SWEEP_MS.0, FIRST_SWEEP_MS.1);
            self.agenda.at(self.agenda.now() + first, Event::Sweep { term });
        }
        self.resume_watches(stream);
    }

    /// A leader hands over in good order, as when its node is told to stop.
    pub(crate) fn hand_over(&mut self, stream: usize) {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].up).collect();
        let leader = self.dice.pick(&up);
        if self.streams[stream].leader.is_none() || leader.is_none() {
            return;
        }
        let s = &mut self.streams[stream];
        s.leader = leader;
        s.term += 1;
        let term = s.term;
        if stream == index(Bucket::Fleet) {
            let first = self.dice.ms(FIRST_SWEEP_MS.0, FIRST_SWEEP_MS.1);
            self.agenda.at(self.agenda.now() + first, Event::Sweep { term });
        }
    }

    /// A node is back: on one node, its streams are, too.
    pub(crate) fn node_up(&mut self, node: usize) {
        if self.nodes.iter().all(|node| !node.up) {
            self.witness.bus_away.1 = self.agenda.now();
        }
        self.nodes[node].up = true;
        self.note(|| format!("n{} is back", node + 1));
        if self.nodes.len() == 1 {
            for stream in 0..self.streams.len() {
                let term = self.streams[stream].term;
                self.elect(stream, term);
            }
        }
    }
}
