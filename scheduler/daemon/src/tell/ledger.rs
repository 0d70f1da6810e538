//! Which events are to be told now, and which are kept in mind because others are to tell them. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use dsbus_schema::event::{COMMAND_NAMES_MAX, Fact};
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

/// Events, by who is to tell them.
#[derive(Debug, Default)]
pub struct Ledger {
    due: Vec<Told>,
    kept: BTreeMap<String, VecDeque<(BootTime, Told)>>,
    /// How many are kept in mind.
    count: usize,
}

impl Ledger {
    /// It is to be told now, by this scheduler.
    pub fn tell(&mut self, told: Told) {
        self.due.push(told);
    }

    /// Another scheduler, which lives, is to tell it.
    pub fn keep(&mut self, by: &str, told: Told, now: BootTime) {
        let kept = self.kept.entry(by.to_owned()).or_default();
        if let Fact::Command(new) = &told.fact {
            // A command about several records is one event.
            let known = kept.iter_mut().rev().take(PARTS_MAX).find(|(_, old)| old.id == told.id);
            if let Some((_, Told { fact: Fact::Command(fact), .. })) = known {
                let more = new.names.iter().filter(|name| !fact.names.contains(name));
                let more: Vec<String> = more.cloned().collect();
                fact.count += more.len();
                fact.names.extend(more);
                fact.names.truncate(COMMAND_NAMES_MAX);
                return;
            }
        }
        kept.push_back((now, told));
        self.count += 1;
        while self.count > KEPT_MAX {
            // The oldest of whoever has most.
            let Some(most) = self.kept.values_mut().max_by_key(|kept| kept.len()) else { return };
            most.pop_front();
            self.count -= 1;
        }
    }

    /// A scheduler touched, and said how many events it has still to tell.
    pub fn touched(&mut self, by: &str, untold: u64, now: BootTime) {
        let Some(kept) = self.kept.get_mut(by) else { return };
        let keep = if untold > 0 { RECENT } else { KEPT_FOR };
        let before = kept.len();
        while kept.front().is_some_and(|(since, _)| now.since(*since) >= keep) {
            kept.pop_front();
        }
        self.count -= before - kept.len();
        if kept.is_empty() {
            self.kept.remove(by);
        }
    }

    /// A scheduler is gone: what it may not have told is told now.
    pub fn gone(&mut self, by: &str, now: BootTime) {
        let Some(kept) = self.kept.remove(by) else { return };
        self.count -= kept.len();
        let recent = kept.into_iter().filter(|(since, _)| now.since(*since) < RECENT);
        self.due.extend(recent.map(|(_, told)| told));
    }

    /// What is to be told now.
    pub fn take(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.due)
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
    fn no_more_is_kept_than_there_is_room_for() {
        let mut ledger = Ledger::default();
        ledger.keep("s2", event(0), at(0));
        for n in 0..KEPT_MAX as u64 {
            ledger.keep("s1", event(n), at(0));
        }
        ledger.gone("s1", at(1));
        let told = ledger.take();
        assert_eq!((told.len(), &told[0]), (KEPT_MAX - 1, &event(1)), "the oldest goes");
        ledger.gone("s2", at(1));
        assert_eq!(taken(&mut ledger), 1);
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
