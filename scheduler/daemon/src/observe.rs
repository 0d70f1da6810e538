//! Hears the bus: one watch per bucket, all into one queue.

use dsbus_client::{Bus, Item};
use dsbus_schema::storage::Bucket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Items that wait to be folded. The watches wait when it is full, and the server keeps the rest.
const ITEMS_WAITING_MAX: usize = 1024;

/// Starts to hear. The watches end when `JoinSet` is dropped.
pub(crate) fn start(bus: &Bus, id: &str) -> (JoinSet<()>, mpsc::Receiver<(Bucket, Item)>) {
    let (sender, receiver) = mpsc::channel(ITEMS_WAITING_MAX);
    let mut watches = JoinSet::new();
    for bucket in Bucket::STATE {
        let mut watch = bus.watch(bucket, ">", &format!("scheduler-{id}"));
        let sender = sender.clone();
        watches.spawn(async move {
            loop {
                let item = watch.next().await;
                if sender.send((bucket, item)).await.is_err() {
                    return;
                }
            }
        });
    }
    (watches, receiver)
}
