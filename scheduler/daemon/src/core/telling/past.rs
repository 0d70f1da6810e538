//! What was there at the beginning: entries that were written before this scheduler began, of which
//! nobody may have told.

use std::time::Duration;

use dsbus_client::{Entry, Value};
use dsbus_schema::event::SchedulerChange;
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::ProgramName;
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::placement::{Placement, Removal};
use dsbus_schema::program::Program;
use dsbus_schema::status::Status;
use dsbus_schema::storage::{
    Bucket, FleetKey, parse_fleet_status_key, parse_goal_key, parse_group_key,
    parse_worker_goal_key,
};
use dsbus_schema::worker_goal::WorkerGoal;
use uuid::Uuid;

use super::super::Core;
use super::about;
use crate::tell::derive::{self, At};
use crate::tell::{Check, RECENT, Told};

/// Entries of the time before that are looked through, of each bucket: as many as events are kept in
/// mind. A bucket delivers the oldest first, so those that are left out are old.
const EARLY_MAX: usize = crate::tell::ledger::KEPT_MAX;
/// How long before its marker a scheduler may have told that it leaves.
const LEFT_WITHIN: Duration = Duration::from_secs(60);

impl Core {
    /// Keeps an entry that was there at the beginning, if it may stand for an event.
    pub(in crate::core) fn note_early(&mut self, bucket: Bucket, entry: &Entry) {
        if self.is_news(bucket) {
            return;
        }
        let key = entry.key.as_str();
        let matters = match bucket {
            Bucket::Programs | Bucket::Goals => true,
            Bucket::Status => key.starts_with("_fleet.") || key.starts_with("_group."),
            Bucket::Fleet => match FleetKey::parse(key) {
                Some(FleetKey::Placement(..)) => true,
                Some(FleetKey::Scheduler(_)) => entry.value == Value::Expired,
                Some(FleetKey::Touch(..)) | None => false,
            },
            Bucket::Workers | Bucket::Alerts | Bucket::Secrets => false,
        };
        if matters {
            let early = self.early.entry(bucket).or_default();
            early.push_back(entry.clone());
            if early.len() > EARLY_MAX {
                early.pop_front();
            }
        }
    }

    /// Looks through what was there at the beginning, once all of it is known: what was written in the
    /// last minutes is told, if its writer is gone, or kept in mind. Gives the programs of which the
    /// records must be read for that, and since when.
    pub fn take_past(&mut self, now: BootTime) -> Option<(Vec<ProgramName>, Timestamp)> {
        let latest = self.latest.filter(|_| !self.early.is_empty())?;
        let recent = i128::try_from(RECENT.as_nanos()).unwrap_or(i128::MAX);
        let since = Timestamp::from_unix_nanos(latest.unix_nanos() - recent);
        let (early, mut programs) = (std::mem::take(&mut self.early), Vec::new());
        let early =
            early.into_iter().flat_map(|(bucket, all)| all.into_iter().map(move |e| (bucket, e)));
        for (bucket, entry) in early.filter(|(_, entry)| entry.time >= since) {
            if bucket == Bucket::Programs {
                programs.extend(entry.key.parse::<ProgramName>());
            }
            // A marker has no writer: nobody is left who would tell of it.
            let by = entry.by.clone().unwrap_or_default();
            let told = self.past(bucket, &entry);
            let commands = self.past_commands(bucket, &entry, since.unix_seconds());
            for told in told.into_iter().chain(commands) {
                self.tell_of(&by, told, now);
            }
        }
        programs.sort();
        programs.dedup();
        Some((programs, since))
    }

    /// The commands that an entry remembers, and that are so recent that they may not be told.
    fn past_commands(&self, bucket: Bucket, entry: &Entry, since: i64) -> Vec<Told> {
        use Bucket::{Alerts, Fleet, Secrets, Status, Workers};
        let (at, key) = (At::entry(&self.fleet, entry), entry.key.as_str());
        let read = || match bucket {
            Bucket::Programs => {
                let program = entry.json::<Program>().ok()??;
                Some((key.to_owned(), program.commands))
            }
            Bucket::Goals => match (parse_worker_goal_key(key), parse_goal_key(key)) {
                (Some(worker), _) => {
                    let goal = entry.json::<WorkerGoal>().ok()??;
                    Some((worker.to_string(), goal.commands))
                }
                (None, Some((program, index))) => {
                    let goal = entry.json::<Goal>().ok()??;
                    Some((about(&program, index), goal.commands))
                }
                (None, None) => None,
            },
            Fleet | Workers | Status | Alerts | Secrets => None,
        };
        let Some((about, commands)) = read() else { return Vec::new() };
        derive::recent(at, &about, &commands, since)
    }

    /// What an entry stands for of which it is not known what was there before.
    fn past(&self, bucket: Bucket, entry: &Entry) -> Option<Told> {
        let at = At::entry(&self.fleet, entry);
        let key = entry.key.as_str();
        if bucket == Bucket::Status {
            if let Some(name) = parse_group_key(key) {
                return Some(derive::group(at, &name, entry.json().ok()?));
            }
            let (name, status) = (parse_fleet_status_key(key)?, entry.json::<Status>().ok()??);
            let group = self.view.program(&name.program).and_then(|p| p.spec.group.as_ref());
            return derive::said(at, &name, group, None, &status);
        }
        if bucket == Bucket::Goals {
            let worker = parse_worker_goal_key(key)?;
            let goal = entry.json::<WorkerGoal>().ok()??;
            return derive::worker_goal(at, &worker, None, &goal).into_iter().next();
        }
        match FleetKey::parse(key)? {
            FleetKey::Placement(worker, name) => {
                let told = match entry.json::<Placement>().ok()? {
                    Some(after) => derive::placement(at, (&worker, &name), None, &after),
                    None => {
                        let removal = entry.said::<Removal>().ok()??;
                        Some(derive::removal(at, &worker, &name, &removal))
                    }
                };
                // It may have been changed since it was placed.
                told.map(|told| Told { check: Check::Instance, ..told })
            }
            FleetKey::Scheduler(id) if !self.has_company() => {
                let (at, run) = ((&self.fleet, entry.time), (id.as_str(), Uuid::nil()));
                let left = self.schedulers.len();
                let told = derive::scheduler(at, run, SchedulerChange::Lost, entry.seq, left);
                let before = i128::try_from(LEFT_WITHIN.as_nanos()).unwrap_or(0);
                let since = Timestamp::from_unix_nanos(entry.time.unix_nanos() - before);
                Some(Told { check: Check::LikeSince(since), ..told })
            }
            FleetKey::Scheduler(_) | FleetKey::Touch(..) => None,
        }
    }

    /// Whether another scheduler was ready before this one, and lives: it tells what it has seen.
    fn has_company(&self) -> bool {
        let others = self.peers.iter().filter(|(id, _)| **id != self.me);
        others.into_iter().any(|(id, touch)| touch.ready && self.schedulers.contains(id))
    }
}
