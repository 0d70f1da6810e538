//! Real children under a real supervisor, whose agent is played by the test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod children;
mod daemons;
mod faults;
mod fencing;
mod hands;
mod hooks;
mod logs;
mod machine;
mod output;
mod reloads;
mod reports;
mod rest;
mod rights;
mod sockets;
mod stage;
mod stopping;
mod trees;
mod wellness;
mod worker;
