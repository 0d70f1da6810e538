//! What is written for people does what it says: the manual's commands, the examples for plain NATS
//! clients, the client for Python. Real processes, a private fleet for each.

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is the failure")]

mod book;
mod dev;
mod examples;
mod page;
mod parts;
mod python;
