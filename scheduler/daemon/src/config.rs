//! What a scheduler needs to know before it starts.

use std::path::PathBuf;

use dsbus_client::ConnectOptions;

/// Configuration of a scheduler, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach the bus.
    pub connect: ConnectOptions,
    /// This scheduler's name among the others: one token of a key.
    pub id: String,
    /// Replicas of buckets and streams; by the size of the cluster when `None`.
    pub replicas: Option<usize>,
    /// File of the public keys of all schedulers of this fleet. Without it, where this one signs, every
    /// signature counts.
    pub signers: Option<PathBuf>,
    /// File that says who may command what; everybody everything, without it.
    pub grants: Option<PathBuf>,
}
