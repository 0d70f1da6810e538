//! Who works at a set of rules: whoever holds its lease. The others stand by.
//!
//! The lease keeps two from telling the same; that no two write the same is up to the sequences
//! that each write expects (see [`crate::store`]). So a lease that is wrongly held costs a message
//! that is told twice, and no more.

use std::time::Duration;

use dsbus_client::{Bus, Error, Value, Write};
use dsbus_schema::alert::{AlertLease, AlertName};
use dsbus_schema::moment::Timestamp;
use dsbus_schema::storage::{AlertKey, Bucket};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// How long a lease lives after it was last renewed. Longer than a stream of three replicas is
/// without a leader after the death of one (8.5 s, measured), and a time between two renewals.
const TTL: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(5);
/// After a renewal that failed.
const RETRY: Duration = Duration::from_millis(500);
/// Who stands by looks so often whether the lease is free, beside what the watch tells it.
const LOOK: Duration = Duration::from_secs(5);
/// After a look that failed.
const COMPLAIN: Duration = Duration::from_secs(1);

/// A lease that is held.
#[derive(Debug)]
pub(crate) struct Lease {
    bus: Bus,
    key: String,
    me: AlertLease,
    seq: u64,
    /// When the last renewal that succeeded was sent.
    renewed: Instant,
    /// When it is to be renewed.
    due: Instant,
}

/// Whether it is still held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Yes,
    No,
}

impl Lease {
    /// Waits until the lease is free, and takes it.
    ///
    /// # Errors
    /// When permissions forbid it.
    pub(crate) async fn take(bus: &Bus, name: &AlertName, me: AlertLease) -> Result<Lease, Error> {
        let key = AlertKey::Lease.of(name);
        let mut watch = bus.watch(Bucket::Alerts, &key, "alert-lease");
        let mut told = None;
        loop {
            let sent = Instant::now();
            match try_take(bus, &key, &me).await {
                Ok(Ok(seq)) => {
                    let (bus, due) = (bus.clone(), sent + RENEW);
                    return Ok(Lease { bus, key, me, seq, renewed: sent, due });
                }
                Ok(Err(holder)) => {
                    if told != holder.as_ref().map(|lease| lease.id) {
                        told = holder.as_ref().map(|lease| lease.id);
                        if let Some(AlertLease { host, pid, .. }) = holder {
                            tracing::info!("standing by: process {pid} on {host} works at it");
                        }
                    }
                    // Whatever the watch tells is a reason to look.
                    drop(timeout(LOOK, watch.next()).await);
                }
                Err(e @ Error::Denied { .. }) => return Err(e),
                Err(Error::NotProvisioned) => {
                    // Whoever comes first makes it; the others find it.
                    if let Err(e) = bus.provision_or_wait().await {
                        tracing::warn!("the buckets cannot be made: {e}");
                        sleep(COMPLAIN).await;
                    }
                }
                Err(e) => {
                    tracing::debug!("the lease cannot be looked at: {e}");
                    sleep(COMPLAIN).await;
                }
            }
        }
    }

    /// When it was taken, by the clock of the bus: what was stored since then is to be heard.
    pub(crate) async fn taken(&self) -> Option<Timestamp> {
        let entry = self.bus.get(Bucket::Alerts, &self.key).await.ok()??;
        (entry.seq == self.seq).then_some(entry.time)
    }

    /// When it must be renewed.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Until when it is held for sure.
    pub(crate) fn until(&self) -> Instant {
        self.renewed + TTL
    }

    /// Renews it.
    ///
    /// # Errors
    /// When permissions forbid it.
    pub(crate) async fn renew(&mut self) -> Result<Held, Error> {
        let sent = Instant::now();
        let renewed = match self.write(self.seq).await {
            Err(Error::LostRace { .. }) => match holder(&self.bus, &self.key).await {
                // A renewal whose answer was lost.
                Ok((Some(lease), seq)) if lease.id == self.me.id => self.write(seq).await,
                Ok(_) => return Ok(Held::No),
                Err(e) => Err(e),
            },
            other => other,
        };
        match renewed {
            Ok(seq) => {
                (self.seq, self.renewed, self.due) = (seq, sent, sent + RENEW);
                Ok(Held::Yes)
            }
            Err(e @ Error::Denied { .. }) => Err(e),
            Err(Error::LostRace { .. }) => Ok(Held::No),
            Err(_) if sent >= self.renewed + TTL => Ok(Held::No),
            Err(e) => {
                tracing::debug!("the lease cannot be renewed: {e}");
                self.due = Instant::now() + RETRY;
                Ok(Held::Yes)
            }
        }
    }

    /// It seems to have expired: it is to be renewed now, or found to be lost.
    pub(crate) fn hurry(&mut self) {
        self.due = Instant::now();
    }

    /// Whether an entry of the bucket says that somebody else has it.
    pub(crate) fn is_of_another(&self, body: &[u8]) -> bool {
        serde_json::from_slice::<AlertLease>(body).is_ok_and(|lease| lease.id != self.me.id)
    }

    /// Gives it up: another one takes over at once.
    pub(crate) async fn release(self) {
        let delete = Write::delete(self.key.clone()).expect(self.seq).ttl(TTL.as_secs());
        if let Err(e) = self.bus.write(Bucket::Alerts, delete).await {
            tracing::debug!("the lease could not be given up, and expires: {e}");
        }
    }

    async fn write(&self, seq: u64) -> Result<u64, Error> {
        write(&self.bus, &self.key, &self.me, seq).await
    }
}

/// Who this process is.
pub(crate) fn me(host: &str) -> AlertLease {
    AlertLease { id: Uuid::now_v7(), host: host.to_owned(), pid: std::process::id() }
}

async fn write(bus: &Bus, key: &str, me: &AlertLease, seq: u64) -> Result<u64, Error> {
    let put = Write::put(key, me)?.expect(seq).ttl(TTL.as_secs());
    bus.write(Bucket::Alerts, put).await
}

/// The lease as it stands, and its sequence.
async fn holder(bus: &Bus, key: &str) -> Result<(Option<AlertLease>, u64), Error> {
    let Some(entry) = bus.get(Bucket::Alerts, key).await? else { return Ok((None, 0)) };
    match &entry.value {
        Value::Deleted | Value::Expired | Value::Copied => Ok((None, entry.seq)),
        Value::Put(_) => Ok((entry.json()?, entry.seq)),
    }
}

/// Takes the lease if it is free; else who has it.
async fn try_take(
    bus: &Bus,
    key: &str,
    me: &AlertLease,
) -> Result<Result<u64, Option<AlertLease>>, Error> {
    match holder(bus, key).await? {
        (Some(lease), _) if lease.id != me.id => Ok(Err(Some(lease))),
        (_, seq) => match write(bus, key, me, seq).await {
            Ok(seq) => Ok(Ok(seq)),
            Err(Error::LostRace { .. }) => Ok(Err(None)),
            Err(e) => Err(e),
        },
    }
}
