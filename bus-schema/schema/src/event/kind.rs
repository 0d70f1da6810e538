//! Kinds of events, and their TYPEs: what there is to hear, as data.

use super::types::{self, TypeInfo};
use super::{Fact, Source};
use crate::ids::{ProgramName, WorkerName};

/// Kind of an event: a token of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// States of instances.
    Process,
    /// Where instances run.
    Placement,
    /// Workers.
    Worker,
    /// What happens to an instance beside its states.
    Notice,
    /// Output of children.
    Output,
    /// Steps of rollouts.
    Rollout,
    /// Declarations.
    Program,
    /// Groups.
    Group,
    /// Commands: the audit log.
    Command,
    /// Schedulers.
    Scheduler,
    /// Time.
    Tick,
    /// What people and programs say for themselves.
    User,
    /// Listeners.
    Listener,
}

/// Who may tell events of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Teller {
    /// Workers, each for itself.
    Worker,
    /// Schedulers, for the fleet.
    Fleet,
    /// People and programs.
    User,
    /// Listeners.
    Listener,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 13] = [
        Kind::Process,
        Kind::Placement,
        Kind::Worker,
        Kind::Notice,
        Kind::Output,
        Kind::Rollout,
        Kind::Program,
        Kind::Group,
        Kind::Command,
        Kind::Scheduler,
        Kind::Tick,
        Kind::User,
        Kind::Listener,
    ];

    /// The kind of a fact.
    pub fn of(fact: &Fact) -> Kind {
        match fact {
            Fact::Process(_) => Kind::Process,
            Fact::Placement(_) => Kind::Placement,
            Fact::Worker(_) => Kind::Worker,
            Fact::Notice(_) => Kind::Notice,
            Fact::Output(_) => Kind::Output,
            Fact::Rollout(_) => Kind::Rollout,
            Fact::Program(_) => Kind::Program,
            Fact::Group(_) => Kind::Group,
            Fact::Command(_) => Kind::Command,
            Fact::Scheduler(_) => Kind::Scheduler,
            Fact::Tick(_) => Kind::Tick,
            Fact::User(_) => Kind::User,
            Fact::Listener(_) => Kind::Listener,
        }
    }

    /// Its name: the token of the subject.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Process => "process",
            Kind::Placement => "placement",
            Kind::Worker => "worker",
            Kind::Notice => "notice",
            Kind::Output => "output",
            Kind::Rollout => "rollout",
            Kind::Program => "program",
            Kind::Group => "group",
            Kind::Command => "command",
            Kind::Scheduler => "scheduler",
            Kind::Tick => "tick",
            Kind::User => "user",
            Kind::Listener => "listener",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What its events tell, in one line.
    pub fn about(self) -> &'static str {
        match self {
            Kind::Process => {
                "An instance changed its state. The TYPE is the new state; names are Supervisor's."
            }
            Kind::Placement => "A scheduler changed where an instance runs.",
            Kind::Worker => "Something happened to a worker.",
            Kind::Notice => "Something happened to an instance that is no change of its state.",
            Kind::Output => "A child said something, and its program asked for events of that.",
            Kind::Rollout => "A change of a declaration goes through the instances of a program.",
            Kind::Program => "A declaration changed.",
            Kind::Group => "Something happened to a group, or to how its members are.",
            Kind::Command => "Somebody commanded something: the audit log.",
            Kind::Scheduler => "A scheduler came or went.",
            Kind::Tick => "Time went by. One event per period in the whole fleet.",
            Kind::User => "A person or a program said something; the TYPE is theirs.",
            Kind::Listener => "Something happened to a listener, or to what it has to deliver.",
        }
    }

    /// Its TYPEs. Those of users are made up by the users, and are not here.
    pub fn types(self) -> &'static [TypeInfo] {
        match self {
            Kind::Process => types::PROCESS,
            Kind::Placement => types::PLACEMENT,
            Kind::Worker => types::WORKER,
            Kind::Notice => types::NOTICE,
            Kind::Output => types::OUTPUT,
            Kind::Rollout => types::ROLLOUT,
            Kind::Program => types::PROGRAM,
            Kind::Group => types::GROUP,
            Kind::Command => types::COMMAND,
            Kind::Scheduler => types::SCHEDULER,
            Kind::Tick => types::TICK,
            Kind::User => &[],
            Kind::Listener => types::LISTENER,
        }
    }

    /// Who tells its events.
    pub fn told_by(self) -> &'static [Teller] {
        match self {
            Kind::Process | Kind::Worker => &[Teller::Worker, Teller::Fleet],
            Kind::Notice | Kind::Output => &[Teller::Worker],
            Kind::Placement
            | Kind::Rollout
            | Kind::Program
            | Kind::Group
            | Kind::Command
            | Kind::Scheduler
            | Kind::Tick => &[Teller::Fleet],
            Kind::User => &[Teller::User],
            Kind::Listener => &[Teller::Listener],
        }
    }

    /// Whether its events are about instances.
    pub fn has_instance(self) -> bool {
        match self {
            Kind::Process | Kind::Placement | Kind::Notice | Kind::Output => true,
            Kind::Worker
            | Kind::Rollout
            | Kind::Program
            | Kind::Group
            | Kind::Command
            | Kind::Scheduler
            | Kind::Tick
            | Kind::User
            | Kind::Listener => false,
        }
    }

    /// Whether its events can be about a program, or about what has its name from the same
    /// namespace: a group, a listener.
    pub fn has_program(self) -> bool {
        match self {
            Kind::Process
            | Kind::Placement
            | Kind::Notice
            | Kind::Output
            | Kind::Rollout
            | Kind::Program
            | Kind::Group
            | Kind::Command
            | Kind::Listener => true,
            Kind::Worker | Kind::Scheduler | Kind::Tick | Kind::User => false,
        }
    }

    /// Whether its events come from a user, who stands in their subject in the place of an index.
    pub fn has_user(self) -> bool {
        match self {
            Kind::Command | Kind::User => true,
            Kind::Process
            | Kind::Placement
            | Kind::Worker
            | Kind::Notice
            | Kind::Output
            | Kind::Rollout
            | Kind::Program
            | Kind::Group
            | Kind::Scheduler
            | Kind::Tick
            | Kind::Listener => false,
        }
    }

    /// Whether its events can name a group.
    pub fn has_group(self) -> bool {
        match self {
            Kind::Process | Kind::Output | Kind::Program | Kind::Group => true,
            Kind::Placement
            | Kind::Worker
            | Kind::Notice
            | Kind::Rollout
            | Kind::Command
            | Kind::Scheduler
            | Kind::Tick
            | Kind::User
            | Kind::Listener => false,
        }
    }

    /// Whether its events can be about a worker.
    pub fn has_worker(self) -> bool {
        match self {
            Kind::Process | Kind::Placement | Kind::Worker | Kind::Notice | Kind::Output => true,
            Kind::Rollout
            | Kind::Program
            | Kind::Group
            | Kind::Command
            | Kind::Scheduler
            | Kind::Tick
            | Kind::User
            | Kind::Listener => false,
        }
    }
}

impl Teller {
    /// What it is in a source.
    pub fn of(source: &Source) -> Teller {
        match source {
            Source::Worker(_) => Teller::Worker,
            Source::Fleet => Teller::Fleet,
            Source::User => Teller::User,
            Source::Listener => Teller::Listener,
        }
    }
}

impl Fact {
    /// The group of what it is about, where that is known and has one.
    pub fn group(&self) -> Option<&ProgramName> {
        match self {
            Fact::Process(fact) => fact.group.as_ref(),
            Fact::Output(fact) => fact.group.as_ref(),
            Fact::Program(fact) => fact.group.as_ref(),
            Fact::Group(fact) => Some(&fact.group),
            Fact::Placement(_)
            | Fact::Worker(_)
            | Fact::Notice(_)
            | Fact::Rollout(_)
            | Fact::Command(_)
            | Fact::Scheduler(_)
            | Fact::Tick(_)
            | Fact::User(_)
            | Fact::Listener(_) => None,
        }
    }

    /// The workers that it is about: for a move, both.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerName> {
        let (one, other) = match self {
            Fact::Process(fact) => (fact.worker.as_ref(), None),
            Fact::Placement(fact) => (fact.from.as_ref(), fact.to.as_ref()),
            Fact::Worker(fact) => (Some(&fact.worker), None),
            Fact::Notice(fact) => (Some(&fact.worker), None),
            Fact::Output(fact) => (Some(&fact.worker), None),
            Fact::Rollout(_)
            | Fact::Program(_)
            | Fact::Group(_)
            | Fact::Command(_)
            | Fact::Scheduler(_)
            | Fact::Tick(_)
            | Fact::User(_)
            | Fact::Listener(_) => (None, None),
        };
        one.into_iter().chain(other)
    }
}
