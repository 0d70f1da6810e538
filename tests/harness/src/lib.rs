//! What the tests share: private nats-servers and clusters of them, servers that record what they are
//! given, and waiting for conditions.
//!
//! Everything here panics when it fails: it is for tests only.

#![expect(clippy::expect_used, reason = "a test that cannot be set up is a failed test")]

mod binary;
mod cluster;
mod corpus;
mod port;
mod server;
mod servers;
mod terminal;
mod version;
mod wait;

pub use binary::nats_server;
pub use cluster::Cluster;
pub use corpus::corpus;
pub use port::Port;
pub use server::NatsServer;
pub use servers::{Pair, Recorder, SmtpWay};
pub use terminal::Terminal;
pub use version::{minor_away, previous};
pub use wait::{DEADLINE, wait_for, wait_for_async, wait_until};
