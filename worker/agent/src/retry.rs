//! Trying again, for as long as it takes: nothing that can work may be given up.

use std::time::Duration;

use dsbus_client::{Bus, Error};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(150);
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
        if self.tries % COMPLAIN_EVERY == 1 {
            tracing::warn!(%error, "failed to {}; trying again", self.what);
        }
        self.tries = self.tries.wrapping_add(1);
        tokio::time::sleep(PAUSE).await;
        let mut connections = self.bus.connections();
        while !self.bus.connected() {
            if connections.changed().await.is_err() {
                // The connection is closed for good, and so is this process.
                std::future::pending::<()>().await;
            }
        }
    }
}
