//! The scheduler's own touches: the proof that the bus was there (DESIGN.md section 5, rule 5), and
//! what the others know of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsbus_client::{Bus, Error, Write};
use dsbus_schema::ids::FleetName;
use dsbus_schema::moment::BootTime;
use dsbus_schema::stats::SchedulerStats;
use dsbus_schema::storage::{Bucket, scheduler_key};
use dsbus_schema::touch::{PRESENCE_SECONDS, SchedulerTouch};
use tokio::sync::{Notify, mpsc, watch};
use uuid::Uuid;

use crate::clock;
use crate::counts::Counts;
use crate::tell::outbox::Outbox;

/// How long one touch may take before it is tried again.
const TOUCH_PATIENCE: Duration = Duration::from_millis(500);
/// Pause after a touch that failed.
const RETRY_AFTER: Duration = Duration::from_millis(150);

/// So many touches in a row without any answer, and the server is left for another one: async-nats
/// itself takes 15 s to find out that one is frozen or cut off, and nobody would be judged meanwhile.
const SILENT_MAX: u32 = 2;

/// One acknowledged touch: when it was sent, and when it was acknowledged.
pub(crate) type OwnTouch = (BootTime, BootTime);

/// What a scheduler says of itself. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    pub(crate) id: String,
    pub(crate) run: Uuid,
    host: String,
    outbox: Outbox,
    pub(crate) counts: Arc<Counts>,
    ready: Arc<AtomicBool>,
    /// The last own touch failed.
    troubled: Arc<AtomicBool>,
    changed: Arc<Notify>,
}

impl Presence {
    pub(crate) fn new(id: String, run: Uuid, outbox: Outbox, counts: Arc<Counts>) -> Presence {
        let host = nix::unistd::gethostname()
            .map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned());
        let (ready, troubled, changed) = (Arc::default(), Arc::default(), Arc::default());
        Presence { id, run, host, outbox, counts, ready, troubled, changed }
    }

    /// From now on it answers, and says so at once.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// Whether the last own touch failed.
    pub(crate) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// What a touch says.
    pub(crate) fn touch(&self, attempt: u64) -> SchedulerTouch {
        SchedulerTouch {
            host: self.host.clone(),
            pid: std::process::id(),
            attempt,
            run: self.run,
            ready: self.ready.load(Ordering::SeqCst),
            leaving: false,
            untold: self.outbox.untold(),
        }
    }

    /// What this scheduler counts of itself.
    pub(crate) fn stats(&self, fleet: &FleetName) -> SchedulerStats {
        let events = (self.outbox.untold(), self.outbox.dropped_ever());
        self.counts.read(fleet, (&self.id, self.run), events)
    }

    /// The last touch, which says that it leaves.
    pub(crate) async fn leave(&self, bus: &Bus) -> Result<(), Error> {
        let touch = SchedulerTouch { leaving: true, ..self.touch(u64::MAX) };
        let write = Write::put(scheduler_key(&self.id), &touch)?.ttl(PRESENCE_SECONDS);
        bus.write_within(Bucket::Fleet, write, TOUCH_PATIENCE).await.map(|_| ())
    }
}

/// Touches for ever, every quarter of `shortest` seconds.
pub(crate) async fn run(
    bus: Bus,
    presence: Presence,
    mut shortest: watch::Receiver<u64>,
    acked: mpsc::Sender<OwnTouch>,
) {
    let key = scheduler_key(&presence.id);
    let mut attempt = 0;
    let mut silent = 0;
    loop {
        attempt += 1;
        let sent = clock::now();
        let done = match Write::put(key.clone(), &presence.touch(attempt)) {
            Ok(write) => {
                let write = write.ttl(PRESENCE_SECONDS);
                bus.write_within(Bucket::Fleet, write, TOUCH_PATIENCE).await
            }
            Err(e) => Err(e),
        };
        presence.troubled.store(done.is_err(), Ordering::Relaxed);
        let pause = match done {
            Ok(_) => {
                silent = 0;
                let now = clock::now();
                presence.counts.touches.add(now.since(sent));
                if acked.send((sent, now)).await.is_err() {
                    return;
                }
                Duration::from_secs(*shortest.borrow()) / 4
            }
            Err(e) => {
                tracing::debug!("own touch failed: {e}");
                presence.counts.touch_failed();
                silent = if e == Error::Timeout { silent + 1 } else { 0 };
                if silent == SILENT_MAX {
                    tracing::warn!("the server does not answer; going to another one");
                    bus.reconnect().await;
                    silent = 0;
                }
                RETRY_AFTER
            }
        };
        // By a lease that is new and shorter one can judge once one has touched often enough for it.
        // (Without its sender this scheduler is stopping.)
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Ok(()) = shortest.changed() => {}
            () = presence.changed.notified() => {}
        }
    }
}
