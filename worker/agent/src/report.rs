//! Carries out one delivery, for as long as it takes.

use dsbus_client::{Bus, Error, Value, Write};
use dsbus_schema::event::{Event, Source};
use dsbus_schema::ids::{Epoch, InstanceId, WorkerName};
use dsbus_schema::status::Status;
use dsbus_schema::storage::{Bucket, instance_key};

use crate::publish::{Delivery, Entry, Outcome};
use crate::retry::Retry;

/// Does it, again and again until it is done.
pub(crate) async fn carry_out(bus: Bus, worker: WorkerName, delivery: Delivery) -> Outcome {
    let Delivery { number, name, event, entry } = delivery;
    if let Some(event) = event {
        publish(&bus, &Source::Worker(worker.clone()), &event).await;
    }
    let seq = match (&name, entry) {
        (Some(name), Some(Entry::Write { status, seq })) => {
            Some(write(&bus, &instance_key(&worker, name), &status, seq).await)
        }
        (Some(name), Some(Entry::Remove { epoch })) => {
            remove(&bus, &worker, name, epoch).await;
            None
        }
        _ => None,
    };
    Outcome { number, name, seq }
}

/// Publishes an event. Its id makes every repetition harmless.
pub(crate) async fn publish(bus: &Bus, source: &Source, event: &Event) {
    let mut retry = Retry::new(bus, "publish an event");
    while let Err(error) = bus.publish_event(source, event).await {
        retry.after(&error).await;
    }
}

/// Writes a status over what is older; returns the sequence of what stands there in the end.
async fn write(bus: &Bus, key: &str, status: &Status, seq: u64) -> u64 {
    let mut retry = Retry::new(bus, "write a status");
    let mut expected = seq;
    loop {
        match write_over(bus, key, status, &mut expected).await {
            Ok(seq) => return seq,
            Err(error) => retry.after(&error).await,
        }
    }
}

/// One try; after a lost race it looks at what stands there, and tries once more over that.
async fn write_over(
    bus: &Bus,
    key: &str,
    status: &Status,
    expected: &mut u64,
) -> Result<u64, Error> {
    let write = Write::put(key, status)?;
    match bus.write(Bucket::Status, write.clone().expect(*expected)).await {
        Err(Error::LostRace { .. }) => {}
        ended => return ended,
    }
    *expected = 0;
    if let Some(entry) = bus.get(Bucket::Status, key).await? {
        // What cannot be read is overwritten: it is our key.
        if entry.json::<Status>().ok().flatten().is_some_and(|there| newer(&there, status)) {
            return Ok(entry.seq);
        }
        *expected = entry.seq;
    }
    bus.write(Bucket::Status, write.expect(*expected)).await
}

async fn remove(bus: &Bus, worker: &WorkerName, name: &InstanceId, epoch: Epoch) {
    let key = instance_key(worker, name);
    let mut retry = Retry::new(bus, "remove a status");
    loop {
        let error = match bus.get(Bucket::Status, &key).await {
            Ok(None) => return,
            Ok(Some(entry)) => {
                let newer = entry.json::<Status>().ok().flatten().is_some_and(|s| s.epoch > epoch);
                if newer || !matches!(entry.value, Value::Put(_)) {
                    return;
                }
                let delete = Write::delete(key.as_str()).expect(entry.seq);
                match bus.write(Bucket::Status, delete).await {
                    Ok(_) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        retry.after(&error).await;
    }
}

/// Whether what stands there tells of a later moment than `mine`.
pub fn newer(there: &Status, mine: &Status) -> bool {
    // Incarnations are numbered by time (UUID v7): what an earlier run wrote late is not later.
    (there.epoch, there.incarnation, there.seq) > (mine.epoch, mine.incarnation, mine.seq)
}
