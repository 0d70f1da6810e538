//! Decides where instances run. Pure: facts are folded into a [`View`], and [`plan()`] says what to
//! do about them. Nothing here reads a clock, knows the bus, or waits.

#![warn(clippy::wildcard_enum_match_arm)]

pub mod action;
mod ahead;
mod condition;
pub mod explain;
mod fire;
mod fit;
pub mod groups;
pub mod invariants;
pub mod jobs;
pub mod judge;
mod leave;
mod moves;
mod order;
mod place;
mod placed;
pub mod plan;
pub mod preview;
mod purge;
pub mod rebalance;
mod refused;
mod repair;
mod rolling;
pub mod rows;
mod system;
pub mod view;

pub use action::Action;
pub use plan::{plan, plan_all};
pub use view::{Now, View};
