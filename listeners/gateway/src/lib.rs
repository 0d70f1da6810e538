//! `dsbus gateway`: a fleet for people with a browser, for the tools that were made for Supervisor,
//! for programs that speak HTTP, and for monitors.
//!
//! A gateway is a client of the bus and holds nothing of its own: any number may run. It keeps up
//! with the fleet by one consumer of events (`fleet`), and answers out of what it knows; whatever
//! changes the fleet is a command, sent in the name of whoever asked (`http` knows who that is).

mod distsuper;
pub mod faults;
mod fleet;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod http;
mod logs;
pub mod metrics;
mod page;
pub mod processes;
mod rest;
mod rpc;
mod run;
mod stream;
mod usage;
pub mod users;

pub use run::{Config, Door, Error, Listen, run};
