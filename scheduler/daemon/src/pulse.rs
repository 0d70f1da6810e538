//! Was this scheduler frozen just now? Requests that reached it while it was frozen were long since
//! answered by another one, and may have been overtaken by later commands: they must not act. The
//! simulation (`tests/simulation`) beats it on its own clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsbus_schema::moment::BootTime;

use crate::clock;

/// Between two beats.
const BEAT: Duration = Duration::from_millis(50);
/// A pause this long is a freeze: after it a client has asked the other schedulers.
const FROZEN: Duration = Duration::from_secs(1);
/// How long what piled up during a freeze may take to be read. Shorter than a client's patience,
/// so that whoever asks now is answered at its second try.
const STALE: Duration = Duration::from_millis(300);

/// The beat.
#[derive(Debug, Clone, Default)]
pub struct Pulse {
    last: Arc<AtomicU64>,
    stale_until: Arc<AtomicU64>,
}

impl Pulse {
    /// Beats for ever.
    pub async fn run(self) {
        loop {
            self.beat(clock::now());
            tokio::time::sleep(BEAT).await;
        }
    }

    /// One beat.
    pub fn beat(&self, now: BootTime) {
        let last = BootTime(self.last.swap(now.0, Ordering::SeqCst));
        if last.0 > 0 && now.since(last) > FROZEN {
            tracing::warn!("this scheduler was frozen for {:?}", now.since(last));
            self.stale_until.store((now + STALE).0, Ordering::SeqCst);
        }
    }

    /// Whether a request that is read now may have come during a freeze.
    pub fn is_stale(&self, now: BootTime) -> bool {
        let last = BootTime(self.last.load(Ordering::SeqCst));
        now.since(last) > FROZEN || now.0 < self.stale_until.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_piles_up_during_a_freeze_is_stale() {
        let at = |millis: u64| BootTime(1_000_000_000_000 + millis * 1_000_000);
        let pulse = Pulse::default();
        pulse.beat(at(0));
        pulse.beat(at(50));
        assert!(!pulse.is_stale(at(900)));
        assert!(pulse.is_stale(at(5000)), "thawed, and not even the pulse has noticed");
        pulse.beat(at(5001));
        assert!(pulse.is_stale(at(5300)));
        assert!(!pulse.is_stale(at(5302)));
    }
}
