//! `dsbus alert`: rules that say which events people must hear of, and targets that these are told
//! to, by mail, webhook or command.
//!
//! An event becomes part of a group, a group becomes letters, a letter is tried until it arrives or
//! is dead. All of that is on the bus before the event is acknowledged, so that another process on
//! another machine can go on at any moment: `core` decides and is pure, `run` writes down what it
//! decided and delivers.

mod backoff;
mod clock;
mod core;
mod facts;
mod group;
mod lease;
pub mod letters;
mod post;
mod queue;
mod rate;
mod run;
mod sample;
mod send;
pub mod spec;
mod store;
pub mod texts;

pub use run::{Config, Error, run};
pub use send::{Fate, Sender};
