//! Signals that ask us to end.

use dsbus_schema::program::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Signals that ask us to end.
pub(super) struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Interrupts {
    /// From now on they do not end this process by themselves.
    ///
    /// # Errors
    /// When they cannot be heard.
    pub(super) fn new() -> Result<Interrupts, Failure> {
        Ok(Interrupts {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}
