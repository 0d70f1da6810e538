//! Leases that are overdue: what is asked about them, and what becomes known.

use dsbus_client::{Entry, Error};
use dsbus_planner::view::Life;
use dsbus_schema::ids::WorkerName;
use dsbus_schema::moment::BootTime;
use dsbus_schema::storage::Bucket;

use super::{Core, LeaseKey};

impl Core {
    /// Leases that somebody lives by, that are overdue, and whose end was not heard of.
    pub fn unheard(&self) -> Vec<LeaseKey> {
        let held = self.view.held();
        let silent = self.view.leases().filter(|(_, lease)| lease.life == Life::Silent);
        silent.map(|(key, _)| key).filter(|key| held.contains(key)).collect()
    }

    /// This is what stands under the key of a lease: nothing, when it expired so long ago that its
    /// marker is gone, too.
    ///
    /// # Errors
    /// As [`Core::fold`].
    pub fn looked(
        &mut self,
        key: &LeaseKey,
        entry: Option<&Entry>,
        now: BootTime,
    ) -> Result<(), Error> {
        if let Some(entry) = entry {
            return self.fold(Bucket::Fleet, entry, now).map(drop);
        }
        if self.view.lease_of(&key.0, key.1).is_some_and(|lease| lease.life == Life::Silent) {
            self.view.expired(&key.0, key.1, 0);
            self.judge.expired(key, now);
        }
        Ok(())
    }

    /// A worker answered.
    pub fn answered(&mut self, worker: &WorkerName) {
        let keys: Vec<LeaseKey> =
            self.view.leases().map(|(key, _)| key).filter(|(name, _)| name == worker).collect();
        for key in &keys {
            self.judge.answered(key);
        }
    }
}
