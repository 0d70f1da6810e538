//! A stream of JetStream: keys with sequences, guards, batches, messages that expire, and a leader
//! that may die.
//!
//! As measured (nats-server 2.15.1): on three nodes a guard is checked against what is stored, and
//! against guards of the very same text that are in flight, and against nothing else. The marker of
//! an expiry is proposed without a guard. What a dead leader had in flight may be stored or not,
//! and nobody is told. The next leader does not look for expired keys at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dsbus_client::{Entry, Error, Expect, Value, Write};
use dsbus_schema::event::{Event as Told, Fact};
use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::Bucket;
use dsbus_supervisor::protocol::LastEvent;
use uuid::Uuid;

use crate::dice::{MS, SECOND};
use crate::event::{Answer, Event, Op, Run, Who};
use crate::world::World;

/// The stream of events comes after those of the buckets.
pub(crate) const EVENTS: usize = Bucket::STATE.len();
/// Looks for expired keys at least so often, in milliseconds.
const SWEEP_MS: (u64, u64) = (1, 330);

/// Which stream a bucket is.
pub(crate) fn index(bucket: Bucket) -> usize {
    Bucket::STATE.iter().position(|b| *b == bucket).unwrap_or_default()
}

#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) value: Value,
    time: i128,
    expires: Option<i128>,
    by: Option<String>,
    note: bytes::Bytes,
}

#[derive(Debug, Clone)]
struct Proposed {
    key: String,
    value: Value,
    ttl: Option<u64>,
    note: bytes::Bytes,
}

/// What a leader has accepted.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) number: u64,
    entries: Vec<Proposed>,
    event: Option<Box<Told>>,
    guards: Vec<String>,
    /// Who waits for an answer, and who sent it.
    pub(crate) answer: Option<(Run, u64)>,
    from: Option<Run>,
}

/// A stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) leader: Option<usize>,
    pub(crate) term: u64,
    pub(crate) last: u64,
    pub(crate) keys: BTreeMap<String, Stored>,
    pub(crate) in_flight: VecDeque<Proposal>,
    proposals: u64,
    /// When the last proposal is stored: they are stored in order.
    stored_at: u64,
    /// Ids of events.
    ids: BTreeSet<Uuid>,
    /// The last event of each instance, by who told it.
    lasts: BTreeMap<(WorkerName, InstanceId), LastEvent>,
}

/// Whether a pattern matches a key.
pub(crate) fn matches(pattern: &str, key: &str) -> bool {
    let mut tokens = key.split('.');
    for wanted in pattern.split('.') {
        if wanted == ">" {
            return tokens.next().is_some();
        }
        match tokens.next() {
            Some(token) if wanted == "*" || wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

impl Stream {
    /// An empty stream.
    pub(crate) fn led_by(leader: Option<usize>) -> Stream {
        Stream { leader, ..Stream::default() }
    }

    /// Sequence of the last entry among the keys of a pattern.
    fn last_of(&self, pattern: &str) -> u64 {
        if pattern == ">" {
            return self.last;
        }
        if !pattern.contains(['*', '>']) {
            return self.keys.get(pattern).map_or(0, |stored| stored.seq);
        }
        let hits = self.keys.iter().filter(|(key, _)| matches(pattern, key));
        hits.map(|(_, stored)| stored.seq).max().unwrap_or(0)
    }

    /// The last entry among the keys of a pattern.
    fn get(&self, pattern: &str) -> Option<Entry> {
        let exact = self.keys.get_key_value(pattern);
        let found = match exact {
            Some(found) => Some(found),
            None => {
                let hits = self.keys.iter().filter(|(key, _)| matches(pattern, key));
                hits.max_by_key(|(_, stored)| stored.seq)
            }
        };
        found.map(|(key, stored)| entry(key, stored))
    }

    /// Entries after `seq` that a filter lets pass, in order.
    pub(crate) fn after(&self, seq: u64, filter: &str) -> Vec<Entry> {
        let new = self.keys.iter().filter(|(key, s)| s.seq > seq && matches(filter, key));
        let mut new: Vec<Entry> = new.map(|(key, stored)| entry(key, stored)).collect();
        new.sort_by_key(|entry| entry.seq);
        new
    }

    fn refusal(&self, writes: &[Write]) -> Option<Error> {
        for write in writes {
            let (text, expected) = match &write.expect {
                None => continue,
                Some(Expect::Own(seq)) => (write.key.as_str(), *seq),
                Some(Expect::Guard { pattern, seq }) => (pattern.as_str(), *seq),
            };
            if self.in_flight.iter().any(|p| p.guards.iter().any(|guard| guard == text)) {
                return Some(Error::LostRace { current: None });
            }
            let current = self.last_of(text);
            if current != expected {
                return Some(Error::LostRace { current: Some(current) });
            }
        }
        None
    }
}

fn entry(key: &str, stored: &Stored) -> Entry {
    let time = Timestamp::from_unix_nanos(stored.time);
    let Stored { seq, value, by, note, .. } = stored.clone();
    Entry { key: key.to_owned(), seq, value, time, by, note, seal: None }
}

fn guards(writes: &[Write]) -> Vec<String> {
    let text = |write: &Write| match &write.expect {
        None => None,
        Some(Expect::Own(_)) => Some(write.key.clone()),
        Some(Expect::Guard { pattern, .. }) => Some(pattern.clone()),
    };
    writes.iter().filter_map(text).collect()
}

impl World {
    /// The wall clock of a node.
    pub(crate) fn wall_of(&self, node: usize) -> i128 {
        crate::world::WALL + i128::from(self.agenda.now()) + self.nodes[node].skew
    }

    /// Asks a stream's leader.
    pub(crate) fn ask_stream(&mut self, from: Run, token: u64, op: Op) {
        let stream = match &op {
            Op::Write { bucket, .. } | Op::Get { bucket, .. } => index(*bucket),
            _ => EVENTS,
        };
        if self.streams[stream].leader.is_none() {
            return self.answer(from, token, Err(Error::NoResponders));
        }
        let result = match op {
            Op::Get { pattern, .. } => {
                Ok(Answer::Entry(self.streams[stream].get(&pattern).map(Box::new)))
            }
            Op::LastEvent { worker, name } => {
                Ok(Answer::Last(self.streams[stream].lasts.get(&(worker, name)).cloned()))
            }
            Op::Write { writes, .. } => {
                if let Some(refusal) = self.streams[stream].refusal(&writes) {
                    self.counts.refused += 1;
                    Err(refusal)
                } else {
                    let guards = guards(&writes);
                    let proposed = |w: Write| Proposed {
                        key: w.key,
                        value: w.body.map_or(Value::Deleted, Value::Put),
                        ttl: w.ttl_seconds,
                        note: w.note,
                    };
                    let entries = writes.into_iter().map(proposed).collect();
                    return self.propose(stream, entries, None, guards, Some((from, token)));
                }
            }
            Op::IsTold(id) => Ok(Answer::Told(self.streams[stream].ids.contains(&id))),
            Op::Publish(event) => {
                let answer = Some((from, token));
                return self.propose(stream, Vec::new(), Some(event), Vec::new(), answer);
            }
            Op::Ping(_) | Op::Command(_) => return,
        };
        self.answer(from, token, result);
    }

    fn propose(
        &mut self,
        stream: usize,
        entries: Vec<Proposed>,
        event: Option<Box<Told>>,
        guards: Vec<String>,
        answer: Option<(Run, u64)>,
    ) {
        let now = self.agenda.now();
        // One node stores at once. Three agree first, which takes longer when one of them is busy.
        let way = if self.nodes.len() == 1 {
            0
        } else if self.dice.one_in(if self.commit_ms_max > 50 { 6 } else { 40 }) {
            self.dice.ms(2, self.commit_ms_max)
        } else {
            self.dice.range(MS / 5, MS)
        };
        let s = &mut self.streams[stream];
        s.proposals += 1;
        s.stored_at = s.stored_at.max(now + way);
        let number = s.proposals;
        s.in_flight.push_back(Proposal {
            number,
            entries,
            event,
            guards,
            from: answer.map(|(from, _)| from),
            answer,
        });
        let at = s.stored_at;
        self.agenda.at(at, Event::Commit { stream, proposal: number });
    }

    /// What was accepted is stored, and whoever waits for it is told.
    pub(crate) fn commit(&mut self, stream: usize, proposal: u64) {
        let due = |p: &Proposal| p.number == proposal;
        if self.streams[stream].in_flight.front().is_some_and(due)
            && let Some(proposal) = self.streams[stream].in_flight.pop_front()
        {
            self.store(stream, proposal);
        }
    }

    pub(crate) fn store(&mut self, stream: usize, proposal: Proposal) {
        let leader = self.streams[stream].leader.unwrap_or_default();
        let wall = self.wall_of(leader);
        if let Some(event) = proposal.event {
            self.store_event(stream, &event, proposal.from);
        }
        let mut new = Vec::new();
        let s = &mut self.streams[stream];
        let by = proposal.from.and_then(|from| match from.who {
            Who::Scheduler(n) => Some(crate::scheduler::id(n)),
            Who::Agent(_) | Who::Supervisor(_) | Who::Client(_) => None,
        });
        for Proposed { key, value, ttl, note } in proposal.entries {
            s.last += 1;
            let expires = ttl.map(|seconds| wall + i128::from(seconds) * i128::from(SECOND));
            let stored = Stored { seq: s.last, value, time: wall, expires, by: by.clone(), note };
            new.push(entry(&key, &stored));
            s.keys.insert(key, stored);
        }
        let last = s.last;
        if let Some((to, token)) = proposal.answer {
            self.answer(to, token, Ok(Answer::Seq(last)));
        }
        if let Some(from) = proposal.from
            && new.iter().any(|entry| entry.by.is_some() && !entry.key.starts_with('_'))
        {
            self.kill_writer(from.who);
        }
        if stream < EVENTS {
            self.witness_entries(Bucket::STATE[stream], &new);
            self.deliver(stream, &new);
        }
    }

    fn store_event(&mut self, stream: usize, event: &Told, from: Option<Run>) {
        let s = &mut self.streams[stream];
        s.last += 1;
        if !s.ids.insert(event.id) {
            return;
        }
        if let Fact::Process(fact) = &event.data
            && let Some(worker) = &fact.worker
        {
            s.lasts.insert((worker.clone(), fact.name.clone()), LastEvent::of(fact));
        }
        self.witness_event(event, from);
    }

    /// Writes something before the run begins.
    pub(crate) fn seed_entry<T: serde::Serialize>(&mut self, bucket: Bucket, key: &str, body: &T) {
        let Ok(write) = Write::put(key, body) else { return };
        let value = write.body.map_or(Value::Deleted, Value::Put);
        let entries = vec![Proposed { key: key.to_owned(), value, ttl: None, note: write.note }];
        let proposal = Proposal {
            number: 0,
            entries,
            event: None,
            guards: Vec::new(),
            answer: None,
            from: None,
        };
        self.store(index(bucket), proposal);
    }

    /// The leader looks for what has expired, and proposes markers.
    pub(crate) fn sweep(&mut self, term: u64) {
        let fleet = index(Bucket::Fleet);
        let s = &self.streams[fleet];
        let Some(leader) = s.leader.filter(|_| s.term == term) else { return };
        let wall = self.wall_of(leader);
        let marked = |key: &str| {
            let marks = |p: &Proposed| p.key == key && p.value == Value::Expired;
            s.in_flight.iter().any(|p| p.entries.iter().any(marks))
        };
        let gone = s
            .keys
            .iter()
            .filter(|(key, stored)| stored.expires.is_some_and(|at| at <= wall) && !marked(key));
        let gone: Vec<String> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.note(|| format!("fleet: {key} has expired"));
            let (value, note) = (Value::Expired, bytes::Bytes::new());
            let expiry = Proposed { key, value, ttl: None, note };
            self.propose(fleet, vec![expiry], None, Vec::new(), None);
        }
        let next = self.agenda.now() + self.dice.ms(SWEEP_MS.0, SWEEP_MS.1);
        self.agenda.at(next, Event::Sweep { term });
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        assert!(matches(">", "a.b") && matches("a.>", "a.b.c") && matches("*.p.0", "w1.p.0"));
        assert!(!matches("a.>", "a") && !matches("*.p.0", "w1.p.1") && !matches("a.b", "a.b.c"));
    }
}
