//! Hears the bus: one watch per bucket, all into one queue.
//!
//! Buckets are lost together more often than alone, and their watches find that out one after the other.
//! Whoever planned between the two would see programs without their placements, and place them a second
//! time. So when one bucket begins anew, all are heard anew before anything is planned.

use dsbus_client::{Bus, Item};
use dsbus_schema::storage::Bucket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Items that wait to be folded. The watches wait when it is full, and the server keeps the rest.
const ITEMS_WAITING_MAX: usize = 1024;

/// What was heard of a bucket.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all that is heard are items")]
pub(crate) enum Heard {
    /// What its watch says.
    Item(Item),
    /// Another bucket began anew, so this one is heard anew, too: everything of it follows.
    Again,
}

/// Starts to hear. The watches end when `JoinSet` is dropped.
pub(crate) fn start(bus: &Bus, id: &str) -> (JoinSet<()>, mpsc::Receiver<(Bucket, Heard)>) {
    let (sender, receiver) = mpsc::channel(ITEMS_WAITING_MAX);
    let (anew, _) = watch::channel(None);
    let mut watches = JoinSet::new();
    for bucket in Bucket::STATE {
        let (bus, sender, anew) = (bus.clone(), sender.clone(), anew.clone());
        let name = format!("scheduler-{id}");
        watches.spawn(async move { hear(&bus, bucket, &name, &sender, &anew).await });
    }
    (watches, receiver)
}

/// Until nobody wants to hear any more. `anew` says which bucket began anew last.
async fn hear(
    bus: &Bus,
    bucket: Bucket,
    name: &str,
    sender: &mpsc::Sender<(Bucket, Heard)>,
    anew: &watch::Sender<Option<Bucket>>,
) {
    let (mut watch, mut others) = (bus.watch(bucket, ">", name), anew.subscribe());
    loop {
        let heard = tokio::select! {
            item = watch.next() => Heard::Item(item),
            Ok(()) = others.changed() => {
                if *others.borrow_and_update() == Some(bucket) {
                    continue;
                }
                watch = bus.watch(bucket, ">", name);
                Heard::Again
            }
        };
        let reset = matches!(heard, Heard::Item(Item::Reset));
        if sender.send((bucket, heard)).await.is_err() {
            return;
        }
        if reset {
            // After it was said, so that whatever the others say again comes after it.
            anew.send_replace(Some(bucket));
        }
    }
}
