//! The agent on a real nats-server, with a supervisor that is played by the test.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what these tests share stands outside of test functions"
)]

mod asking;
mod enforcing;
mod fleet;
mod leases;
mod logs;
mod names;
mod orders;
mod record;
mod reports;
mod supervisor;
