//! Which events are to be told now, and which are kept in mind because others are to tell them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_schema::event::{COMMAND_NAMES_MAX, CommandFact, Fact};
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::BootTime;

use super::{RECENT, Told};

/// Events that are kept in mind. A thousand programs that move are a thousand; at some hundred bytes
/// each this is a few megabytes.
pub const KEPT_MAX: usize = 16_384;
/// How long they are kept in mind while their writer says that it has told all: longer than its lease,
/// and than any write that is on its way takes.
pub const KEPT_FOR: Duration = Duration::from_secs(30);
/// How far one looks back for another part of the same command.
const PARTS_MAX: usize = 64;

/// An event that another scheduler is to tell.
#[derive(Debug)]
struct Kept {
    by: String,
    since: BootTime,
    told: Told,
}

/// What is known of a scheduler that tells.
#[derive(Debug, Default)]
struct Writer {
    /// How many events it said, last, that it has still to tell.
    untold: u64,
    /// How many of them are no longer kept in mind: if it dies, nobody tells them.
    forgotten: u64,
}

/// Events, by who is to tell them.
#[derive(Debug, Default)]
pub struct Ledger {
    due: Vec<Told>,
    /// In the order in which they were seen.
    kept: BTreeMap<u64, Kept>,
    number: u64,
    by: BTreeMap<String, BTreeSet<u64>>,
    /// Those about what one entry at a time tells of.
    about: BTreeMap<String, BTreeSet<u64>>,
    /// Those that have something untold.
    writers: BTreeMap<String, Writer>,
}

impl Ledger {
    /// It is to be told now, by this scheduler, which wrote the entry, and so is what is kept of the
    /// one that is replaced by it.
    pub fn tell_own(&mut self, told: Told) {
        if let Some(about) = about(&told.fact) {
            self.replace(&about);
        }
        self.due.push(told);
    }

    /// This scheduler wrote over the entry of an instance, of which nothing is to be told but what is
    /// kept of the one before: if its writer dies, nobody could read it off any more.
    pub fn replace_placement(&mut self, name: &InstanceId) {
        self.replace(&name.to_string());
    }

    fn replace(&mut self, about: &str) {
        for number in self.about.get(about).cloned().unwrap_or_default() {
            let kept = self.remove(number);
            self.due.extend(kept.map(|kept| kept.told));
        }
    }

    /// It is to be told now, by this scheduler.
    pub fn tell(&mut self, told: Told) {
        self.due.push(told);
    }

    /// Another scheduler, which lives, is to tell it.
    pub fn keep(&mut self, by: &str, told: Told, now: BootTime) {
        if let Fact::Command(new) = &told.fact
            && let Some(fact) = self.part(by, &told)
        {
            // A command about several records is one event.
            let more = new.names.iter().filter(|name| !fact.names.contains(name));
            let more: Vec<String> = more.cloned().collect();
            fact.count += more.len();
            fact.names.extend(more);
            return fact.names.truncate(COMMAND_NAMES_MAX);
        }
        self.number += 1;
        let number = self.number;
        self.by.entry(by.to_owned()).or_default().insert(number);
        if let Some(about) = about(&told.fact) {
            self.about.entry(about).or_default().insert(number);
        }
        self.kept.insert(number, Kept { by: by.to_owned(), since: now, told });
        if self.kept.len() > KEPT_MAX
            && let Some(oldest) = self.kept.keys().next().copied()
            && let Some(oldest) = self.remove(oldest)
        {
            self.writers.entry(oldest.by).or_default().forgotten += 1;
        }
    }

    /// What is kept of the same command already.
    fn part(&mut self, by: &str, told: &Told) -> Option<&mut CommandFact> {
        let mut last = self.by.get(by)?.iter().rev().take(PARTS_MAX);
        let same = |number: &&u64| self.kept.get(number).is_some_and(|k| k.told.id == told.id);
        let number = last.find(same)?;
        let Fact::Command(fact) = &mut self.kept.get_mut(number)?.told.fact else { return None };
        Some(fact)
    }

    fn remove(&mut self, number: u64) -> Option<Kept> {
        let kept = self.kept.remove(&number)?;
        cut(&mut self.by, &kept.by, number);
        if let Some(about) = about(&kept.told.fact) {
            cut(&mut self.about, &about, number);
        }
        Some(kept)
    }

    /// A scheduler touched, and said how many events it has still to tell.
    pub fn touched(&mut self, by: &str, untold: u64, now: BootTime) {
        let keep = if untold > 0 { RECENT } else { KEPT_FOR };
        let old =
            |number: &&u64| self.kept.get(number).is_none_or(|kept| now.since(kept.since) >= keep);
        let all = self.by.get(by).into_iter().flatten();
        let over: Vec<u64> = all.take_while(old).copied().collect();
        for number in &over {
            self.remove(*number);
        }
        let writer = self.writers.entry(by.to_owned()).or_default();
        writer.forgotten += over.len() as u64;
        self.says_untold(by, untold);
    }

    /// A scheduler says how many events it has still to tell: no more of it can be lost.
    pub fn says_untold(&mut self, by: &str, untold: u64) {
        if untold == 0 {
            self.writers.remove(by);
        } else {
            let writer = self.writers.entry(by.to_owned()).or_default();
            writer.untold = untold;
            writer.forgotten = writer.forgotten.min(untold);
        }
    }

    /// A scheduler is gone: what it may not have told is told now. How many events it may not have told
    /// that nobody tells, since they were too many, or too old.
    pub fn gone(&mut self, by: &str, now: BootTime) -> u64 {
        let mut old = 0;
        for number in self.by.get(by).cloned().unwrap_or_default() {
            match self.remove(number) {
                Some(kept) if now.since(kept.since) < RECENT => self.due.push(kept.told),
                Some(_) => old += 1,
                None => {}
            }
        }
        let Writer { untold, forgotten } = self.writers.remove(by).unwrap_or_default();
        forgotten + untold.saturating_sub(forgotten).min(old)
    }

    /// What is to be told now.
    pub fn take(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.due)
    }
}

/// What an event tells of, where one entry at a time does.
fn about(fact: &Fact) -> Option<String> {
    match fact {
        Fact::Placement(fact) => Some(fact.name.to_string()),
        Fact::Group(fact) => Some(format!("group {}", fact.group)),
        Fact::Worker(fact) => Some(format!("worker {}", fact.worker)),
        Fact::Process(_)
        | Fact::Notice(_)
        | Fact::Output(_)
        | Fact::Rollout(_)
        | Fact::Program(_)
        | Fact::Command(_)
        | Fact::Scheduler(_)
        | Fact::Tick(_)
        | Fact::User(_)
        | Fact::Listener(_) => None,
    }
}

fn cut(map: &mut BTreeMap<String, BTreeSet<u64>>, key: &str, number: u64) {
    if let Some(numbers) = map.get_mut(key) {
        numbers.remove(&number);
        if numbers.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tell::derive::scheduler;
    use dsbus_schema::event::SchedulerChange;
    use dsbus_schema::ids::FleetName;
    use dsbus_schema::moment::Timestamp;
    use uuid::Uuid;

    fn at(seconds: u64) -> BootTime {
        BootTime(1_000_000_000_000) + Duration::from_secs(seconds)
    }

    fn event(n: u64) -> Told {
        let (fleet, time) = (FleetName::default(), Timestamp::from_unix_nanos(0));
        scheduler((&fleet, time), ("s", Uuid::nil()), SchedulerChange::Lost, n, 0)
    }

    fn taken(ledger: &mut Ledger) -> usize {
        ledger.take().len()
    }

    #[test]
    fn what_a_scheduler_wrote_is_told_when_it_is_gone() {
        let mut ledger = Ledger::default();
        ledger.keep("s1", event(1), at(0));
        ledger.keep("s2", event(2), at(0));
        assert_eq!(taken(&mut ledger), 0);
        ledger.gone("s1", at(5));
        assert_eq!(ledger.take(), [event(1)]);
        ledger.gone("s1", at(6));
        assert_eq!(taken(&mut ledger), 0, "once");
    }

    #[test]
    fn what_it_says_it_has_told_is_kept_for_a_while_only() {
        for (untold, seconds, left) in
            [(0, 29, true), (0, 30, false), (1, 30, true), (1, 539, true), (1, 540, false)]
        {
            let mut ledger = Ledger::default();
            ledger.keep("s1", event(1), at(0));
            ledger.touched("s1", untold, at(seconds));
            ledger.gone("s1", at(seconds));
            assert_eq!(taken(&mut ledger) == 1, left, "{untold} untold, after {seconds} s");
        }
        let mut silent = Ledger::default();
        silent.keep("s1", event(1), at(0));
        silent.gone("s1", at(600));
        assert_eq!(taken(&mut silent), 0, "NATS may have forgotten that it was told");
    }

    #[test]
    fn what_nobody_tells_of_a_scheduler_that_is_gone_is_counted() {
        // How many are written, how many it says at second 100 that it has to tell, how many more are
        // written then, when it is gone; how many are told, and how many are lost.
        let most = KEPT_MAX as u64;
        for (before, untold, after, gone, told, lost) in [
            (10, 0, 10, 101, 10, 0),
            (10, 7, 0, 101, 10, 0),
            (most + 50, 40, 0, 101, most, 40),
            (most + 50, 0, 0, 101, 0, 0),
            (0, 0, most + 50, 101, most, 50),
            (10, 7, 0, 540, 0, 7),
            (10, 0, 0, 540, 0, 0),
        ] {
            let mut ledger = Ledger::default();
            (0..before).for_each(|n| ledger.keep("s1", event(n), at(0)));
            ledger.touched("s1", untold, at(100));
            (0..after).for_each(|n| ledger.keep("s1", event(before + n), at(100)));
            let case = format!("{before} {untold} {after} {gone}");
            assert_eq!(ledger.gone("s1", at(gone)), lost, "{case}");
            assert_eq!(taken(&mut ledger) as u64, told, "{case}");
            assert_eq!(ledger.gone("s1", at(gone)), 0, "once");
            assert!(ledger.writers.is_empty());
        }
        // It goes on to say so until they are given up.
        let mut ledger = Ledger::default();
        (0..10).for_each(|n| ledger.keep("s1", event(n), at(0)));
        ledger.touched("s1", 12, at(539));
        ledger.touched("s1", 9, at(540));
        assert_eq!((ledger.gone("s1", at(541)), taken(&mut ledger)), (9, 0));
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut ledger = Ledger::default();
        for n in 0..=KEPT_MAX as u64 {
            ledger.keep("s1", event(n), at(0));
        }
        ledger.gone("s1", at(1));
        let told = ledger.take();
        assert_eq!((told.len(), &told[0]), (KEPT_MAX, &event(1)), "the oldest goes");
        assert!(ledger.kept.is_empty() && ledger.by.is_empty() && ledger.about.is_empty());
    }

    #[test]
    fn whoever_replaces_an_entry_tells_what_is_kept_of_it() {
        use dsbus_schema::event::{GroupChange, GroupFact};
        use dsbus_schema::ids::ProgramName;
        let fleet = FleetName::default();
        let group = |name: &str, seq| {
            let group = ProgramName::parse(name).unwrap();
            let fact =
                GroupFact { group: group.clone(), change: GroupChange::Ok, failed: Vec::new() };
            let time = Timestamp::from_unix_nanos(0);
            let at = crate::tell::derive::At { fleet: &fleet, seq, time, by: "s1" };
            crate::tell::derive::group(at, &group, Some(fact))
        };
        let mut ledger = Ledger::default();
        ledger.keep("s1", group("shop", 1), at(0));
        ledger.keep("s1", group("post", 2), at(0));
        ledger.tell_own(group("shop", 3));
        assert_eq!(ledger.take(), [group("shop", 1), group("shop", 3)]);
        ledger.gone("s1", at(1));
        assert_eq!(ledger.take(), [group("post", 2)]);
    }

    #[test]
    fn a_command_about_several_programs_is_one_event() {
        use crate::tell::derive::{At, goal};
        let fleet = FleetName::default();
        let at_entry = At { fleet: &fleet, seq: 1, time: Timestamp::from_unix_nanos(0), by: "s1" };
        let by = dsbus_schema::ids::UserName::parse("ann").unwrap();
        let mut after = dsbus_schema::goal::Goal::default();
        let sender = dsbus_schema::goal::Sender { by: &by, at: 0 };
        after.commands.remember(Uuid::from_u128(7), "start", Some(sender));
        let mut ledger = Ledger::default();
        for name in ["web", "api", "web"] {
            for told in goal(at_entry, name, None, &after) {
                ledger.keep("s1", told, at(0));
            }
        }
        ledger.gone("s1", at(1));
        let told = ledger.take();
        let Some(Told { fact: Fact::Command(fact), .. }) = told.first() else { panic!("{told:?}") };
        assert_eq!((told.len(), fact.count, fact.names.join(" ")), (1, 2, "web api".to_owned()));
    }
}
