//! One worker: its record, its leases, what people want of it, and what is placed on it.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::WorkerState;
use dsbus_schema::touch::PRESENCE_SECONDS;
use dsbus_schema::worker::Worker;
use dsbus_schema::worker_goal::WorkerGoal;

use super::{Lease, Life, Seen, View};

/// What placed instances have declared to take. In whole numbers, so that what is taken and given
/// back adds up to nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reserved {
    /// Thousandths of a processor.
    pub(crate) millicpu: u64,
    /// Bytes.
    pub(crate) memory: u64,
}

impl Reserved {
    /// What a declaration takes.
    pub(crate) fn of(spec: &ProgramSpec) -> Reserved {
        Reserved {
            millicpu: millis(spec.resources.cpu.unwrap_or(0.0)),
            memory: spec.resources.memory.map_or(0, |size| size.0),
        }
    }

    pub(crate) fn add(&mut self, other: Reserved) {
        self.millicpu += other.millicpu;
        self.memory += other.memory;
    }

    /// What this is more than `other`, each part by itself.
    pub(crate) fn beyond(self, other: Reserved) -> Reserved {
        Reserved {
            millicpu: self.millicpu.saturating_sub(other.millicpu),
            memory: self.memory.saturating_sub(other.memory),
        }
    }
}

/// Thousandths of a processor.
pub(crate) fn millis(cpu: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast saturates, and no declared value is negative"
    )]
    let millis = (cpu * 1000.0).round() as u64;
    millis
}

/// What is asked of every worker when one is chosen, close together: there may be thousands.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) worker: WorkerName,
    pub(crate) is_ready: bool,
    /// Its owner does not allow everything.
    pub(crate) guarded: bool,
    pub(crate) instances: u64,
    pub(crate) reserved: Reserved,
    /// A part of 0 is not known.
    pub(crate) capacity: Reserved,
}

impl Slot {
    pub(super) fn of(worker: &WorkerName, host: &Host) -> Slot {
        let record = host.record.as_ref().map(|seen| &seen.value);
        let capacity = record.map(|record| record.capacity).unwrap_or_default();
        Slot {
            worker: worker.clone(),
            is_ready: host.state == WorkerState::Ready,
            guarded: record.is_some_and(|record| record.policy.is_some()),
            instances: host.placed.len() as u64,
            reserved: host.reserved,
            capacity: Reserved { millicpu: millis(capacity.cpu), memory: capacity.memory },
        }
    }
}

/// Everything about one worker.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Its number among all that were ever seen.
    pub(crate) number: usize,
    pub(crate) record: Option<Seen<Worker>>,
    pub(crate) goal: WorkerGoal,
    /// Its sequence.
    pub(crate) goal_seq: u64,
    /// By seconds.
    pub(crate) leases: BTreeMap<u64, Lease>,
    /// Its state, as follows from the above.
    pub(crate) state: WorkerState,
    /// What is placed on it.
    pub(crate) placed: BTreeSet<InstanceId>,
    /// How many instances of which program are.
    pub(crate) copies: BTreeMap<ProgramName, u32>,
    /// Of how many instances of which program it has told a state, whether they are placed on it or
    /// were.
    pub(crate) told: BTreeMap<ProgramName, u32>,
    /// How many instances live by the lease of so many seconds.
    pub(crate) classes: BTreeMap<u64, u32>,
    pub(crate) reserved: Reserved,
}

impl Host {
    pub(super) fn new(number: usize) -> Host {
        Host {
            number,
            record: None,
            goal: WorkerGoal::default(),
            goal_seq: 0,
            leases: BTreeMap::new(),
            state: WorkerState::Lost,
            placed: BTreeSet::new(),
            copies: BTreeMap::new(),
            told: BTreeMap::new(),
            classes: BTreeMap::new(),
            reserved: Reserved::default(),
        }
    }

    /// Whether it is to give away what it has: a person wants that, or it is about to stop.
    pub(crate) fn is_draining(&self) -> bool {
        self.goal.draining || self.record.as_ref().is_some_and(|seen| seen.value.draining)
    }

    /// Its state, anew.
    pub(super) fn judged(&self) -> WorkerState {
        let presence = self.leases.get(&PRESENCE_SECONDS).map_or(Life::Silent, |l| l.life);
        let stopping = self.record.as_ref().is_some_and(|seen| seen.value.stopping);
        match presence {
            Life::Lost if stopping => WorkerState::Stopped,
            Life::Lost => WorkerState::Lost,
            _ if stopping => WorkerState::Stopping,
            Life::Silent => WorkerState::Suspect,
            Life::Live if self.leases.values().any(|l| l.life == Life::Lost) => {
                WorkerState::Suspect
            }
            Life::Live if self.record.is_none() => WorkerState::Suspect,
            Life::Live if self.is_draining() => WorkerState::Draining,
            Life::Live if self.goal.cordoned => WorkerState::Cordoned,
            Life::Live => WorkerState::Ready,
        }
    }

    /// An instance was placed here.
    pub(super) fn put(&mut self, name: &InstanceId, spec: &ProgramSpec) {
        if self.placed.insert(name.clone()) {
            *self.copies.entry(name.program.clone()).or_insert(0) += 1;
        }
        *self.classes.entry(spec.touch_seconds()).or_insert(0) += 1;
        self.reserved.add(Reserved::of(spec));
    }

    /// It told the state of an instance for the first time, or took that back.
    pub(super) fn tell(&mut self, program: &ProgramName, is: bool) {
        if is {
            *self.told.entry(program.clone()).or_insert(0) += 1;
        } else {
            less(&mut self.told, program);
        }
    }

    /// An instance was taken away.
    pub(super) fn take(&mut self, name: &InstanceId, spec: &ProgramSpec) {
        if self.placed.remove(name) {
            less(&mut self.copies, &name.program);
        }
        less(&mut self.classes, &spec.touch_seconds());
        self.reserved = self.reserved.beyond(Reserved::of(spec));
    }
}

impl View {
    /// Whether a worker has said that it stops, and no child of it may live: nobody misses it. One that
    /// died while it stopped has left some.
    pub fn has_stopped(&self, worker: &WorkerName) -> bool {
        let Some(host) = self.hosts.get(worker) else { return false };
        let Some(record) = host.record.as_ref().map(|seen| &seen.value) else { return false };
        // A later run may have touched, and not yet said what it is.
        let touched = host.leases.get(&PRESENCE_SECONDS).and_then(|lease| lease.incarnation);
        let same = touched.is_none_or(|incarnation| incarnation == record.incarnation);
        let lives = |program: &ProgramName| {
            let instances =
                self.programs.get(program).into_iter().flat_map(|e| e.instances.values());
            let mut statuses = instances.flat_map(|instance| &instance.statuses);
            statuses.any(|(by, status)| {
                let status = &status.value;
                by == worker
                    && status.incarnation == record.incarnation
                    && status.state.may_have_child()
            })
        };
        record.stopping && same && !host.told.keys().any(lives)
    }
}

fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
