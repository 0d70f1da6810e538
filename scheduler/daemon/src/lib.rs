//! The scheduler: hears the bus, asks the planner, writes placements by compare-and-set, answers
//! commands. Any number run, all equal, none is leader. It holds nothing that is not on the bus:
//! kill -9 it at any time.
//!
//! What decides is pure, and public so that the simulation (`tests/simulation`) runs it: [`core`],
//! [`writes`], [`turn`], [`pulse`], and what a command makes of a goal or a program ([`changed`],
//! [`revised`]).

mod begin;
mod clock;
mod commands;
mod config;
pub mod core;
mod counts;
mod enact;
mod enacting;
mod grants;
mod held;
mod leave;
mod losses;
mod observe;
mod own_touch;
pub mod pulse;
mod restock;
mod restore;
mod run;
mod signers;
pub mod tell;
pub mod turn;
mod twin;
mod verify;
pub mod writes;

pub use commands::act::{Order, changed};
pub use commands::revise::{Author, Revised, revised};
pub use config::Config;
pub use dsbus_planner::rows::AHEAD;
pub use grants::{GRANTS_BYTES_MAX, Grants};
pub use run::run;
