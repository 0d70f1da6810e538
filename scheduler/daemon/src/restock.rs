//! Buckets that are gone are made anew: somebody has lost or removed what NATS had stored.

use std::time::Duration;

use dsbus_client::Bus;
use tokio::time::{Instant, sleep};

use crate::own_touch::Presence;
use crate::run::provision;

/// How often one looks, while own touches fail. A stream without a leader is no stream that is gone:
/// the server says which.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// And while they do not: one of the other streams may be gone.
const LOOK_AT_REST_EVERY: Duration = Duration::from_secs(30);

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
