//! A scheduler that is told to stop leaves in order: it answers what it has begun, tells what it has
//! to tell, and says that it leaves. None of it is waited for when the bus is away.

use std::time::Duration;

use dsbus_client::Served;
use dsbus_schema::event::SchedulerChange;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock;
use crate::run::Scheduler;
use crate::tell::derive;

/// How long all of it may take; what is not told by then, the others tell.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// Leaves. `helpers` end with it: its own touches before it says that it leaves, and the outbox last.
pub(crate) async fn run(scheduler: &Scheduler, served: Option<Served>, mut helpers: JoinSet<()>) {
    let leave = async {
        let was_ready = served.is_some();
        if let Some(served) = served {
            served.stop().await;
        }
        scheduler.touches.abort();
        scheduler.outbox.push(scheduler.shared.lock().take_told());
        scheduler.outbox.drained().await;
        if let Err(e) = scheduler.presence.leave(&scheduler.bus).await {
            tracing::debug!("the others are not told that this scheduler leaves: {e}");
        }
        if was_ready {
            let others = scheduler.shared.lock().others();
            let (id, run) = (scheduler.presence.id.as_str(), scheduler.presence.run);
            let at = (scheduler.bus.fleet(), clock::wall());
            let left = derive::scheduler(at, (id, run), SchedulerChange::Left, 0, others);
            scheduler.outbox.push(vec![left]);
            scheduler.outbox.drained().await;
        }
    };
    if scheduler.bus.connected() && timeout(LEAVE_WITHIN, leave).await.is_err() {
        tracing::warn!("left before all was told");
    }
    helpers.abort_all();
}
