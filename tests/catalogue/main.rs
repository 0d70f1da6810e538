//! Records the examples of the catalogue (`docs/events.md`, `docs/bus.md`): `./run catalogue`. A real
//! fleet does each thing once, and what is then on the bus is written to `bus-schema/examples/`.
//!
//! An example that is there already is kept, so that a new one changes one file; with
//! `CATALOGUE=all` in the environment all of them are recorded anew.

#![expect(
    clippy::unwrap_used,
    reason = "a tool for who works here: what is missing is the failure"
)]

mod book;
mod commands;
#[expect(dead_code, reason = "another suite uses all of it")]
#[path = "../e2e/fleet.rs"]
mod fleet;
mod listeners;
mod lives;
#[path = "../e2e/proxy.rs"]
mod proxy;
mod rollouts;
mod workers;
