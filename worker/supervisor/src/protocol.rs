//! What the two sides of a worker say to each other: one JSON document per line over a Unix socket
//! pair that the supervisor makes before it starts the agent.
//!
//! The supervisor's word on children is final; the agent's word on leases and placements is. All
//! reports are numbered, and kept until the agent says that the bus has them, so that an agent may
//! die at any moment and its successor loses none. An agent is given [`REPORTS_WINDOW`] at a time.

mod child;
mod hands;
mod memory;
mod order;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use dsbus_schema::call::{SignalAsk, StdinAsk};
use dsbus_schema::event::{Fact, ProcessFact, WorkerFact};
use dsbus_schema::ids::{Epoch, Incarnation, InstanceId, SecretName, WorkerName};
use dsbus_schema::moment::{BootTime, Timestamp};
use dsbus_schema::placement::Placement;
use dsbus_schema::program::Facility;
use dsbus_schema::secret::SealedSecret;
use dsbus_schema::status::Status;
use dsbus_schema::worker::{Capacity, Labels, PolicyFacts};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use child::Child;
pub use hands::{Handed, NotHanded};
pub use memory::{Anew, EPOCHS_KEPT_MAX, EPOCHS_TOLD_MAX, Memory, Turns};
pub use order::{LastEvent, Order};

/// Longest line, in bytes: a placement of the greatest allowed declaration, JSON-escaped, fits.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// An agent pings its supervisor at least this often, whatever else they say, so that at rest the
/// supervisor need not ask whether it lives. Each ping wakes both sides up, and is most of what they
/// do at rest.
pub const AGENT_PINGS: Duration = Duration::from_millis(800);

/// Most reports that an agent is given and has not said [`ToSupervisor::Done`] for; then it is given
/// no more. Enough that 64 are on their way to the bus at once whatever the others wait for; the
/// rest waits on the supervisor's disk, and in no one's memory.
pub const REPORTS_WINDOW: usize = 2048;
/// Most bytes of them.
pub const REPORTS_WINDOW_BYTES: usize = 4 << 20;

/// What the supervisor says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "the largest is the first one, and comes once")]
pub enum ToAgent {
    /// The first message to every agent.
    Hello(Hello),
    /// A child was started.
    Child(Child),
    /// A child is dead and reaped, its process group empty.
    ChildGone {
        /// Its process id.
        pid: i32,
    },
    /// Something to publish.
    Report(Report),
    /// Answer to the agent's ping.
    Pong {
        /// The ping's number.
        number: u64,
    },
    /// Is the agent alive?
    Ping {
        /// Number of the ping.
        number: u64,
    },
    /// Ask whether a child is well, by the network, and answer with [`ToSupervisor::Probed`].
    Probe {
        /// Number of the question.
        number: u64,
        /// What to ask.
        ask: Asked,
        /// How long an answer may take, in milliseconds.
        timeout_ms: u64,
    },
    /// A program here names this secret: say [`ToSupervisor::Secret`] of it, and again whenever it
    /// changes.
    Secret {
        /// Its name.
        name: SecretName,
    },
    /// An instance that it has, as it was placed: said of each after [`ToAgent::Hello`].
    Held {
        /// The instance.
        name: InstanceId,
        /// Its placement, as far as the supervisor needs it.
        placement: Box<Placement>,
    },
    /// An exclusive instance that it stopped because the bus had lost its placement: said of each after
    /// [`ToAgent::Held`].
    LetGo {
        /// The instance.
        name: InstanceId,
        /// Its placement, as far as the supervisor needs it.
        placement: Box<Placement>,
    },
    /// How an instance stands, told or not: said of each before any [`ToAgent::Report`].
    Stands {
        /// The instance.
        name: InstanceId,
        /// How it stands now.
        status: Box<Status>,
    },
    /// Answer to [`ToSupervisor::ClearLogs`].
    Cleared {
        /// The request's number.
        number: u64,
        /// `None` when the logs are empty now, else why not.
        trouble: Option<String>,
        /// There is no such instance here.
        #[serde(default)]
        unknown: bool,
    },
    /// Answer to [`ToSupervisor::Signal`] and [`ToSupervisor::Stdin`].
    Handed {
        /// The request's number.
        number: u64,
        /// What came of it.
        outcome: Result<Handed, NotHanded>,
    },
    /// What its owner says of the worker has changed.
    Described {
        /// Its labels.
        labels: Labels,
        /// How much its instances may declare in all.
        capacity: Capacity,
        /// What its owner allows.
        #[serde(default)]
        policy: Option<PolicyFacts>,
    },
    /// The worker was told to stop, and first gives its instances away: ask the schedulers for that,
    /// and say [`ToSupervisor::Drained`] when none is left.
    Drain,
    /// The worker was told to stop; its children are being stopped.
    Stopping {
        /// By what, for people.
        reason: String,
    },
    /// No child is left, and no report will follow those already given: publish them, answer
    /// [`ToSupervisor::Finished`] and exit.
    Bye,
}

impl ToAgent {
    /// The line that says it.
    pub fn line(&self) -> Vec<u8> {
        // Every type in it has a JSON form; should one not have it, an empty line says nothing.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Who the worker is, and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Name.
    pub worker: WorkerName,
    /// This run of the supervisor.
    pub incarnation: Incarnation,
    /// Which agent of this incarnation it speaks to, from 1.
    pub generation: u64,
    /// When the supervisor started.
    pub started: Timestamp,
    /// Process id of the supervisor.
    pub supervisor_pid: i32,
    /// State directory, absolute.
    pub directory: String,
    /// It was told to stop.
    pub stopping: bool,
    /// It was told to stop, and gives its instances away before it does; see [`ToAgent::Drain`].
    #[serde(default)]
    pub draining: bool,
    /// Children that live now.
    pub children: Vec<Child>,
    /// What the worker can do for a child.
    #[serde(default)]
    pub facilities: Vec<Facility>,
    /// Its labels.
    #[serde(default)]
    pub labels: Labels,
    /// How much its instances may declare in all.
    #[serde(default)]
    pub capacity: Capacity,
    /// What its owner allows.
    #[serde(default)]
    pub policy: Option<PolicyFacts>,
    /// What secrets for it are sealed to.
    #[serde(default)]
    pub seal_key: Option<String>,
    /// Leases as the last agent gave them: seconds, and until when.
    pub leases: Vec<(u64, BootTime)>,
    /// So many [`ToAgent::Held`] follow.
    #[serde(default)]
    pub held: usize,
    /// What it remembers besides; nothing is to be remembered by one that does not say it.
    #[serde(default)]
    pub memory: Option<Memory>,
}

/// A question that needs the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// GET this `http://` address; a status of 200 to 399 is well.
    Http(String),
    /// Connect to this `host:port`.
    Tcp(String),
}

/// A fact to publish. Numbers grow by one; an agent publishes in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Number.
    pub number: u64,
    /// The fact.
    pub what: Reported,
}

/// What is reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Reported {
    /// The state of an instance, or what was acted on, changed.
    Instance {
        /// The instance.
        name: InstanceId,
        /// How it stands now.
        status: Box<Status>,
        /// The event, when the state changed.
        event: Option<Box<ProcessEvent>>,
    },
    /// An instance that was taken away has no child left: its status entry goes.
    Gone {
        /// The instance.
        name: InstanceId,
        /// The epoch it had.
        epoch: Epoch,
    },
    /// A fact about an instance that is no change of its state.
    Event {
        /// Id of the event.
        id: Uuid,
        /// When it happened.
        time: Timestamp,
        /// The fact.
        fact: Box<Fact>,
    },
    /// Something about the worker itself.
    Worker {
        /// Id of the event.
        id: Uuid,
        /// When it happened.
        time: Timestamp,
        /// The fact.
        fact: WorkerFact,
    },
}

/// A process event with its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEvent {
    /// Id of the event: given once, so that publishing it again does not double it.
    pub id: Uuid,
    /// When it happened.
    pub time: Timestamp,
    /// The fact.
    pub fact: ProcessFact,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToSupervisor {
    /// All placements of this worker, as of now. What is not among them is stopped.
    Sync {
        /// The placements.
        orders: Vec<Order>,
        /// Instances that may be placed here, or not: what stands on the bus is forged. They are left
        /// as they are.
        #[serde(default)]
        keep: BTreeSet<InstanceId>,
        /// Exclusive instances that are stopped, or were, because the bus has lost their placements, or
        /// has found them again and others are given the time to stop theirs. All that is to be remembered
        /// so; what rests has nothing to stop, and stays as it is. `None` from an agent that does not know.
        #[serde(default)]
        let_go: Option<BTreeSet<InstanceId>>,
    },
    /// To be remembered for the next agent. Only said where [`Hello::memory`] is.
    Anew(Anew),
    /// A placement is new or changed.
    Place {
        /// The placement.
        order: Box<Order>,
    },
    /// A placement was taken away: stop the child, then forget the instance.
    Unplace {
        /// The instance.
        name: InstanceId,
    },
    /// Children that live by the lease of `seconds` may live until then. Only the agent extends a
    /// lease, and only when an acknowledged touch counts and its barrier is passed (DESIGN.md
    /// section 5, rules 13 and 15).
    Lease {
        /// Which lease.
        seconds: u64,
        /// Until when.
        until: BootTime,
    },
    /// Answer to [`ToAgent::Probe`].
    Probed {
        /// The question's number.
        number: u64,
        /// `None` when all is well, else why not.
        trouble: Option<String>,
    },
    /// Answer to [`ToAgent::Secret`], and what has changed since. It is sealed: the supervisor opens
    /// it, and no value passes here.
    Secret {
        /// Its name.
        name: SecretName,
        /// `None` when this worker was not given it.
        found: Option<Box<SealedSecret>>,
    },
    /// Truncate the log files of an instance, and remove its rotated ones; answered by
    /// [`ToAgent::Cleared`] when that is done.
    ClearLogs {
        /// Number of the request.
        number: u64,
        /// The instance.
        name: InstanceId,
        /// Nothing now: its directory is removed when it is taken away.
        #[serde(default)]
        forget: bool,
    },
    /// Send a signal to a child; answered by [`ToAgent::Handed`].
    Signal {
        /// Number of the request.
        number: u64,
        /// What is asked.
        ask: SignalAsk,
    },
    /// Write to the standard input of a child; answered by [`ToAgent::Handed`].
    Stdin {
        /// Number of the request.
        number: u64,
        /// What is asked.
        ask: StdinAsk,
    },
    /// The bus has all reports up to this number.
    Done {
        /// The number.
        through: u64,
    },
    /// Is the supervisor alive?
    Ping {
        /// Number of the ping.
        number: u64,
    },
    /// Answer to the supervisor's ping.
    Pong {
        /// The ping's number.
        number: u64,
    },
    /// Another worker holds this name: kill exclusive children at once, stop the others, report,
    /// and exit with code 1.
    NameTaken {
        /// Who holds it, for people.
        by: String,
    },
    /// The bus cannot be used at all (too old a server, no JetStream): say why, stop, exit 1.
    Unusable {
        /// Why, for people.
        why: String,
    },
    /// No instance that could be given away is left.
    Drained,
    /// All reports are published; the supervisor may exit.
    Finished,
}
