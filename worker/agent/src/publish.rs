//! What is to be published, and in which order. Pure; [`crate::report`] speaks to the bus.
//!
//! Invariants:
//! - The reports of one instance go out one after the other, those of different instances at once,
//!   `DELIVERIES_MAX` at most. A report about the worker goes out alone, after all before it.
//! - [`Publisher::through`] says a number only when every report up to it is on the bus, or made
//!   void by a later report that is still waiting and will be told again.
//! - What an earlier incarnation reported becomes events alone: how an instance stands now is for
//!   this one to tell.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use dsbus_schema::event::{Event, Fact, Source};
use dsbus_schema::ids::{Epoch, FleetName, Incarnation, InstanceId, WorkerName};
use dsbus_schema::status::Status;
use dsbus_supervisor::protocol::{ProcessEvent, Report, Reported};
use dsbus_supervisor::report::REPORTS_MAX;

/// Deliveries that are on their way at once: enough to hide the way to the server and back.
const DELIVERIES_MAX: usize = 64;
/// How far beyond the oldest report that is not published one looks for another to send.
const LOOK_MAX: usize = 512;

/// Something to do on the bus: first the event, then the status entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The report it carries out; `None` for a status that is written again.
    pub number: Option<u64>,
    /// The instance it is about.
    pub name: Option<InstanceId>,
    /// To publish.
    pub event: Option<Event>,
    /// To do with the status entry.
    pub entry: Option<Entry>,
}

/// What to do with a status entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Write it, unless something newer stands there.
    Write {
        /// What to write.
        status: Arc<Status>,
        /// The sequence that is thought to stand there.
        seq: u64,
    },
    /// Write it, unless it stands there already, or something newer does.
    Lacking {
        /// What to write.
        status: Arc<Status>,
    },
    /// Remove it, unless a newer epoch stands there.
    Remove {
        /// The epoch that ended.
        epoch: Epoch,
    },
}

/// How a delivery ended; it always succeeds in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// See [`Delivery::number`].
    pub number: Option<u64>,
    /// See [`Delivery::name`].
    pub name: Option<InstanceId>,
    /// The sequence of the status entry, where it was written or looked at.
    pub seq: Option<u64>,
}

/// How far a report is. One that is on its way is known by its number alone.
#[derive(Debug)]
enum Stage {
    Waiting(Report),
    Running,
    /// As [`Stage::Running`], and it is about the worker.
    Alone,
    Done,
}

#[derive(Debug)]
struct Known {
    status: Arc<Status>,
    seq: u64,
    /// An earlier agent told it, or not.
    earlier: bool,
}

/// The queue. It holds what the supervisor keeps, too, and the supervisor gives it no more than
/// [`REPORTS_WINDOW`](dsbus_supervisor::protocol::REPORTS_WINDOW) at once.
#[derive(Debug)]
pub struct Publisher {
    fleet: FleetName,
    source: Source,
    incarnation: Incarnation,
    queue: VecDeque<(u64, Stage)>,
    /// How many reports about an instance wait.
    waiting: HashMap<InstanceId, usize>,
    busy: HashSet<InstanceId>,
    running: usize,
    known: HashMap<InstanceId, Known>,
    again: BTreeSet<InstanceId>,
    through: u64,
    statuses: bool,
}

impl Publisher {
    /// Of this incarnation of a worker.
    pub fn new(fleet: FleetName, worker: WorkerName, incarnation: Incarnation) -> Publisher {
        Publisher {
            fleet,
            source: Source::Worker(worker),
            incarnation,
            queue: VecDeque::new(),
            waiting: HashMap::new(),
            busy: HashSet::new(),
            running: 0,
            known: HashMap::new(),
            again: BTreeSet::new(),
            through: 0,
            statuses: true,
        }
    }

    /// Takes a report.
    pub fn push(&mut self, report: Report) {
        if let Some(name) = about(&report) {
            *self.waiting.entry(name.clone()).or_default() += 1;
        }
        // No supervisor gives so many; should one, the oldest go, and it is told that they are done.
        let waits = |(_, stage): &(u64, Stage)| matches!(stage, Stage::Waiting(_));
        // Those before it are on their way, for as long as the bus is away.
        while self.queue.len() >= REPORTS_MAX
            && let Some(at) = self.queue.iter().position(waits)
            && let Some((number, Stage::Waiting(oldest))) = self.queue.remove(at)
        {
            if at == 0 {
                self.through = number;
            }
            if let Some(name) = about(&oldest) {
                self.taken(name);
            }
        }
        self.queue.push_back((report.number, Stage::Waiting(report)));
    }

    /// The supervisor says how an instance stands: an earlier agent may have told it.
    pub fn stands(&mut self, name: InstanceId, status: Box<Status>) {
        if status.incarnation == self.incarnation {
            let status = Arc::<Status>::from(status);
            self.known.entry(name).or_insert(Known { status, seq: 0, earlier: true });
        }
    }

    /// The status of every instance is to be written again: the bus was away.
    pub fn write_again(&mut self) {
        self.again = self.known.keys().cloned().collect();
    }

    /// Whose states it knows.
    pub fn known(&self) -> impl Iterator<Item = &InstanceId> {
        self.known.keys()
    }

    /// Another worker holds the name: events still go out, statuses are no longer ours to write.
    pub fn stop_statuses(&mut self) {
        self.statuses = false;
        self.again.clear();
    }

    /// Everything up to this report is published.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Whether nothing is left to publish.
    pub fn idle(&self) -> bool {
        self.queue.is_empty() && self.running == 0
    }

    /// How many reports are not on the bus yet.
    pub fn left(&self) -> usize {
        self.queue.len()
    }

    /// The next thing to do, if one may be begun now.
    pub fn begin(&mut self) -> Option<Delivery> {
        if self.running >= DELIVERIES_MAX {
            return None;
        }
        let delivery = self.next_report().or_else(|| self.next_again())?;
        self.running += 1;
        self.busy.extend(delivery.name.clone());
        Some(delivery)
    }

    /// A delivery has ended.
    pub fn done(&mut self, outcome: &Outcome) {
        self.running -= 1;
        if let Some(name) = &outcome.name {
            self.busy.remove(name);
            if let (Some(seq), Some(known)) = (outcome.seq, self.known.get_mut(name)) {
                (known.seq, known.earlier) = (seq, false);
            }
        }
        let Some(number) = outcome.number else { return };
        let at = self.queue.partition_point(|(of, _)| *of < number);
        if let Some((_, stage)) = self.queue.get_mut(at) {
            *stage = Stage::Done;
        }
        while let Some((number, Stage::Done)) = self.queue.front() {
            self.through = *number;
            self.queue.pop_front();
        }
    }

    fn next_report(&mut self) -> Option<Delivery> {
        let mut passed = HashSet::new();
        let mut found = None;
        for (at, (_, stage)) in self.queue.iter().enumerate().take(LOOK_MAX) {
            match stage {
                Stage::Waiting(report) => match about(report) {
                    Some(name) if !self.busy.contains(name) && passed.insert(name) => {
                        found = Some(at);
                    }
                    Some(_) => {}
                    // Nothing overtakes a report about the worker, and it overtakes nothing.
                    None => {
                        found = (at == 0).then_some(at);
                        break;
                    }
                },
                Stage::Alone => break,
                Stage::Running | Stage::Done => {}
            }
            if found.is_some() {
                break;
            }
        }
        let (_, stage) = self.queue.get_mut(found?)?;
        let Stage::Waiting(report) = std::mem::replace(stage, Stage::Running) else { return None };
        if about(&report).is_none() {
            *stage = Stage::Alone;
        }
        Some(self.delivery(report))
    }

    fn delivery(&mut self, report: Report) -> Delivery {
        let name = about(&report).cloned();
        let last = name.as_ref().is_none_or(|name| self.taken(name));
        let number = Some(report.number);
        let event = |id, time, fact| Event::new(&self.fleet, &self.source, id, time, fact);
        match report.what {
            Reported::Worker { id, time, fact } => {
                let event = Some(event(id, time, Fact::Worker(fact)));
                Delivery { number, name, event, entry: None }
            }
            Reported::Instance { name: of, status, event: told } => {
                let event = told.map(|told| {
                    let ProcessEvent { id, time, fact } = *told;
                    event(id, time, Fact::Process(fact))
                });
                if status.incarnation != self.incarnation {
                    return Delivery { number, name, event, entry: None };
                }
                let seq = self.known.get(&of).map_or(0, |known| known.seq);
                let status = Arc::<Status>::from(status);
                self.known.insert(of, Known { status: status.clone(), seq, earlier: false });
                // A later report that waits already will write it.
                let entry = (last && self.statuses).then_some(Entry::Write { status, seq });
                Delivery { number, name, event, entry }
            }
            Reported::Event { id, time, fact } => {
                let event = Some(event(id, time, *fact));
                // An earlier report has left the entry to the last one, which this is.
                let known = name.as_ref().and_then(|name| self.known.get(name));
                let entry = known
                    .filter(|_| last && self.statuses)
                    .map(|known| Entry::Write { status: known.status.clone(), seq: known.seq });
                Delivery { number, name, event, entry }
            }
            Reported::Gone { name: of, epoch } => {
                self.known.remove(&of);
                self.again.remove(&of);
                let entry = (last && self.statuses).then_some(Entry::Remove { epoch });
                Delivery { number, name, event: None, entry }
            }
        }
    }

    /// Counts a report as taken; says whether it was the last one about the instance.
    fn taken(&mut self, name: &InstanceId) -> bool {
        let Some(count) = self.waiting.get_mut(name) else { return true };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.waiting.remove(name);
        }
        last
    }

    fn next_again(&mut self) -> Option<Delivery> {
        let free =
            |name: &&InstanceId| !self.busy.contains(*name) && !self.waiting.contains_key(*name);
        if !self.statuses {
            return None;
        }
        let name = self.again.iter().find(free)?.clone();
        self.again.remove(&name);
        let known = self.known.get(&name)?;
        let status = known.status.clone();
        let entry = if known.earlier {
            Entry::Lacking { status }
        } else {
            Entry::Write { status, seq: known.seq }
        };
        Some(Delivery { number: None, name: Some(name), event: None, entry: Some(entry) })
    }
}

fn about(report: &Report) -> Option<&InstanceId> {
    match &report.what {
        Reported::Instance { name, .. } | Reported::Gone { name, .. } => Some(name),
        Reported::Event { fact, .. } => fact.instance(),
        Reported::Worker { .. } => None,
    }
}
