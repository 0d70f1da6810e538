//! The version of what is said on the bus.

/// Major version of every message. A message that names another one is refused; one that names
/// none is taken as this one, so that a person can type a request by hand.
pub const MAJOR: u32 = 1;

/// The oldest nats-server that has what dsbus needs: per-message TTL with delete markers (2.11)
/// and atomic batch publish (2.12).
pub const NATS_SERVER_MIN: (u32, u32) = (2, 12);

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
