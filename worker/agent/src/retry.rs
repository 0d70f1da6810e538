//! Trying again, for as long as it takes: nothing that can work may be given up.

use std::time::Duration;

use dsbus_client::{Bus, Error};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(150);
/// The same where permissions forbid it: each is a line in the server's log.
const DENIED_PAUSE: Duration = Duration::from_secs(5);
/// So many tries between two complaints: about ten seconds.
const COMPLAIN_EVERY: u32 = 64;

/// One thing that is tried until it works.
pub(crate) struct Retry {
    bus: Bus,
    what: &'static str,
    tries: u32,
}

impl Retry {
    /// `what` finishes the sentence "failed to …".
    pub(crate) fn new(bus: &Bus, what: &'static str) -> Retry {
        Retry { bus: bus.clone(), what, tries: 0 }
    }

    /// Waits after a failure; while there is no connection, until there is one.
    pub(crate) async fn after(&mut self, error: &Error) {
        let denied = matches!(error, Error::Denied { .. });
        if self.tries % COMPLAIN_EVERY == u32::from(!denied) {
            tracing::warn!(%error, "failed to {}; trying again", self.what);
        }
        self.tries = self.tries.wrapping_add(1);
        tokio::time::sleep(if denied { DENIED_PAUSE } else { PAUSE }).await;
        let mut connections = self.bus.connections();
        while !self.bus.connected() {
            if connections.changed().await.is_err() {
                // The connection is closed for good, and so is this process.
                std::future::pending::<()>().await;
            }
        }
    }
}
