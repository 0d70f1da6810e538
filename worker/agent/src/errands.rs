//! What the loop does on the bus without waiting for it: each ends in a [`Done`]. No decisions
//! here.

use std::sync::Arc;
use std::time::Duration;

use dsbus_client::{Bus, ConnectOptions, Error, Served, Write};
use dsbus_schema::call::{Pong, WorkerVerb};
use dsbus_schema::event::{Event, Fact, Source};
use dsbus_schema::ids::{InstanceId, WorkerName};
use dsbus_schema::status::Status;
use dsbus_schema::storage::{Bucket, instance_key, touch_key};
use dsbus_schema::subject;
use dsbus_schema::touch::Touch;
use dsbus_schema::worker::Worker;
use dsbus_supervisor::protocol::LastEvent;
use tokio::task::JoinSet;

use crate::bus_side::LastEvents;
use crate::calls::{self, Desk};
use crate::clock;
use crate::facts::look::Slow;
use crate::publish::Outcome;
use crate::report;
use crate::retry::Retry;
use crate::touch::Rules;

/// How long whoever holds the name may take to answer.
const ASK_MAX: Duration = Duration::from_millis(500);
/// A touch is answered within its patience; so much later the client itself is stuck.
const STUCK: Duration = Duration::from_millis(250);
/// Between two attempts to connect, when the client gave up.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Last events that are looked up at once.
const LOOKUPS_MAX: usize = 64;

/// How an errand ended.
#[derive(Debug)]
pub(crate) enum Done {
    /// There is a bus; or one that cannot be used.
    Connected(Result<Bus, Error>),
    /// The buckets are there; or they cannot be used.
    Provisioned(Result<(), Error>),
    /// A touch was answered.
    Touched {
        /// Which lease.
        seconds: u64,
        /// Which attempt.
        attempt: u64,
        /// Its sequence.
        result: Result<u64, Error>,
    },
    /// Whoever holds the name was asked.
    Asked(Option<Pong>),
    /// The last events were looked up.
    LookedUp(LastEvents),
    /// Calls are answered from now on.
    Served(Served),
    /// A report is published.
    Reported(Outcome),
    /// The worker's own record is written.
    Recorded,
    /// The machine was looked at.
    Looked(Slow),
    /// A child was asked whether it is well.
    Probed {
        /// The question's number.
        number: u64,
        /// Why it is not.
        trouble: Option<String>,
    },
    /// Those who followed logs have read them.
    Followed,
    /// Nothing that anybody waits for.
    Nothing,
}

/// Connects, for as long as it takes.
pub(crate) async fn connect(options: ConnectOptions) -> Done {
    loop {
        match Bus::connect(options.clone()).await {
            Ok(bus) => return Done::Connected(Ok(bus)),
            Err(error @ Error::ServerTooOld { .. }) => return Done::Connected(Err(error)),
            Err(error) => {
                tracing::warn!(%error, "failed to connect; trying again");
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
        }
    }
}

/// Sees to it that the buckets are there. Ends with an error only where they cannot be used.
pub(crate) async fn provision(bus: Bus) -> Done {
    let mut retry = Retry::new(&bus, "look after the buckets");
    loop {
        match bus.provision_or_wait().await {
            Ok(()) => return Done::Provisioned(Ok(())),
            Err(error @ Error::Malformed { .. }) => return Done::Provisioned(Err(error)),
            Err(error) => retry.after(&error).await,
        }
    }
}

/// Sends a touch that expects `expect`.
pub(crate) async fn touch(
    bus: Bus,
    worker: WorkerName,
    seconds: u64,
    touch: Touch,
    expect: u64,
    desk: Arc<Desk>,
) -> Done {
    let (attempt, begin) = (touch.attempt, clock::now());
    let patience = Rules::new(seconds).patience();
    let sending = async {
        let write = Write::put(touch_key(&worker, seconds), &touch)?.expect(expect).ttl(seconds);
        bus.write_within(Bucket::Fleet, write, patience).await
    };
    let answered = tokio::time::timeout(patience + STUCK, sending).await;
    let took = matches!(answered, Ok(Ok(_))).then(|| clock::now().since(begin));
    desk.counts.touched(took);
    Done::Touched { seconds, attempt, result: answered.unwrap_or(Err(Error::Timeout)) }
}

/// Asks whoever lives under this name.
pub(crate) async fn ask(bus: Bus, worker: WorkerName) -> Done {
    let nothing = serde_json::Map::new();
    let mut retry = Retry::new(&bus, "ask who holds this worker's name");
    loop {
        match bus.call_worker(&worker, WorkerVerb::Ping, &nothing, ASK_MAX).await {
            Ok(pong) => return Done::Asked(Some(pong)),
            Err(Error::Timeout | Error::NoResponders) => return Done::Asked(None),
            Err(error) => retry.after(&error).await,
        }
    }
}

/// Looks up the last event that this worker published about each instance.
pub(crate) async fn look_up(bus: Bus, worker: WorkerName, names: Vec<InstanceId>) -> Done {
    let (mut last, mut running) = (LastEvents::new(), JoinSet::new());
    for name in names {
        if running.len() >= LOOKUPS_MAX {
            last.extend(running.join_next().await.and_then(Result::ok).flatten());
        }
        running.spawn(last_event(bus.clone(), worker.clone(), name));
    }
    while let Some(found) = running.join_next().await {
        last.extend(found.ok().flatten());
    }
    Done::LookedUp(last)
}

/// The last event that this worker told of an instance. It may have aged out of the stream; the
/// status entry, written after it, does not.
async fn last_event(
    bus: Bus,
    worker: WorkerName,
    name: InstanceId,
) -> Option<(InstanceId, LastEvent)> {
    let mut retry = Retry::new(&bus, "look up the last event of an instance");
    let subject = subject::process_events(bus.fleet(), &worker, &name);
    let key = instance_key(&worker, &name);
    loop {
        let told = match bus.last_event(&subject).await {
            Ok(Some(Event { data: Fact::Process(fact), .. })) => Ok(Some(LastEvent::of(&fact))),
            Ok(_) | Err(Error::Malformed { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        let stands = match bus.get(Bucket::Status, &key).await {
            Ok(entry) => Ok(entry.and_then(|entry| entry.json::<Status>().ok().flatten())),
            Err(error) => Err(error),
        };
        match (told, stands) {
            (Ok(told), Ok(stands)) => {
                return LastEvent::later(told, stands.as_ref().map(LastEvent::of_status))
                    .map(|last| (name, last));
            }
            (Err(error), _) | (_, Err(error)) => retry.after(&error).await,
        }
    }
}

/// Begins to answer calls.
pub(crate) async fn serve(bus: Bus, worker: WorkerName, desk: Arc<Desk>) -> Done {
    let mut retry = Retry::new(&bus, "answer calls");
    loop {
        match calls::serve(&bus, &worker, desk.clone()).await {
            Ok(served) => return Done::Served(served),
            Err(error) => retry.after(&error).await,
        }
    }
}

/// Writes what the worker tells about itself.
pub(crate) async fn record(bus: Bus, worker: Worker) -> Done {
    let mut retry = Retry::new(&bus, "write the worker's record");
    loop {
        let written = match Write::put(worker.name.as_str(), &worker) {
            Ok(write) => bus.write(Bucket::Workers, write).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(_) => return Done::Recorded,
            Err(error) => retry.after(&error).await,
        }
    }
}

/// Looks at what of the machine may take time, beside the loop.
pub(crate) async fn look_slowly(directory: String) -> Done {
    match tokio::task::spawn_blocking(move || Slow::look(&directory)).await {
        Ok(slow) => Done::Looked(slow),
        // Only a runtime that ends gives it up.
        Err(_) => Done::Nothing,
    }
}

/// Publishes an event of the agent's own.
pub(crate) async fn tell(bus: Bus, source: Source, event: Event, desk: Arc<Desk>) -> Done {
    // Why it cannot be is in the log.
    drop(report::publish(&bus, &source, &event, &desk.counts).await);
    Done::Nothing
}

/// Goes to another server.
pub(crate) async fn reconnect(bus: Bus) -> Done {
    bus.reconnect().await;
    Done::Nothing
}
