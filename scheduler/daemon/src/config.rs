//! What a scheduler needs to know before it starts.

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
}
