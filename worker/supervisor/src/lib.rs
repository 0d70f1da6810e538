//! The process side of a worker. It owns the children: spawn, reap, restart, stop, logs, fencing
//! deadlines. It is single-threaded and never touches the network, so a dead one cannot stop a
//! fencing kill.
//!
//! The deciding parts are pure and public, so that a simulation can run them: [`instance`],
//! [`fence`], [`table`].

#![warn(clippy::wildcard_enum_match_arm)]

mod agent_link;
mod binaries;
mod capacity;
mod cgroup;
mod children;
pub mod clock;
mod config;
mod driver;
mod errands;
mod facilities;
pub mod fence;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod handover;
mod home;
pub mod instance;
mod lock;
pub mod marks;
mod notify;
mod output;
pub mod policy;
mod poller;
pub mod process;
pub mod protocol;
mod questions;
pub mod report;
mod secrets;
mod sockets;
mod spawn;
mod stamp;
mod stdin;
mod streams;
pub mod table;
mod users;

pub use config::{
    AgentCommand, Bridge, CapacityChoice, CgroupChoice, Config, Echo, Owner, Settings,
};
pub use driver::run;
pub use files::{make_state_directory, open_trusted};
pub use handover::{Handover, Itself, give_back, keep_way_back, owned, takes_over};
pub use home::{LOCK, RELOADED, WORKER_LOG, known_as};
pub use lock::lock_alone;
pub use output::{LogFile, Rotation};
pub use spawn::AGENT_FD;

/// Why a worker cannot run at all.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(String);

fn fatal(why: impl Into<String>) -> Fatal {
    Fatal(why.into())
}
