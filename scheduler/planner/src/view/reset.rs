//! A bucket is delivered anew.

use dsbus_schema::ids::{Epoch, InstanceId, ProgramName, WorkerName};
use dsbus_schema::storage::Bucket;

use super::{Goals, Lease, Life, Part, View};

impl View {
    /// A bucket is delivered anew: forget what it told.
    pub fn reset(&mut self, bucket: Bucket) {
        let programs: Vec<ProgramName> = self.programs.keys().cloned().collect();
        let workers: Vec<WorkerName> = self.hosts.keys().cloned().collect();
        match bucket {
            Bucket::Programs => {
                self.unread_reset(Part::Program);
                for name in &programs {
                    self.put_program(name, None);
                }
            }
            Bucket::Goals => {
                self.unread_reset(Part::Goal(None));
                for name in &programs {
                    if let Some(entry) = self.programs.get_mut(name) {
                        entry.goals = Goals::default();
                    }
                    self.set_goal(name, None, None);
                }
                for name in &workers {
                    self.set_worker_goal(name, None);
                }
            }
            Bucket::Workers => workers.iter().for_each(|name| self.set_worker(name, None)),
            Bucket::Status => {
                for instance in self.programs.values_mut().flat_map(|e| e.instances.values_mut()) {
                    instance.statuses.clear();
                    (instance.said, instance.said_guard, instance.well) = (None, 0, None);
                }
                self.hosts.values_mut().for_each(|host| host.told.clear());
                self.groups.clear();
            }
            Bucket::Fleet => self.reset_fleet(&workers),
            Bucket::Alerts | Bucket::Secrets => {}
        }
        self.note_all();
    }

    /// A tombstone says that an instance had this epoch.
    pub fn raise_floor(&mut self, name: &InstanceId, epoch: Epoch) {
        let entry = self.programs.entry(name.program.clone()).or_default();
        let instance = entry.instances.entry(name.index).or_default();
        instance.floor = epoch.max(instance.floor);
    }

    fn reset_fleet(&mut self, workers: &[WorkerName]) {
        let placements: Vec<_> =
            self.placements().map(|(name, placed)| (name, placed.worker.clone())).collect();
        for (name, worker) in placements {
            self.set_placement(&worker, &name, 0, None);
        }
        for instance in self.programs.values_mut().flat_map(|e| e.instances.values_mut()) {
            instance.guard = 0;
            instance.forged.clear();
        }
        self.lost.clear();
        for worker in workers {
            for lease in self.host(worker).leases.values_mut() {
                *lease = Lease { life: Life::Silent, ..Lease::default() };
            }
            self.rejudge(worker);
        }
    }
}
