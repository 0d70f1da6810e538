//! Sees leases expire, by a watch of its own: it is nobody's ear but the bench's.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use dsbus_client::{Bus, ConnectOptions, Item, Value};
use dsbus_schema::ids::{FleetName, UserName};
use dsbus_schema::storage::{Bucket, FleetKey};
use tokio::runtime::{Builder, Runtime};

use crate::Outcome;
use crate::clock::{Moment, moment_of, now};

/// More than any lease of a bench, and its marker, need.
const MARKER_MAX: Duration = Duration::from_secs(60);

/// The end of a lease.
#[derive(Debug, Clone)]
pub(crate) struct Marker {
    worker: String,
    seconds: u64,
    /// When the server stored it, to the millisecond.
    pub(crate) stored: Moment,
    /// When it was delivered.
    pub(crate) seen: Moment,
}

/// Watches all leases of workers.
#[derive(Debug)]
pub(crate) struct Markers {
    said: Receiver<Marker>,
    _runtime: Runtime,
}

impl Markers {
    /// From now on.
    pub(crate) fn watch(url: &str) -> Outcome<Markers> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let bus = runtime.block_on(Bus::connect(options(url, "bench-markers")))?;
        let (sender, said) = channel();
        runtime.spawn(async move {
            let mut watch = bus.watch(Bucket::Fleet, "*._touch.*", "bench-markers");
            loop {
                let Item::Entry(entry) = watch.next().await else { continue };
                let seen = now();
                let Some(FleetKey::Touch(worker, seconds)) = FleetKey::parse(&entry.key) else {
                    continue;
                };
                if entry.value == Value::Expired
                    && let Ok(stored) = moment_of(entry.time)
                    && sender
                        .send(Marker { worker: worker.to_string(), seconds, stored, seen })
                        .is_err()
                {
                    return;
                }
            }
        });
        Ok(Markers { said, _runtime: runtime })
    }

    /// The next end of this lease; others are passed over.
    pub(crate) fn next(&self, worker: &str, seconds: u64) -> Outcome<Marker> {
        loop {
            let said = self.said.recv_timeout(MARKER_MAX);
            let said = said.map_err(|_| format!("no lease of {worker} ended"))?;
            if (said.worker.as_str(), said.seconds) == (worker, seconds) {
                return Ok(said);
            }
        }
    }

    /// Begins anew.
    pub(crate) fn forget(&self) {
        while self.said.try_recv().is_ok() {}
    }
}

/// How the bench itself reaches the bus.
pub(crate) fn options(url: &str, label: &str) -> ConnectOptions {
    ConnectOptions {
        urls: vec![url.to_owned()],
        fleet: FleetName::default(),
        user: UserName::default(),
        access: dsbus_client::Access::default(),
        label: label.to_owned(),
        wait: true,
    }
}
