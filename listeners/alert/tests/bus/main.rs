//! The daemon on a real nats-server: what is told arrives, whoever dies meanwhile.

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is the failure")]

mod common;
mod letters;
mod mail;
mod records;
mod survives;
