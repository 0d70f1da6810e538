//! The process side of a worker. It owns the children: spawn, reap, restart, stop, logs, fencing
//! deadlines. It is single-threaded and never touches the network, so a dead one cannot stop a
//! fencing kill.
//!
//! The deciding parts are pure and public, so that a simulation can run them: [`instance`],
//! [`fence`], [`table`].

#![warn(clippy::wildcard_enum_match_arm)]

mod agent_link;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the driver that uses all of it is being written")
)]
mod cgroup;
mod children;
pub mod clock;
mod config;
mod driver;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the driver that uses all of it is being written")
)]
mod facilities;
pub mod fence;
mod home;
pub mod instance;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the driver that uses all of it is being written")
)]
mod notify;
mod output;
mod poller;
pub mod process;
pub mod protocol;
pub mod report;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the driver that uses all of it is being written")
)]
mod sockets;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the driver that uses all of it is being written")
)]
mod spawn;
pub mod table;
mod users;

pub use config::{CgroupChoice, Config, Owner, Settings};
pub use driver::run;
pub use output::{LogFile, Rotation};
pub use spawn::AGENT_FD;

/// Why a worker cannot run at all.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(String);

fn fatal(why: impl Into<String>) -> Fatal {
    Fatal(why.into())
}
