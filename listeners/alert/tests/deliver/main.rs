//! Letters to real servers and real commands.

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is the failure")]

mod command;
mod common;
mod mail;
mod webhook;
