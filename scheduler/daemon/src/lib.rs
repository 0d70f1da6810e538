//! The scheduler: hears the bus, asks the planner, writes placements by compare-and-set, answers
//! commands. Any number run, all equal, none is leader. It holds nothing that is not on the bus:
//! kill -9 it at any time.

mod clock;
mod commands;
mod config;
mod core;
mod enact;
mod observe;
mod own_touch;
mod pulse;
mod run;
mod verify;

pub use config::Config;
pub use run::run;
