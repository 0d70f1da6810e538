//! The last event of each instance that this worker told of. It outlives the worker's runs, so that
//! the next one counts on where this one ended, and tells the end of the children that died with it:
//! no listener is left with an instance that runs for ever. Pure.
//!
//! Invariant: reports that are noted once more, in their order, change nothing. So what is saved now
//! and then, and the reports since, are together as good as what was in memory.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::event::{Fact, ProcessFact};
use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::state::State;
use serde::{Deserialize, Serialize};

use crate::protocol::{LastEvent, Order, Report, Reported, ToAgent};

/// Why an instance that was alive has ended.
const CAUSE: &str = "its worker ended without stopping it, and it ended with its worker";

/// What is known of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    last: LastEvent,
    /// An earlier run told it, and this one has not looked into it yet.
    earlier: bool,
}

/// The last events. As it is saved: names and events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    known: BTreeMap<InstanceId, Known>,
    /// It is not as it was saved last.
    pub(super) changed: bool,
}

/// How the ledger stands in a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved(Vec<(InstanceId, LastEvent)>);

impl Ledger {
    /// Something is told now.
    pub fn note(&mut self, what: &Reported) {
        self.take(what, false);
    }

    /// An earlier run told this line.
    pub(super) fn learn(&mut self, line: &[u8]) {
        // What a later version may have told is left aside; its number is found on the bus.
        if let Ok(ToAgent::Report(Report { what, .. })) = serde_json::from_slice(line) {
            self.take(&what, true);
        }
    }

    /// An earlier run told this, which is found only now. What this run told is newer.
    pub(super) fn note_late(&mut self, what: &Reported) {
        if let Reported::Gone { name, .. } = what
            && !self.is_told(name)
        {
            self.forget(name);
        }
        let mut late = Ledger::default();
        late.take(what, true);
        self.learn_late(late);
    }

    /// What an earlier run saved, which is found only now.
    pub(super) fn learn_late(&mut self, late: Ledger) {
        for (name, Known { last, .. }) in late.known {
            let known = self.known.get(&name);
            if known.is_none_or(|known| known.earlier) {
                let known = known.map(|known| known.last.clone());
                if let Some(last) = LastEvent::later(known, Some(last)) {
                    self.known.insert(name, Known { last, earlier: true });
                    self.changed = true;
                }
            }
        }
    }

    /// Whether this run told something of the instance.
    pub(super) fn is_told(&self, name: &InstanceId) -> bool {
        self.known.get(name).is_some_and(|known| !known.earlier)
    }

    fn take(&mut self, what: &Reported, earlier: bool) {
        match what {
            Reported::Instance { event: Some(event), .. } => self.insert(&event.fact, earlier),
            Reported::Event { fact, .. } => {
                if let Fact::Process(fact) = &**fact {
                    self.insert(fact, earlier);
                }
            }
            Reported::Gone { name, .. } => {
                self.changed |= self.known.remove(name).is_some();
            }
            Reported::Instance { event: None, .. } | Reported::Worker { .. } => {}
        }
    }

    fn insert(&mut self, fact: &ProcessFact, earlier: bool) {
        let last = LastEvent::of(fact);
        self.known.insert(fact.name.clone(), Known { last, earlier });
        self.changed = true;
    }

    /// An instance that this run does not know is placed here; `on_bus` is its last event there.
    /// Gives the end of a child of an earlier run, which is to be told first, and the last event,
    /// with that one.
    pub fn meet(
        &mut self,
        name: &InstanceId,
        on_bus: Option<LastEvent>,
        worker: &WorkerName,
    ) -> (Option<ProcessFact>, Option<LastEvent>) {
        let known = self.known.get(name);
        if let Some(Known { last, earlier: false }) = known {
            return (None, Some(last.clone()));
        }
        let last = LastEvent::later(known.map(|known| known.last.clone()), on_bus);
        let Some(last) = last else { return (None, None) };
        let end = end(name, &last, worker);
        let last = end.as_ref().map_or(last, LastEvent::of);
        self.known.insert(name.clone(), Known { last: last.clone(), earlier: false });
        self.changed = true;
        (end, Some(last))
    }

    /// These are all placements of this worker: gives the ends of children of an earlier run whose
    /// instances are no longer placed here, and forgets these.
    pub fn leave(&mut self, orders: &[Order], worker: &WorkerName) -> Vec<ProcessFact> {
        let placed: BTreeSet<_> = orders.iter().map(|order| &order.name).collect();
        let left =
            self.known.iter().filter(|(name, known)| known.earlier && !placed.contains(name));
        let left: Vec<_> = left.map(|(name, _)| name.clone()).collect();
        let mut ends = Vec::new();
        for name in left {
            ends.extend(self.meet(&name, None, worker).0);
            self.known.remove(&name);
        }
        ends
    }

    pub(super) fn earlier(&self) -> Vec<InstanceId> {
        let earlier = self.known.iter().filter(|(_, known)| known.earlier);
        earlier.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn resume(&mut self, earlier: &[InstanceId]) {
        let earlier: BTreeSet<_> = earlier.iter().collect();
        for (name, known) in &mut self.known {
            known.earlier = earlier.contains(name);
        }
    }

    /// Forgets an instance.
    pub fn forget(&mut self, name: &InstanceId) {
        self.changed |= self.known.remove(name).is_some();
    }

    /// The same, as the next run finds it.
    #[must_use]
    pub fn of_next_run(&self) -> Ledger {
        Ledger::from_saved(self.saved())
    }

    pub(super) fn saved(&self) -> Saved {
        let known = self.known.iter();
        Saved(known.map(|(name, known)| (name.clone(), known.last.clone())).collect())
    }

    pub(super) fn from_saved(saved: Saved) -> Ledger {
        let known = saved.0.into_iter().map(|(name, last)| (name, Known { last, earlier: true }));
        Ledger { known: known.collect(), changed: false }
    }
}

/// The event that ends an instance which was alive, or about to be, when its worker ended.
fn end(name: &InstanceId, last: &LastEvent, worker: &WorkerName) -> Option<ProcessFact> {
    let (state, expected) = match last.state {
        State::Starting | State::Running => (State::Exited, Some(false)),
        // It was asked to, or had no child.
        State::Stopping | State::Backoff => (State::Stopped, None),
        State::Stopped | State::Pending | State::Exited | State::Fatal | State::Unknown => {
            return None;
        }
    };
    Some(ProcessFact {
        name: name.clone(),
        id: last.id,
        group: last.group.clone(),
        process: last.process.clone(),
        worker: Some(worker.clone()),
        epoch: last.epoch,
        seq: last.seq + 1,
        revision: last.revision,
        from: last.state,
        state,
        pid: last.pid.filter(|_| last.state.may_have_child()),
        // Nobody saw it.
        exit: None,
        usage: None,
        expected,
        reason: Some(CAUSE.to_owned()),
        spawnerr: None,
        stderr_line: None,
        attempt: None,
    })
}
