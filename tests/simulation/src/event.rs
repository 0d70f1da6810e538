//! What happens in a run, and to whom.

use std::collections::BTreeMap;

use dsbus_client::{Error, Item, Write};
use dsbus_schema::call::Pong;
use dsbus_schema::command::Verb;
use dsbus_schema::event::Event as Told;
use dsbus_schema::ids::{InstanceId, ProgramName, WorkerName};
use dsbus_schema::program::ProgramSpec;
use dsbus_schema::state::Exit;
use dsbus_schema::storage::Bucket;
use dsbus_supervisor::protocol::{LastEvent, ToAgent, ToSupervisor};
use uuid::Uuid;

/// A process of the fleet, or a client. The number is that of its machine; schedulers and clients
/// have machines of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Scheduler(usize),
    Agent(usize),
    Supervisor(usize),
    Client(usize),
}

/// One run of a process: what is meant for an earlier run reaches nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    pub(crate) who: Who,
    pub(crate) number: u64,
}

/// What is asked of the bus.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Write { bucket: Bucket, writes: Vec<Write> },
    Get { bucket: Bucket, pattern: String },
    Publish(Box<Told>),
    LastEvent { worker: WorkerName, name: InstanceId },
    IsTold(Uuid),
    Ping(usize),
    Command(Box<Command>),
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) from: Run,
    pub(crate) token: u64,
    pub(crate) op: Op,
}

/// What a call is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Seq(u64),
    Entry(Option<Box<dsbus_client::Entry>>),
    Last(Option<LastEvent>),
    /// Whether an event is stored.
    Told(bool),
    Pong(Box<Pong>),
    Done,
}

pub(crate) type Answered = Result<Answer, Error>;

/// A command of a client.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) id: Uuid,
    pub(crate) program: ProgramName,
    pub(crate) what: Asked,
    /// To every scheduler, because nobody answered.
    pub(crate) all: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Act { verb: Verb, index: Option<u32> },
    Apply(Box<ProgramSpec>),
}

/// Why a process is woken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    /// A scheduler judges; its pulse beats.
    Judge,
    /// A scheduler may plan again.
    Plan,
    /// A scheduler touches.
    Touch,
    /// The deadline of an agent's or a supervisor's loop.
    Loop,
    /// A child that was asked for has its turn.
    Spawn,
    /// Something is tried again.
    Again(u64),
    /// A scheduler tells again what was not stored.
    Tell,
    /// A client gives a command.
    Command,
}

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request reaches the bus.
    Arrive(Box<Call>),
    /// What a stream's leader accepted is stored.
    Commit { stream: usize, proposal: u64 },
    /// A stream's leader looks for what has expired.
    Sweep { term: u64 },
    /// A stream gets a leader.
    Elect { stream: usize, term: u64 },
    /// A NATS node is back.
    NodeUp(usize),
    /// A watch begins to deliver (again).
    Resume { watch: usize, generation: u64 },
    /// A process tries to connect.
    Connect { to: Run, attempt: u64 },
    /// A process connected.
    LinkUp(Run),
    /// A process lost its connection.
    LinkDown(Run),
    /// A call was answered, or not in time.
    Answered { to: Run, token: u64, result: Answered },
    /// A watch delivers.
    Deliver { to: Run, watch: usize, generation: u64, item: Item },
    /// A worker is asked whether it lives.
    Asked { to: Run, from: Run, token: u64 },
    /// A scheduler gets a command.
    Command { to: Run, from: Run, token: u64, command: Box<Command> },
    /// Time has passed.
    Timer { to: Run, tick: Tick, number: u64 },
    /// The supervisor says something to its agent.
    Said { to: Run, message: Box<ToAgent> },
    /// The agent says something to its supervisor.
    Heard { to: Run, from: Run, message: Box<ToSupervisor> },
    /// The agent of this run is dead, and its supervisor notices.
    AgentGone { to: Run, agent: u64 },
    /// The supervisor is dead, and its agent notices.
    SupervisorGone { to: Run },
    /// A child's main process ends.
    KidEnds { machine: usize, pid: i32, exit: Exit },
    /// What a child had started ends.
    KinEnds { machine: usize, pid: i32 },
    /// The supervisor learns that a child has ended.
    Reap { to: Run, pid: i32, exit: Exit },
    /// Of a child that ended nothing is left.
    Buried { to: Run, pid: i32, exit: Exit },
    /// The kernel's timer of a supervisor expires.
    LastResort { of: Run, number: u64 },
    /// A process starts.
    Start(Who),
    /// A fault begins or ends.
    Fault(usize),
    /// No further faults.
    Quiet,
    /// Is everything as wanted?
    Look,
    /// Some moments after a machine was thawed.
    Thawed(usize),
    /// Something may be otherwise because time has passed.
    Observe,
}

impl Event {
    /// Which run it is for, where it is for one.
    pub(crate) fn to(&self) -> Option<Run> {
        match self {
            Event::LinkUp(to)
            | Event::LinkDown(to)
            | Event::Answered { to, .. }
            | Event::Deliver { to, .. }
            | Event::Asked { to, .. }
            | Event::Command { to, .. }
            | Event::Timer { to, .. }
            | Event::Said { to, .. }
            | Event::Heard { to, .. }
            | Event::AgentGone { to, .. }
            | Event::SupervisorGone { to }
            | Event::Reap { to, .. }
            | Event::Buried { to, .. } => Some(*to),
            _ => None,
        }
    }

    /// On which machine it happens by itself, without a process.
    pub(crate) fn machine(&self) -> Option<usize> {
        match self {
            Event::KidEnds { machine, .. } | Event::KinEnds { machine, .. } => Some(*machine),
            Event::LastResort { of: Run { who: Who::Supervisor(machine), .. }, .. } => {
                Some(*machine)
            }
            _ => None,
        }
    }
}

/// What happens when; of two things at the same moment, the one that was planned first.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    now: u64,
    planned: u64,
    waiting: BTreeMap<(u64, u64), Event>,
}

impl Agenda {
    /// Now, in nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Plans something.
    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.waiting.insert((at.max(self.now), self.planned), event);
    }

    /// Takes what happens next; time passes until then.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let ((at, _), event) = self.waiting.pop_first()?;
        self.now = at;
        Some(event)
    }
}
