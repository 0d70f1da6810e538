//! Which exclusive children are to be killed by the agent, and when. Pure: the agent kills what is
//! late (`enforce`), and so does the simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsbus_schema::moment::BootTime;

/// The supervisor kills at the deadline; whatever lives so much later is killed here.
const AFTER: Duration = Duration::from_millis(20);
/// Until the supervisor says that the child is gone, its group is killed again: a child may have
/// forked meanwhile.
const AGAIN: Duration = Duration::from_millis(100);
/// So often.
const KILLS_MAX: u32 = 10;

/// The deadlines that this agent and those before it gave, and who lives by them.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// By seconds of the lease.
    classes: BTreeMap<u64, Class>,
}

impl Deadlines {
    /// A child lives by the lease of `seconds`.
    pub fn add(&mut self, seconds: u64, pid: i32) {
        self.classes.entry(seconds).or_default().children.insert(pid);
    }

    /// It is dead.
    pub fn gone(&mut self, pid: i32) {
        for class in self.classes.values_mut() {
            class.children.remove(&pid);
            class.kills.remove(&pid);
        }
    }

    /// Children of this lease may live until then.
    pub fn extend(&mut self, seconds: u64, until: BootTime) {
        let known = &mut self.classes.entry(seconds).or_default().until;
        *known = (*known).max(Some(until));
    }

    /// When the next child is to be killed.
    pub fn next(&self) -> Option<BootTime> {
        self.classes.values().filter_map(Class::deadline).min()
    }

    /// Takes the children that are to be killed now, and says which are for the first time.
    pub fn late(&mut self, now: BootTime) -> Vec<(i32, bool)> {
        self.classes.values_mut().flat_map(|class| class.late(now)).collect()
    }
}

/// The children that live by one lease.
#[derive(Debug, Default)]
struct Class {
    until: Option<BootTime>,
    children: BTreeSet<i32>,
    /// How often those were killed that should be dead.
    kills: BTreeMap<i32, u32>,
}

impl Class {
    fn due(&self, kills: u32) -> Option<BootTime> {
        (kills < KILLS_MAX).then_some(self.until? + AFTER + AGAIN * kills)
    }

    fn deadline(&self) -> Option<BootTime> {
        let first = if self.children.is_empty() { None } else { self.due(0) };
        let again = self.kills.values().filter_map(|kills| self.due(*kills)).min();
        first.into_iter().chain(again).min()
    }

    /// Takes the children that are to be killed now, and says which are for the first time.
    fn late(&mut self, now: BootTime) -> Vec<(i32, bool)> {
        let mut late = Vec::new();
        let again = self.kills.iter().filter(|(_, n)| self.due(**n).is_some_and(|due| due <= now));
        late.extend(again.map(|(pid, _)| (*pid, false)));
        if self.due(0).is_some_and(|due| due <= now) {
            late.extend(std::mem::take(&mut self.children).into_iter().map(|pid| (pid, true)));
        }
        for (pid, _) in &late {
            *self.kills.entry(*pid).or_default() += 1;
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> BootTime {
        BootTime(ms * 1_000_000)
    }

    #[test]
    fn a_child_is_killed_again_until_it_is_gone_but_not_for_ever() {
        let mut class = Class { until: Some(at(1000)), ..Class::default() };
        class.children.insert(7);
        assert_eq!(class.late(at(1019)), []);
        assert_eq!(class.late(at(1020)), [(7, true)]);
        for kills in 1..u64::from(KILLS_MAX) {
            let due = at(1020 + 100 * kills);
            assert_eq!(class.deadline(), Some(due));
            assert_eq!(class.late(due), [(7, false)]);
        }
        assert_eq!(class.deadline(), None);
    }
}
