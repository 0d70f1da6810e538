//! Everything about one program, and about each of its instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use dsbus_schema::goal::Wanted;
use dsbus_schema::ids::{Epoch, WorkerName};
use dsbus_schema::moment::BootTime;
use dsbus_schema::placement::Placement;
use dsbus_schema::program::{Program, ProgramSpec};
use dsbus_schema::status::Status;
use smallvec::SmallVec;

use super::{Goals, Placed, Seen};
use crate::condition::Condition;
use crate::order::Summary;

/// One instance, as the bus has it. Nearly each has one placement and one state: they are kept
/// within, since a plan for a lost worker reads all instances of its programs, and waits for memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Instance {
    /// Its placement; more than one only where an invariant was broken from outside.
    pub(crate) placements: SmallVec<[Placed; 1]>,
    /// Last sequence over all its placement keys, tombstones included.
    pub(crate) guard: u64,
    /// The greatest epoch that any entry was about: what is placed anew gets a greater one. It stays when
    /// the bus is heard anew, which may have gone back in time.
    pub(crate) floor: Epoch,
    /// Last known states, by the worker that told them.
    pub(crate) statuses: SmallVec<[(WorkerName, Seen<Box<Status>>); 1]>,
    /// What schedulers told.
    pub(crate) said: Option<Seen<Box<Status>>>,
    /// Last sequence of what schedulers told, tombstones included.
    pub(crate) said_guard: u64,
    /// What was forged under its placement keys, and not yet written over.
    pub(crate) forged: Vec<(WorkerName, Forged)>,
    /// Since when this scheduler has seen its child run without a restart.
    pub(crate) well: Option<Well>,
}

/// An entry that no scheduler wrote, under a placement key.
#[derive(Debug, Clone)]
pub(crate) struct Forged {
    /// Its sequence.
    pub(crate) seq: u64,
    /// Why it does not count.
    pub(crate) why: String,
    /// What it says, if it can be read.
    pub(crate) said: Option<Box<Placement>>,
}

impl Forged {
    /// An epoch that the worker has seen none above of.
    pub(crate) fn floor(&self, instance: &Instance) -> Epoch {
        Epoch(self.seq.max(instance.guard))
    }
}

/// A child that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Well {
    pub(crate) since: BootTime,
    pub(super) child: (Epoch, u64, u64, Option<i32>),
}

impl Instance {
    /// Of several placements, the one that was placed last.
    pub(crate) fn placed(&self) -> Option<&Placed> {
        self.placements.iter().max_by_key(|p| p.epoch)
    }

    /// The last known state under that very placement.
    pub(crate) fn status(&self, placed: &Placed) -> Option<&Status> {
        let (_, told) = self.statuses.iter().find(|(worker, _)| *worker == placed.worker)?;
        (told.value.epoch == placed.epoch).then_some(&*told.value)
    }

    /// The same, if its worker has acted on the placement as it is now. An older state says
    /// nothing: the child may have been started since.
    pub(crate) fn acted(&self, placed: &Placed) -> Option<&Status> {
        self.status(placed).filter(|s| s.wanted == placed.wanted && s.revision == placed.revision)
    }

    /// Nothing is known of it any more.
    pub(super) fn is_forgotten(&self) -> bool {
        self.placements.is_empty()
            && self.statuses.is_empty()
            && self.said.is_none()
            && self.guard == 0
            && self.said_guard == 0
    }
}

/// Everything about one program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) program: Option<Seen<Program>>,
    /// The spec of `program`, shared with its placements.
    pub(crate) spec: Arc<ProgramSpec>,
    /// The spec to go back to while a change is rolled out.
    pub(crate) stable: Option<Arc<ProgramSpec>>,
    pub(crate) goals: Goals,
    pub(crate) instances: BTreeMap<u32, Instance>,
    /// What others wait for, as of the last plan.
    pub(crate) summary: Summary,
    /// How it is, for its group, as of the last plan.
    pub(crate) condition: Condition,
}

impl Entry {
    pub(crate) fn instance(&self, index: u32) -> Option<&Instance> {
        self.instances.get(&index)
    }

    /// What people want of an instance of `program`, which is this one's.
    pub(crate) fn wanted(&self, program: &Program, index: u32) -> Wanted {
        self.goals.wanted(program, index)
    }

    /// The copies that there should be, but for the extra ones of a rollout.
    pub(crate) fn declared(&self, program: &Program) -> Vec<u32> {
        if !program.spec.system {
            return (0..program.spec.numprocs).collect();
        }
        let placed = self.instances.iter().filter(|(_, i)| !i.placements.is_empty());
        placed.map(|(index, _)| *index).collect()
    }

    /// Whether there should be that copy.
    pub(crate) fn is_declared(&self, program: &Program, index: u32) -> bool {
        if !program.spec.system {
            return index < program.spec.numprocs;
        }
        self.instance(index).is_some_and(|instance| !instance.placements.is_empty())
    }
}
