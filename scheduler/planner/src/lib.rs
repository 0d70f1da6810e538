//! Decides where instances run. Pure: facts are folded into a [`View`], and [`plan()`] says what to
//! do about them. Nothing here reads a clock, knows the bus, or waits.

#![warn(clippy::wildcard_enum_match_arm)]

pub mod action;
mod evict;
pub mod invariants;
pub mod jobs;
pub mod judge;
mod place;
pub mod plan;
mod purge;
pub mod rows;
pub mod view;

pub use action::Action;
pub use plan::plan;
pub use view::View;
