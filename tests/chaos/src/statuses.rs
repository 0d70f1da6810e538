//! How far the events of each instance go, as its worker wrote into its status.

use dsbus_client::Bus;
use dsbus_schema::status::{InstanceRow, Status};
use dsbus_schema::storage::{Bucket, instance_key};

/// Last sequence by instance and epoch.
pub(crate) async fn read(bus: &Bus, rows: &[InstanceRow]) -> Vec<((String, u64), u64)> {
    let mut found = Vec::new();
    for row in rows {
        let Some(worker) = &row.worker else { continue };
        let entry = bus.get(Bucket::Status, &instance_key(worker, &row.name)).await;
        let status = entry.ok().flatten().and_then(|entry| entry.json::<Status>().ok().flatten());
        if let Some(status) = status {
            found.push(((row.name.to_string(), status.epoch.0), status.seq));
        }
    }
    found
}
