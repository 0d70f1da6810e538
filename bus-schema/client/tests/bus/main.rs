//! The client against real nats-servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what these tests share stands outside of test functions"
)]

mod calls;
mod cluster;
mod common;
mod durable;
mod durable_faults;
mod events;
mod proxy;
mod storage;
mod watch;
