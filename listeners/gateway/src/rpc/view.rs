//! What somebody looks at: all processes of a fleet, or those of one worker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::program::Program;
use dsbus_schema::status::{InstanceRow, WorkerRow};

use super::fault::{Faults, Wrong};
use crate::fleet::Fleet;
use crate::processes::{self, Process};

/// Every process, made anew only as far as something has changed since it was asked for last.
#[derive(Debug, Default)]
pub(super) struct Roll(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    /// Of what is known of the fleet.
    version: Option<u64>,
    all: Arc<[Arc<Process>]>,
    from: HashMap<InstanceId, From>,
}

/// What a process was made from.
#[derive(Debug)]
struct From {
    row: Arc<InstanceRow>,
    program: Option<Arc<Program>>,
    process: Arc<Process>,
}

impl Roll {
    fn all(&self, fleet: &Fleet) -> Arc<[Arc<Process>]> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = fleet.known();
        if made.version == Some(known.version()) {
            return Arc::clone(&made.all);
        }
        let mut old = std::mem::take(&mut made.from);
        let mut from = HashMap::with_capacity(known.rows().len());
        for (name, row) in known.rows() {
            let program = known.programs().get(&row.program);
            let again = old.remove(name).filter(|old| {
                let same = match (&old.program, program) {
                    (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                    (None, None) => true,
                    (_, _) => false,
                };
                same && Arc::ptr_eq(&old.row, row)
            });
            let made = again.unwrap_or_else(|| {
                let process = Process::new(Arc::clone(row), program.map(|program| &program.spec));
                From { row: Arc::clone(row), program: program.cloned(), process: process.into() }
            });
            from.insert(name.clone(), made);
        }
        made.version = Some(known.version());
        drop(known);
        let mut all: Vec<Arc<Process>> =
            from.values().map(|made| Arc::clone(&made.process)).collect();
        all.sort_by(|a, b| a.place().cmp(&b.place()));
        made.all = all.into();
        made.from = from;
        Arc::clone(&made.all)
    }
}

/// The processes that are looked at, in the order of Supervisor: by group, then by name.
#[derive(Debug)]
pub(super) struct View {
    all: Arc<[Arc<Process>]>,
    /// Only what is there.
    pub(super) worker: Option<Arc<WorkerRow>>,
}

/// What a name means.
#[derive(Debug)]
pub(super) enum Found {
    /// A process.
    One(Arc<Process>),
    /// All of a group.
    Group(Vec<Arc<Process>>),
}

impl View {
    /// Of all, or of a worker; nothing where there is no such worker.
    pub(super) fn new(roll: &Roll, fleet: &Fleet, worker: Option<&WorkerName>) -> Option<View> {
        let all = roll.all(fleet);
        let Some(worker) = worker else { return Some(View { all, worker: None }) };
        let row = Arc::clone(fleet.known().workers().get(worker)?);
        let here = all.iter().filter(|one| one.row.worker.as_ref() == Some(worker));
        Some(View { all: here.cloned().collect(), worker: Some(row) })
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Arc<Process>] {
        &self.all
    }

    /// A process, or all of a group.
    ///
    /// # Errors
    /// `BAD_NAME`.
    pub(super) fn found(&self, name: &str) -> Result<Found, Wrong> {
        let (group, process) = processes::split(name);
        let members = self.members(group);
        let Some(process) = process else {
            return if members.is_empty() {
                Err(Faults::BadName.about(name))
            } else {
                Ok(Found::Group(members.to_vec()))
            };
        };
        let at = members.partition_point(|one| one.name.as_str() < process);
        match members.get(at) {
            Some(one) if one.name == process => Ok(Found::One(Arc::clone(one))),
            _ => Err(Faults::BadName.about(name)),
        }
    }

    /// One process.
    ///
    /// # Errors
    /// `BAD_NAME`, also for a whole group.
    pub(super) fn one(&self, name: &str) -> Result<Arc<Process>, Wrong> {
        match self.found(name)? {
            Found::One(one) => Ok(one),
            Found::Group(_) => Err(Faults::BadName.about(name)),
        }
    }

    /// All of a group.
    ///
    /// # Errors
    /// `BAD_NAME`.
    pub(super) fn group(&self, name: &str) -> Result<Vec<Arc<Process>>, Wrong> {
        let members = self.members(name);
        if members.is_empty() { Err(Faults::BadName.about(name)) } else { Ok(members.to_vec()) }
    }

    fn members(&self, group: &str) -> &[Arc<Process>] {
        let begin = self.all.partition_point(|one| one.group.as_str() < group);
        let end = self.all.partition_point(|one| one.group.as_str() <= group);
        &self.all[begin..end]
    }
}
