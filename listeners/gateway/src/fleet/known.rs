//! All that is known of the fleet. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use dsbus_schema::ids::{Epoch, InstanceId, ProgramName, WorkerName};
use dsbus_schema::program::Program;
use dsbus_schema::status::{InstanceRow, WorkerRow};

use super::Change;

/// What was heard last.
#[derive(Debug, Default)]
pub(crate) struct Known {
    rows: BTreeMap<InstanceId, Arc<InstanceRow>>,
    workers: BTreeMap<WorkerName, Arc<WorkerRow>>,
    programs: BTreeMap<ProgramName, Arc<Program>>,
    /// Rows, workers and programs were heard once.
    heard: [bool; 3],
    silent: Option<String>,
    version: u64,
}

impl Known {
    /// Whether everything was heard at least once.
    pub(crate) fn is_complete(&self) -> bool {
        self.heard == [true; 3]
    }

    /// Why no scheduler answers, while none does: what is known grows old.
    pub(crate) fn silent(&self) -> Option<&str> {
        self.silent.as_deref()
    }

    /// Grows whenever anything changes: what was made of it before is as good while it has not.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Something may have changed.
    pub(super) fn grow(&mut self) {
        self.version += 1;
    }

    /// Instances by name.
    pub(crate) fn rows(&self) -> &BTreeMap<InstanceId, Arc<InstanceRow>> {
        &self.rows
    }

    /// Workers by name.
    pub(crate) fn workers(&self) -> &BTreeMap<WorkerName, Arc<WorkerRow>> {
        &self.workers
    }

    /// What is declared, by name.
    pub(crate) fn programs(&self) -> &BTreeMap<ProgramName, Arc<Program>> {
        &self.programs
    }

    /// These are all instances.
    pub(super) fn set_all(&mut self, all: Vec<InstanceRow>) -> Option<Change> {
        let new: BTreeMap<InstanceId, Arc<InstanceRow>> =
            all.into_iter().map(|row| (row.name.clone(), Arc::new(row))).collect();
        let gone: Arc<[InstanceId]> =
            self.rows.keys().filter(|name| !new.contains_key(name)).cloned().collect();
        let differs = |(name, row): &(&InstanceId, &Arc<InstanceRow>)| {
            self.rows.get(*name).is_none_or(|old| old != *row)
        };
        let changed: Arc<[_]> =
            new.iter().filter(differs).map(|(_, row)| Arc::clone(row)).collect();
        self.rows = new;
        self.heard[0] = true;
        let is_change = !changed.is_empty() || !gone.is_empty();
        is_change.then_some(Change::Rows { changed, gone })
    }

    /// Instances as they stand now.
    pub(super) fn set_some(&mut self, rows: Vec<InstanceRow>) -> Option<Change> {
        let mut changed = Vec::new();
        for row in rows {
            let old = self.rows.get(&row.name);
            // Of several schedulers one may be behind what another one has told.
            let is_late = |old: &Arc<InstanceRow>| {
                old.id == row.id && Epoch(0) < row.epoch && row.epoch < old.epoch
            };
            if old.is_some_and(is_late) {
                continue;
            }
            if old.is_none_or(|old| **old != row) {
                let row = Arc::new(row);
                self.rows.insert(row.name.clone(), Arc::clone(&row));
                changed.push(row);
            }
        }
        let is_change = !changed.is_empty();
        is_change.then(|| Change::Rows { changed: changed.into(), gone: Arc::default() })
    }

    /// These are all workers.
    pub(super) fn set_workers(&mut self, workers: Vec<WorkerRow>) -> Change {
        self.workers = workers.into_iter().map(|row| (row.name.clone(), Arc::new(row))).collect();
        self.heard[1] = true;
        Change::Workers
    }

    /// A program is declared so; or no longer.
    pub(super) fn set_program(&mut self, name: &ProgramName, program: Option<Program>) {
        match program {
            Some(program) => drop(self.programs.insert(name.clone(), Arc::new(program))),
            None => drop(self.programs.remove(name)),
        }
    }

    /// What is declared is heard anew.
    pub(super) fn forget_programs(&mut self) {
        self.programs.clear();
        self.heard[2] = false;
    }

    /// All that is declared was heard.
    pub(super) fn programs_heard(&mut self) {
        self.heard[2] = true;
    }

    /// Whether this changes anything.
    pub(super) fn set_silent(&mut self, why: Option<String>) -> Option<Change> {
        let before = std::mem::replace(&mut self.silent, why);
        (before.is_some() != self.silent.is_some()).then_some(Change::Silence)
    }
}
