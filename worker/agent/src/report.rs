//! Carries out one delivery, for as long as it takes. What the bus can never take is dropped, and that
//! is told in its place: nothing behind it must wait for ever.

use std::collections::BTreeMap;

use dsbus_client::{Bus, Error, Value, Write};
use dsbus_schema::event::{Dropped, Event, Fact, Source, WorkerChange, WorkerFact};
use dsbus_schema::ids::{Epoch, FleetName, InstanceId, WorkerName};
use dsbus_schema::status::Status;
use dsbus_schema::storage::{Bucket, instance_key};
use uuid::Uuid;

use crate::counts::Counts;
use crate::publish::{Delivery, Entry, Outcome};
use crate::retry::Retry;

/// Does it, again and again until it is done.
pub(crate) async fn carry_out(
    bus: Bus,
    worker: WorkerName,
    delivery: Delivery,
    counts: &Counts,
) -> Outcome {
    let Delivery { number, name, event, entry } = delivery;
    if let Some(event) = event {
        let source = Source::Worker(worker.clone());
        if let Err(error) = publish(&bus, &source, &event, counts).await {
            let dropped = dropped(bus.fleet(), &worker, &event, &error);
            // Why it cannot be told either is in the log.
            drop(publish(&bus, &source, &dropped, counts).await);
        }
    }
    let seq = match (&name, entry) {
        (Some(name), Some(Entry::Write { status, seq })) => {
            Some(write(&bus, &instance_key(&worker, name), &status, seq).await)
        }
        (Some(name), Some(Entry::Lacking { status })) => {
            Some(write_lacking(&bus, &instance_key(&worker, name), &status).await)
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
///
/// # Errors
/// When the bus can never take it: it is too long for the server.
pub(crate) async fn publish(
    bus: &Bus,
    source: &Source,
    event: &Event,
    counts: &Counts,
) -> Result<(), Error> {
    let mut retry = Retry::new(bus, "publish an event");
    loop {
        match bus.publish_event(source, event).await {
            Ok(()) => {
                counts.stored(event);
                return Ok(());
            }
            Err(error @ Error::Malformed { .. }) => {
                let (kind, name) = (event.data.kind(), event.data.type_name());
                tracing::error!(%error, "an event {kind} {name} is dropped: it can never be published");
                return Err(error);
            }
            Err(error) => retry.after(&error).await,
        }
    }
}

/// Tells that an event was dropped, each time under the same id.
fn dropped(fleet: &FleetName, worker: &WorkerName, event: &Event, error: &Error) -> Event {
    let kind = event.data.kind();
    let fact = WorkerFact {
        worker: worker.clone(),
        change: WorkerChange::EventsDropped,
        reason: Some(format!("1 event was dropped: the bus cannot take it: {error}")),
        incarnation: None,
        dropped: Some(Dropped {
            events: 1,
            kinds: BTreeMap::from([(kind.to_owned(), 1)]),
            from: Some(event.time),
            to: Some(event.time),
        }),
    };
    let (id, source) = (Uuid::new_v5(&event.id, b"dropped"), Source::Worker(worker.clone()));
    Event::new(fleet, &source, id, event.time, Fact::Worker(fact))
}

/// Writes a status over what is older, if the bus can take it; returns the sequence of what stands
/// there in the end, as far as that is known.
async fn write(bus: &Bus, key: &str, status: &Status, seq: u64) -> u64 {
    let mut retry = Retry::new(bus, "write a status");
    let mut expected = seq;
    loop {
        match write_over(bus, key, status, &mut expected).await {
            Ok(seq) => return seq,
            Err(error @ Error::Malformed { .. }) => {
                tracing::error!(%error, "a status is not written: the bus cannot take it");
                return expected;
            }
            Err(error) => retry.after(&error).await,
        }
    }
}

/// Writes a status where it is lacking: mostly it is not. Returns the sequence of what stands there in the
/// end.
async fn write_lacking(bus: &Bus, key: &str, status: &Status) -> u64 {
    let mut retry = Retry::new(bus, "look for a status");
    loop {
        match bus.get(Bucket::Status, key).await {
            Ok(Some(entry)) => {
                let there = entry.json::<Status>().ok().flatten();
                let told = there.is_some_and(|there| tells(&there, status));
                return if told { entry.seq } else { write(bus, key, status, entry.seq).await };
            }
            Ok(None) => return write(bus, key, status, 0).await,
            Err(error) => retry.after(&error).await,
        }
    }
}

/// Whether what stands there tells all of `mine`, whichever event told of it, or of a later moment.
pub fn tells(there: &Status, mine: &Status) -> bool {
    *there == Status { event: there.event, ..mine.clone() } || newer(there, mine)
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
