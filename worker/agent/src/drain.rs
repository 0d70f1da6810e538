//! A worker that is told to stop gives its instances away before it does: the schedulers are asked
//! to, and do it one by one; the supervisor is told when none is left. It waits for that no longer
//! than its owner said, so nothing here gives up.

use dsbus_schema::ids::{InstanceId, UserName, WorkerName};
use dsbus_supervisor::protocol::ToSupervisor;

use crate::bus_side::Phase;
use crate::errands;
use crate::run::Agent;

/// How far the worker is with giving its instances away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Nobody asks for it.
    Not,
    /// The schedulers are to be asked.
    Wanted,
    /// They are being asked.
    Asking,
    /// They do it.
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
        }
    }

    /// Does what comes next.
    pub(crate) fn tend_drain(&mut self) {
        match self.drain {
            Drain::Wanted => {
                if let Some(online) = &self.online {
                    let worker = self.side.worker().clone();
                    self.errands.spawn(errands::drain(online.bus.clone(), worker));
                    self.drain = Drain::Asking;
                }
            }
            Drain::Going if matches!(self.side.phase, Phase::Live) && self.nothing_is_left() => {
                if self.link.say(ToSupervisor::Drained) {
                    self.drain = Drain::Told;
                }
            }
            Drain::Not | Drain::Asking | Drain::Going | Drain::Told => {}
        }
    }

    /// Whether no placement is here that is to run, and no child lives. Programs that run on every
    /// worker have nowhere to go, and stop with it.
    fn nothing_is_left(&self) -> bool {
        let placed = self.side.placements.placed();
        let stays = |name: &InstanceId| placed.get(name).is_some_and(|p| p.spec.system);
        let moves = |name: &InstanceId| placed.get(name).is_some_and(|p| p.wanted.run);
        placed.keys().all(|name| stays(name) || !moves(name)) && self.guards.names().all(stays)
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
