//! States, as workers and schedulers tell them.

use dsbus_client::{Entry, Error};
use dsbus_planner::view::{Life, Seen};
use dsbus_schema::moment::BootTime;
use dsbus_schema::storage::{parse_fleet_status_key, parse_group_key, parse_instance_key};
use dsbus_schema::touch::PRESENCE_SECONDS;

use super::Core;

impl Core {
    pub(super) fn fold_status(&mut self, entry: &Entry, now: BootTime) -> Result<(), Error> {
        if let Some(name) = parse_fleet_status_key(&entry.key) {
            let status = entry.json()?;
            self.tell_said(entry, &name, status.as_ref(), now);
            self.view.set_said(&name, entry.seq, status);
        } else if let Some(name) = parse_group_key(&entry.key) {
            let told = entry.json()?;
            self.tell_group(entry, &name, told.as_ref(), now);
            self.view.set_group(&name, entry.seq, told);
        } else if let Some((worker, name)) = parse_instance_key(&entry.key) {
            let status = entry.json()?.map(|value| Seen { seq: entry.seq, value });
            // Its worker is there until it is judged otherwise, also where its touch is gone.
            if status.is_some() && self.view.lease_of(&worker, PRESENCE_SECONDS).is_none() {
                self.view.set_life(&worker, PRESENCE_SECONDS, Life::Silent);
                self.judge.first_seen(&(worker.clone(), PRESENCE_SECONDS), now);
            }
            self.view.set_status(&worker, &name, status, now);
        }
        Ok(())
    }
}
