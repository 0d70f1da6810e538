//! Instances that workers have, and of which the bus has lost the placement. What is taken away leaves a
//! tombstone; so where neither stands under the keys of an instance of which a worker tells, the bus has
//! forgotten something, and that worker has it.

use dsbus_schema::ids::{Epoch, InstanceId, ProgramName, WorkerName};
use dsbus_schema::state::WorkerState;
use dsbus_schema::status::Status;
use dsbus_schema::touch::PRESENCE_SECONDS;

use super::{Instance, Seen, View};

impl View {
    /// Who has an instance without a place, and under which epoch: whatever its state, where the bus has
    /// forgotten it. Of an exclusive one no child may live, in any case.
    pub(crate) fn adrift<'a>(
        &self,
        instance: &'a Instance,
        exclusive: bool,
    ) -> Option<(&'a WorkerName, Epoch)> {
        if instance.guard > 0 && !exclusive {
            return None;
        }
        let told = instance.statuses.iter().find(|(worker, status)| {
            let lives =
                status.value.state.may_have_child() && self.is_of_now(worker, &status.value);
            self.tells(instance, worker, status) || lives
        });
        told.map(|(worker, status)| (worker, status.value.epoch))
    }

    /// Whether a state tells of an instance that the bus has forgotten. What has ended for good, or was
    /// given up, is not run again because its worker is lost, too.
    pub(crate) fn tells(
        &self,
        instance: &Instance,
        worker: &WorkerName,
        status: &Seen<Box<Status>>,
    ) -> bool {
        let forgotten = instance.guard == 0 && instance.placements.is_empty();
        forgotten && (status.value.rests || self.is_of_now(worker, &status.value))
    }

    /// Whether that counts of a program that is being removed: only where the worker is not lost. What
    /// nobody has is not waited for, nor is a worker that is cut off: see [`View::returns`].
    pub(crate) fn tells_of_removed(
        &self,
        instance: &Instance,
        worker: &WorkerName,
        status: &Seen<Box<Status>>,
    ) -> bool {
        let lease = self.lease_of(worker, PRESENCE_SECONDS);
        // Who has no record is never judged to be lost.
        let known =
            self.worker(worker).is_some() || lease.is_some_and(|lease| lease.incarnation.is_some());
        let has = known || status.value.state.may_have_child();
        has && self.tells(instance, worker, status) && self.is_of_now(worker, &status.value)
    }

    /// Who may come back with an instance of a program that is being removed, and finds no word about it
    /// on the bus; and under which epoch: it is told by a tombstone, before the last is dropped that tells
    /// of it. Of several the one that was placed last: one tombstone is all that a forgotten instance takes.
    /// What was told by a worker that was lost before the removal is dropped already, and not known here.
    pub(crate) fn returns<'a>(&self, instance: &'a Instance) -> Option<(&'a WorkerName, Epoch)> {
        let told = || instance.statuses.iter();
        if instance.guard > 0 || told().any(|(at, s)| self.tells_of_removed(instance, at, s)) {
            return None;
        }
        let same = told().filter(|(at, status)| self.is_of_its_run(at, &status.value));
        let told = same.map(|(at, status)| (at, status.value.epoch));
        told.filter(|(_, epoch)| *epoch <= Epoch::TOLD_MAX).max_by_key(|(_, epoch)| *epoch)
    }

    /// Whether the present run of a worker told a state, and is not lost. Its record may be lost, too.
    fn is_of_now(&self, worker: &WorkerName, status: &Status) -> bool {
        !self.is_lost(worker) && self.is_of_its_run(worker, status)
    }

    /// Whether the run of a worker told a state that its record is of. It may be lost, too.
    fn is_of_its_run(&self, worker: &WorkerName, status: &Status) -> bool {
        let record = self.worker(worker);
        record.is_none_or(|record| record.incarnation == status.incarnation)
    }

    /// Instances of a program of which only workers tell, who tells, and the epoch that these know.
    pub fn forgotten(&self, name: &ProgramName) -> Vec<(InstanceId, WorkerName, Epoch)> {
        let entry = self.programs.get(name);
        let instances = entry.into_iter().flat_map(|entry| &entry.instances);
        let told = instances.filter_map(|(index, instance)| {
            let told = instance.statuses.iter().filter(|(at, s)| self.tells(instance, at, s));
            let (worker, last) = told.max_by_key(|(_, status)| status.value.epoch)?;
            Some((InstanceId::new(name.clone(), *index), worker.clone(), last.value.epoch))
        });
        told.collect()
    }

    /// An instance of a program that nobody has declared, as far as the bus remembers, and a worker that
    /// has it.
    pub fn undeclared(&self, name: &ProgramName) -> Option<(InstanceId, &WorkerName)> {
        let entry = self.programs.get(name).filter(|entry| entry.program.is_none())?;
        entry.instances.iter().find_map(|(index, instance)| {
            let of = instance.statuses.iter().find(|(worker, status)| {
                let lives = !self.is_gone(worker) && status.value.state.may_have_child();
                lives || self.tells(instance, worker, status)
            });
            of.map(|(worker, _)| (InstanceId::new(name.clone(), *index), worker))
        })
    }

    /// Workers that may have instances: all of which anything stands on the bus, and that are neither
    /// lost, nor have stopped in order.
    pub fn may_have(&self) -> Vec<WorkerName> {
        let hosts = self.hosts.iter().filter(|(name, host)| {
            let ends = host.state == WorkerState::Stopped || self.is_lost(name);
            let touches = host.leases.values().any(|lease| lease.incarnation.is_some());
            !ends && (host.record.is_some() || touches || !host.told.is_empty())
        });
        hosts.map(|(name, _)| name.clone()).collect()
    }
}
