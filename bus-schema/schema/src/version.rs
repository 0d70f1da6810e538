//! The version of what is said on the bus.

use crate::command::ANSWER_BYTES_MAX;
use crate::event::OUTPUT_BYTES_MAX;
use crate::program::SPEC_BYTES_MAX;

/// Major version of every message. A message that names another one is refused; one that names
/// none is taken as this one, so that a person can type a request by hand.
pub const MAJOR: u32 = 1;

/// The oldest nats-server that has what dsbus needs: per-message TTL with delete markers (2.11)
/// and atomic batch publish (2.12).
pub const NATS_SERVER_MIN: (u32, u32) = (2, 12);

/// Longest message that dsbus sends by itself, in bytes; what a person says may be longer, and is
/// refused where it is too long. A program's record holds two declarations during a rollout, and
/// some kilobytes more; output in an event becomes six times as long when all of it is escaped.
pub const MESSAGE_BYTES_MAX: usize = 2 * SPEC_BYTES_MAX + 64 * 1024;

const _: () =
    assert!(6 * OUTPUT_BYTES_MAX < MESSAGE_BYTES_MAX && ANSWER_BYTES_MAX < MESSAGE_BYTES_MAX);

/// Checks the major version that a message names.
///
/// # Errors
/// When `named` is given and is not [`MAJOR`].
pub fn check(named: Option<u32>) -> Result<(), String> {
    match named {
        None | Some(MAJOR) => Ok(()),
        Some(other) => Err(format!("message has version {other}; this dsbus speaks {MAJOR}")),
    }
}
