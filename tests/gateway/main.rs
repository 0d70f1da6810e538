//! `dsbus gateway` as browsers, Supervisor's tools, programs and monitors use it: real processes on a
//! real nats-server, one private fleet per test.

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is the failure")]

mod admit;
mod distsuper;
#[expect(dead_code, reason = "another suite uses all of it")]
#[path = "../e2e/fleet.rs"]
mod fleet;
mod metrics;
mod openapi;
mod page;
mod rest;
mod rpc;
mod schemathesis;
mod secrets;
mod served;
mod stream;
#[path = "../e2e/supervisord.rs"]
mod supervisord;
mod upgrade;
