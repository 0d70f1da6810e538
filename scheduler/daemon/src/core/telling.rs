//! What is told of what is folded: see [`crate::tell`].

use std::time::Duration;

use dsbus_client::{Entry, Error};
use dsbus_schema::event::{Fact, GroupFact, SchedulerChange};
use dsbus_schema::goal::Goal;
use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::placement::{Placement, Removal};
use dsbus_schema::program::Program;
use dsbus_schema::status::Status;
use dsbus_schema::storage::Bucket;
use dsbus_schema::touch::{PRESENCE_SECONDS, SchedulerTouch};
use dsbus_schema::worker_goal::WorkerGoal;

use super::Core;
use crate::tell::Told;
use crate::tell::derive::{self, At};

/// A scheduler whose lease has expired is told to be lost after this time, unless it touches again: a
/// bus that was away lets the leases of all expire, and they are back in a moment.
const BACK_WITHIN: Duration = Duration::from_secs(PRESENCE_SECONDS);

/// A scheduler whose lease has expired.
#[derive(Debug)]
pub(super) struct Lapsed {
    since: BootTime,
    /// The marker, and when it was written.
    seq: u64,
    time: Timestamp,
}

impl Core {
    /// When the latest entry that is known was written, by the clock of NATS.
    pub fn latest(&self) -> Option<Timestamp> {
        self.latest
    }

    /// What is to be told now. Whoever folds asks for it afterwards.
    pub fn take_told(&mut self) -> Vec<Told> {
        self.ledger.take()
    }

    /// Whether what is folded is news, and not what was there at the beginning.
    fn is_news(&self, bucket: Bucket) -> bool {
        self.caught_up.contains(&bucket)
    }

    /// What a scheduler wrote is told by itself, or kept in mind while it lives.
    fn tell(&mut self, entry: &Entry, told: impl IntoIterator<Item = Told>, now: BootTime) {
        // Older schedulers tell for themselves.
        let Some(by) = &entry.by else { return };
        for told in told {
            // Commands are told by whoever answers them, before it does.
            let mine = *by == self.me;
            if mine && !matches!(told.fact, Fact::Command(_)) {
                self.ledger.tell_own(told);
            } else if !mine {
                self.tell_of(by, told, now);
            }
        }
    }

    fn tell_of(&mut self, by: &str, told: Told, now: BootTime) {
        if by != self.me && self.schedulers.contains(by) {
            self.ledger.keep(by, told, now);
        } else {
            self.ledger.tell(told);
        }
    }

    /// A scheduler, or an earlier run of this one, wrote this before this run began.
    pub fn tell_past(&mut self, by: &str, told: Told, now: BootTime) {
        self.tell_of(by, told, now);
    }

    pub(super) fn tell_program(
        &mut self,
        entry: &Entry,
        name: &ProgramName,
        after: Option<&Program>,
        now: BootTime,
    ) {
        let Some(after) = after.filter(|_| self.is_news(Bucket::Programs)) else { return };
        let told = derive::program(At::entry(&self.fleet, entry), self.view.program(name), after);
        self.tell(entry, told, now);
    }

    pub(super) fn tell_worker_goal(
        &mut self,
        entry: &Entry,
        worker: &WorkerName,
        after: Option<&WorkerGoal>,
        now: BootTime,
    ) {
        let Some(after) = after.filter(|_| self.is_news(Bucket::Goals)) else { return };
        let none = WorkerGoal::default();
        let before = self.view.worker_goal(worker).unwrap_or(&none);
        let told = derive::worker_goal(At::entry(&self.fleet, entry), worker, Some(before), after);
        self.tell(entry, told, now);
    }

    pub(super) fn tell_goal(
        &mut self,
        entry: &Entry,
        (program, index): (&ProgramName, Option<u32>),
        after: Option<&Goal>,
        now: BootTime,
    ) {
        let Some(after) = after.filter(|_| self.is_news(Bucket::Goals)) else { return };
        let goals = self.view.goals(program);
        let before = goals.and_then(|goals| match index {
            None => goals.all.as_ref(),
            Some(index) => goals.each.get(&index),
        });
        let about = about(program, index);
        let told = derive::goal(At::entry(&self.fleet, entry), &about, before, after);
        self.tell(entry, told, now);
    }

    pub(super) fn tell_said(
        &mut self,
        entry: &Entry,
        name: &InstanceId,
        after: Option<&Status>,
        now: BootTime,
    ) {
        let Some(after) = after.filter(|_| self.is_news(Bucket::Status)) else { return };
        let group = self.view.program(&name.program).and_then(|p| p.spec.group.as_ref());
        let before = self.view.said(name).0;
        let told = derive::said(At::entry(&self.fleet, entry), name, group, before, after);
        self.tell(entry, told, now);
    }

    pub(super) fn tell_group(
        &mut self,
        entry: &Entry,
        name: &ProgramName,
        after: Option<&GroupFact>,
        now: BootTime,
    ) {
        let gone = after.is_none() && self.view.group(name).is_none();
        if self.is_news(Bucket::Status) && !gone {
            let told = derive::group(At::entry(&self.fleet, entry), name, after.cloned());
            self.tell(entry, [told], now);
        }
    }

    pub(super) fn tell_placement(
        &mut self,
        entry: &Entry,
        (worker, name): (&WorkerName, &InstanceId),
        after: Option<&Placement>,
        now: BootTime,
    ) -> Result<(), Error> {
        if !self.is_news(Bucket::Fleet) {
            return Ok(());
        }
        if entry.by.as_ref() == Some(&self.me) {
            self.ledger.replace_placement(name);
        }
        let at = At::entry(&self.fleet, entry);
        let told = match after {
            Some(after) => {
                let before = self.view.placed(name).filter(|placed| placed.worker == *worker);
                derive::placement(at, (worker, name), before, after)
            }
            None => {
                entry.said::<Removal>()?.map(|removal| derive::removal(at, worker, name, &removal))
            }
        };
        self.tell(entry, told, now);
        Ok(())
    }

    /// A scheduler touched, or its lease expired. `before` is the sequence that its key had before.
    pub(super) fn fold_scheduler(&mut self, id: &str, entry: &Entry, before: u64, now: BootTime) {
        let Ok(Some(touch)) = entry.json::<SchedulerTouch>() else {
            if self.schedulers.remove(id) || self.peers.contains_key(id) {
                let lapsed = Lapsed { since: now, seq: entry.seq, time: entry.time };
                self.lapsed.insert(id.to_owned(), lapsed);
            }
            return self.gone(id, entry, now);
        };
        let known = self.peers.insert(id.to_owned(), touch.clone());
        self.lapsed.remove(id);
        if touch.leaving {
            self.schedulers.remove(id);
            self.ledger.says_untold(id, touch.untold);
            self.gone(id, entry, now);
        } else {
            self.schedulers.insert(id.to_owned());
        }
        if !self.is_news(Bucket::Fleet) {
            return;
        }
        if let Some(known) = &known
            && known.run != touch.run
        {
            // Another run of the same name: what the one before has not told nobody else will.
            self.gone(id, entry, now);
            self.lost(id, known, (entry.time, 0));
        }
        self.ledger.touched(id, touch.untold, now);
        let (at, run) = ((&self.fleet, entry.time), (id, touch.run));
        let schedulers = self.schedulers.len();
        if touch.leaving && known.as_ref().is_none_or(|known| !known.leaving) {
            let told = derive::scheduler(at, run, SchedulerChange::Left, 0, schedulers);
            self.ledger.tell(told);
            self.peers.remove(id);
        } else if derive::joins(known.as_ref(), &touch) {
            // One that is back after it was told to be lost joins anew.
            let seq = if known.is_none() { before } else { 0 };
            let told = derive::scheduler(at, run, SchedulerChange::Joined, seq, schedulers);
            self.tell_of(id, told, now);
        }
    }

    /// A scheduler is gone, as an entry says: what it may not have told is told, or counted.
    fn gone(&mut self, id: &str, entry: &Entry, now: BootTime) {
        let count = self.ledger.gone(id, now);
        if count > 0 {
            let at = At::entry(&self.fleet, entry);
            self.ledger.tell(derive::forgotten(at, id, count, self.schedulers.len()));
        }
    }

    /// A run of a scheduler is lost, unless it has left.
    fn lost(&mut self, id: &str, touch: &SchedulerTouch, (time, seq): (Timestamp, u64)) {
        if !touch.leaving && !touch.run.is_nil() {
            let (at, run, left) = ((&self.fleet, time), (id, touch.run), self.schedulers.len());
            self.ledger.tell(derive::scheduler(at, run, SchedulerChange::Lost, seq, left));
        }
    }

    /// Tells of schedulers that did not come back.
    pub fn judge_schedulers(&mut self, now: BootTime) {
        let due = |(_, lapsed): &(&String, &Lapsed)| now.since(lapsed.since) >= BACK_WITHIN;
        let lost: Vec<String> = self.lapsed.iter().filter(due).map(|(id, _)| id.clone()).collect();
        for id in lost {
            let Some(lapsed) = self.lapsed.remove(&id) else { continue };
            if let Some(touch) = self.peers.remove(&id) {
                self.lost(&id, &touch, (lapsed.time, lapsed.seq));
            }
        }
    }

    /// What stood under the key of this scheduler before its first touch.
    pub fn former(&mut self, entry: &Entry) {
        match entry.json::<SchedulerTouch>() {
            Ok(Some(touch)) => self.lost(&self.me.clone(), &touch, (entry.time, 0)),
            Ok(None) | Err(_) => self.note_early(Bucket::Fleet, entry),
        }
    }

    /// How many other schedulers live.
    pub fn others(&self) -> usize {
        self.schedulers.iter().filter(|id| **id != self.me).count()
    }
}

/// A program or an instance, by name.
fn about(program: &ProgramName, index: Option<u32>) -> String {
    index.map_or_else(|| program.to_string(), |index| format!("{program}:{index}"))
}

mod past;
#[cfg(test)]
mod tests;
