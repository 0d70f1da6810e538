//! A worker that is told to stop gives its instances away before it does: its record says so, the
//! schedulers move them one by one, and the supervisor is told when none is left. It waits for that
//! no longer than its owner said, so nothing here gives up. The record of its next run says nothing
//! of the kind, so there is nothing to take back.

use std::collections::BTreeSet;

use dsbus_schema::ids::{InstanceId, UserName, WorkerName};
use dsbus_supervisor::protocol::ToSupervisor;

use crate::bus_side::Phase;
use crate::run::Agent;

/// How far the worker is with giving its instances away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Nobody asks for it.
    Not,
    /// It is to be written into the worker's record.
    Wanted,
    /// It is in the record: the schedulers do it.
    Going,
    /// The supervisor was told that it is done.
    Told,
}

/// Who a worker is when it sends commands, unless somebody else was named: its name alone could be a
/// person's. A worker of a very long name has no such user, and stays whom it is connected as.
pub(crate) fn user(given: UserName, worker: &WorkerName) -> UserName {
    if given != UserName::default() {
        return given;
    }
    UserName::parse(&format!("worker-{worker}")).unwrap_or(given)
}

impl Agent {
    /// The worker is to be drained.
    pub(crate) fn begin_drain(&mut self) {
        if self.drain == Drain::Not {
            tracing::info!("giving away what is placed here");
            self.drain = Drain::Wanted;
            self.side.drain();
            self.carry_out();
        }
    }

    /// The record was written, as it is now.
    pub(crate) fn recorded(&mut self) {
        if self.drain == Drain::Wanted {
            self.drain = Drain::Going;
        }
    }

    /// Tells the supervisor when nothing is left.
    pub(crate) fn tend_drain(&mut self) {
        if matches!(self.drain, Drain::Wanted | Drain::Going) {
            let left = !self.nothing_is_left();
            let knows = self.drain == Drain::Going && matches!(self.side.phase, Phase::Live);
            if knows && !left && self.link.say(ToSupervisor::Drained) {
                self.drain = Drain::Told;
            }
        }
    }

    /// Whether everything has left that ran, or was to run, since the drain began. What rests has
    /// nothing to be moved for, and programs that run on every worker stop with it.
    fn nothing_is_left(&mut self) -> bool {
        let placed = self.side.placements.placed();
        let here = placed.iter().filter(|(_, p)| p.wanted.run && p.rest.is_none());
        let busy = here.map(|(name, _)| name).chain(self.guards.names());
        let stays = |name: &InstanceId| placed.get(name).is_some_and(|p| p.spec.system);
        self.left_to_drain.extend(busy.filter(|name| !stays(name)).cloned());
        // A child may outlive its placement by the time it takes to stop.
        let lives: BTreeSet<&InstanceId> = self.guards.names().collect();
        self.left_to_drain.retain(|name| placed.contains_key(name) || lives.contains(name));
        self.left_to_drain.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_asks_under_its_own_name_unless_another_was_given() {
        let worker = WorkerName::parse("w1").unwrap();
        assert_eq!(user(UserName::default(), &worker).as_str(), "worker-w1");
        let ann = UserName::parse("ann").unwrap();
        assert_eq!(user(ann.clone(), &worker), ann);
        let long = WorkerName::parse(&"x".repeat(64)).unwrap();
        assert_eq!(user(UserName::default(), &long), UserName::default());
    }
}
