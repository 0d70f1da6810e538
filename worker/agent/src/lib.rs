//! The bus side of a worker. It holds the worker's leases, hands its placements to the supervisor,
//! publishes what the supervisor reports, serves logs, and kills what outlives its deadline when
//! the supervisor does not.
//!
//! One loop (`run`) turns everything into a `Wake`, and never waits for the bus: what takes time is
//! an errand (`errands`). What is hard to get right is pure, and public so that the simulation
//! (`tests/simulation`) runs it: [`bus_side`] with [`touch`], [`leases`], [`takeover`] and
//! [`placements`], and besides [`publish`], [`pings`] and [`deadlines`]; and `facts`.

pub mod bus_side;
mod calls;
mod claim;
mod clock;
mod counts;
pub mod deadlines;
mod deeds;
mod drain;
mod early;
mod enforce;
mod errands;
mod facts;
pub mod identity;
pub mod leases;
mod link;
mod logs;
mod orders;
pub mod pings;
pub mod placements;
mod probe;
pub mod publish;
mod record;
pub mod refusals;
pub mod report;
mod retry;
mod run;
mod secrets;
mod signers;
mod stale;
pub mod takeover;
pub mod touch;
mod usage;
mod wishes;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use dsbus_client::ConnectOptions;

pub use calls::LIVE_MAX;
pub use run::run;

/// What an agent needs to know; everything else the supervisor tells it.
#[derive(Debug)]
pub struct Config {
    /// How to reach the bus.
    pub connect: ConnectOptions,
    /// The socket to the supervisor.
    pub socket: OwnedFd,
    /// File of the schedulers' public keys: only what they have signed is obeyed.
    pub signers: Option<PathBuf>,
}

/// Why an agent cannot go on. Its supervisor starts another one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused something that always works.
    #[error("failed to {what}: {why}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        why: io::Error,
    },
    /// The supervisor did not introduce itself.
    #[error("the supervisor said nothing, or something else than hello")]
    NoHello,
    /// The supervisor is dead, and so are its children now.
    #[error("the supervisor is gone; its {children} children were killed")]
    SupervisorGone {
        /// How many there were.
        children: usize,
    },
    /// An errand of the agent ended by a bug.
    #[error("an errand of the agent failed: {why}")]
    Errand {
        /// What it said.
        why: String,
    },
}
