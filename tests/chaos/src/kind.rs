//! The kinds of faults: what is done to whom, and what a user is told of it.

mod table;

pub(crate) use table::KINDS;

use crate::hosts::Way;

/// Whose machine it is done on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Nats,
    Scheduler,
    Worker,
}

/// Which processes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The daemon; of a worker, supervisor and agent.
    Daemon,
    /// The NATS server that leads the stream of placements.
    Leader,
    Supervisor,
    Agent,
    /// One child.
    Child,
    /// Everything on the machine.
    Machine,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// SIGKILL; it is started again after a while.
    Kill(Part),
    /// SIGSTOP, then SIGCONT; of a machine, its freezer.
    Freeze(Part),
    /// SIGTERM; it is started again after a while.
    Term,
    /// The host's packets are lost.
    Cut(Way),
    /// A fifth of the host's packets is lost, each way.
    Lose,
    /// The host sends at most 64 kbit/s.
    Slow,
}

/// A kind of fault.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) act: Act,
    /// Whether a worker that this is done to may lose its instances.
    pub(crate) may_move: bool,
    /// What is done, for people.
    pub(crate) what: &'static str,
    /// What users see of it.
    pub(crate) seen: &'static str,
}

/// The kind of this name.
pub(crate) fn named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

impl Kind {
    /// Whether it needs a network of its own for each host.
    pub(crate) fn needs_network(&self) -> bool {
        match self.act {
            Act::Cut(_) | Act::Lose | Act::Slow => true,
            Act::Kill(_) | Act::Freeze(_) | Act::Term => false,
        }
    }

    /// Whether it is over in a moment, and nothing is started again by whoever did it.
    pub(crate) fn is_instant(&self) -> bool {
        matches!(self.act, Act::Kill(Part::Child | Part::Agent))
    }

    /// Whether it lasts; else it is done in a moment, and what follows is a rest.
    pub(crate) fn lasts(&self) -> bool {
        match self.act {
            Act::Freeze(_) | Act::Cut(_) | Act::Lose | Act::Slow => true,
            Act::Kill(_) | Act::Term => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_role_has_ten_kinds_or_nearly() {
        let mut names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS.len());
        for role in [Role::Nats, Role::Scheduler, Role::Worker] {
            assert!(KINDS.iter().filter(|kind| kind.role == role).count() >= 8);
        }
    }
}
