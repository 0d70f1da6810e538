//! What operators can be limited to.

use std::fmt;

use crate::call::WorkerVerb;
use crate::command::Verb;

/// Commands that change nothing, and tell no value of an environment.
pub const VERBS_TO_LOOK: [Verb; 6] =
    [Verb::Status, Verb::Workers, Verb::Rollouts, Verb::History, Verb::Explain, Verb::Groups];
/// Calls to workers that change nothing.
pub const CALLS_TO_LOOK: [WorkerVerb; 5] = [
    WorkerVerb::Ping,
    WorkerVerb::Log,
    WorkerVerb::LogBulk,
    WorkerVerb::LogWindow,
    WorkerVerb::Usage,
];

/// Calls to workers that only schedulers send: when somebody who may do so has commanded it, and one
/// whose answers hold environments.
pub const CALLS_OF_SCHEDULERS: [WorkerVerb; 4] =
    [WorkerVerb::Signal, WorkerVerb::Stdin, WorkerVerb::Clear, WorkerVerb::Inventory];

/// What an operator may do beside looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// A command to the schedulers, which say who may give it to which programs.
    Command(Verb),
    /// To publish events under his own name.
    Emit,
    /// To look after the letters of alerts, and the places of listeners.
    Listeners,
    /// To write secrets, which he cannot read.
    Secret,
}

impl Deed {
    /// All of them.
    pub fn all() -> Vec<Deed> {
        let commands = Verb::ALL.into_iter().filter(|verb| !VERBS_TO_LOOK.contains(verb));
        let more = [Deed::Emit, Deed::Listeners, Deed::Secret];
        commands.map(Deed::Command).chain(more).collect()
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Deed::Command(verb) => verb.name(),
            Deed::Emit => "emit",
            Deed::Listeners => "listeners",
            Deed::Secret => "secret",
        }
    }

    /// Reads one.
    pub fn parse(name: &str) -> Option<Deed> {
        Deed::all().into_iter().find(|deed| deed.name() == name)
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
