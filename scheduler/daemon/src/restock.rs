//! Buckets that are gone are made anew: somebody has lost or removed what NATS had stored.

use std::time::Duration;

use dsbus_client::{Bus, Error, NO_PEERS};
use tokio::time::{Instant, sleep};

use crate::own_touch::Presence;

/// How often one looks, while own touches fail. A stream without a leader is no stream that is gone:
/// the server says which.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// And while they do not: one of the other streams may be gone.
const LOOK_AT_REST_EVERY: Duration = Duration::from_secs(30);
/// Pause after the buckets could not be created or checked.
const PROVISION_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// Looks for ever.
pub(crate) async fn run(bus: Bus, presence: Presence, replicas: Option<usize>) {
    let mut due = Instant::now() + LOOK_AT_REST_EVERY;
    loop {
        sleep(LOOK_EVERY).await;
        if !bus.connected() || (!presence.is_troubled() && Instant::now() < due) {
            continue;
        }
        due = Instant::now() + LOOK_AT_REST_EVERY;
        if bus.provisioned().await == Ok(false) {
            tracing::error!(
                "the bus has lost buckets; making them anew; if workers still run what was declared, \
                 dsbus recover rebuilds the fleet from that"
            );
            if let Err(error) = provision(&bus, replicas).await {
                tracing::error!("cannot make the buckets: {error}");
            }
        }
    }
}

/// Makes the buckets, or waits until they can be made.
pub(crate) async fn provision(bus: &Bus, replicas: Option<usize>) -> Result<(), Error> {
    let mut told = false;
    loop {
        match bus.provision(replicas).await {
            Err(Error::Timeout | Error::Disconnected | Error::NoResponders) => {
                tracing::debug!("the bus is not there yet");
            }
            Err(Error::Api { code: NO_PEERS, text }) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!("waits for more nodes of NATS, or room on them: {text}");
                }
            }
            done => return done,
        }
        sleep(PROVISION_AGAIN_AFTER).await;
    }
}
