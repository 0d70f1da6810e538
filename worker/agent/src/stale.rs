//! States under this worker's name that it knows nothing of: the bus went back in time, and has them from
//! then. Nobody else would take them away while this worker lives.

use std::collections::BTreeSet;

use dsbus_client::{Bus, Value, Write};
use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::storage::{Bucket, parse_instance_key, worker_keys};

use crate::errands::Done;

/// Takes away what is not about these instances. What cannot be read or written is left: it misleads those
/// who look, and nobody who decides.
pub(crate) async fn forget(bus: Bus, worker: WorkerName, known: BTreeSet<InstanceId>) -> Done {
    let entries = match bus.history(Bucket::Status, &worker_keys(&worker)).await {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(%error, "cannot look for states that are out of date");
            return Done::Nothing;
        }
    };
    for entry in entries {
        let unknown =
            parse_instance_key(&entry.key).is_some_and(|(_, name)| !known.contains(&name));
        if unknown && matches!(entry.value, Value::Put(_)) {
            let delete = Write::delete(entry.key).expect(entry.seq);
            if let Err(error) = bus.write(Bucket::Status, delete).await {
                tracing::debug!(%error, "a state was written meanwhile");
            }
        }
    }
    Done::Nothing
}
