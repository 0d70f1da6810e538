//! Calls to this worker: `ping`, `log`, `log-window`, `clear`, `usage`, and what lays hands on a child.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsbus_client::{Bus, Error, Refusal, Served, WorkerRequest};
use dsbus_schema::call::{
    Clear, Cleared, InventoryAsk, LOG_BYTES_MAX, LogAsk, Pong, SignalAsk, StdinAsk,
    USAGE_INSTANCES_MAX, UsageAsk, WindowAsk, WorkerVerb, output_bytes_max,
};
use dsbus_schema::command::code;
use dsbus_schema::ids::WorkerName;
use dsbus_schema::moment::BootTime;
use dsbus_schema::reading;
use dsbus_supervisor::protocol::{AGENT_PINGS, Handed};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

use crate::clock;
use crate::counts::Counts;
use crate::logs::{self, Bulk, Found, Held};
use crate::usage;
use crate::wishes::{self, Call, Denied, Granted, Wish};

/// A ping is answered only if the supervisor answered one of ours within this time: the last one,
/// or the one before it when that is still on its way.
pub const LIVE_MAX: Duration = AGENT_PINGS.saturating_mul(2);

/// Calls for logs that wait or are worked on at once, half of all calls that are: those that hang in a
/// file system must leave room for pings.
const LOGS_MAX: usize = 128;
/// Logs that are read at once, each in a thread.
const READING_MAX: usize = 8;

/// Calls with input for children that are on their way to the supervisor at once; others wait for their
/// turn. With so many of 64 KiB, 2 MB of JSON stand before a ping to the supervisor at most.
const INPUTS_MAX: usize = 16;
/// Calls with input, and calls about usage, that wait or are worked on at once: as with logs, there must
/// be room for pings.
const WRITING_MAX: usize = 64;
const USAGES_MAX: usize = 16;

/// What answering needs to know.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The answer to a ping.
    pub(crate) pong: Pong,
    /// The state directory.
    pub(crate) directory: PathBuf,
    /// Tells the loop that somebody asked whether we live.
    pub(crate) asked: mpsc::Sender<()>,
    /// Takes calls that the supervisor acts on to the loop.
    pub(crate) calls: mpsc::Sender<Call>,
    /// Serves those who follow logs.
    pub(crate) bulk: Bulk,
    /// What is counted.
    pub(crate) counts: Counts,
    answered: AtomicU64,
    logs: Arc<Semaphore>,
    reading: Arc<Semaphore>,
    usages: Arc<Semaphore>,
    measuring: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    inputs: Arc<Semaphore>,
}

impl Desk {
    /// Of a worker whose supervisor was not heard of yet.
    pub(crate) fn new(
        pong: Pong,
        directory: PathBuf,
        asked: mpsc::Sender<()>,
        calls: mpsc::Sender<Call>,
        bulk: Bulk,
        counts: Counts,
    ) -> Desk {
        let answered = AtomicU64::new(0);
        let (logs, reading) = (Semaphore::new(LOGS_MAX), Semaphore::new(READING_MAX));
        let (logs, reading) = (Arc::new(logs), Arc::new(reading));
        let inputs = Arc::new(Semaphore::new(INPUTS_MAX));
        // One after the other: each reads all of /proc.
        Desk {
            pong,
            directory,
            asked,
            calls,
            bulk,
            counts,
            answered,
            logs,
            reading,
            usages: Arc::new(Semaphore::new(USAGES_MAX)),
            measuring: Arc::new(Semaphore::new(1)),
            writing: Arc::new(Semaphore::new(WRITING_MAX)),
            inputs,
        }
    }

    /// The supervisor answered a ping that was sent at this moment.
    pub(crate) fn supervisor_answered(&self, at: BootTime) {
        self.answered.fetch_max(at.0, Ordering::Relaxed);
    }

    fn live(&self) -> bool {
        clock::now().since(BootTime(self.answered.load(Ordering::Relaxed))) <= LIVE_MAX
    }
}

/// Begins to answer.
pub(crate) async fn serve(
    bus: &Bus,
    worker: &WorkerName,
    desk: Arc<Desk>,
) -> Result<Served, Error> {
    let most = LOG_BYTES_MAX.min(output_bytes_max(bus.payload_max()));
    let counted = Arc::clone(&desk);
    let stats = move || serde_json::to_value(counted.counts.read()).unwrap_or_default();
    bus.serve_worker(worker, stats, move |request| answer(desk.clone(), request, most)).await
}

/// Answers; with at most so many bytes of a log.
async fn answer(desk: Arc<Desk>, request: WorkerRequest, most: usize) -> Result<Value, Refusal> {
    match request.verb {
        WorkerVerb::Ping if desk.live() => {
            // When it is full, the loop is about to touch anyway.
            let _ = desk.asked.try_send(());
            shown(&desk.pong)
        }
        WorkerVerb::Ping => Err(Refusal::silent()),
        WorkerVerb::Log => {
            let ask: LogAsk = read(&request)?;
            reading(desk, move |desk| log(desk, &ask, most)).await
        }
        WorkerVerb::LogWindow => {
            let ask: WindowAsk = read(&request)?;
            reading(desk, move |desk| {
                let found = logs::window(&desk.directory, &ask, most).map_err(|e| failed(&e))?;
                found.map_or_else(|| Err(logs::no_log(&logs::whose(&ask))), |found| shown(&found))
            })
            .await
        }
        // It is answered elsewhere, if at all.
        WorkerVerb::LogBulk => Err(Refusal::silent()),
        WorkerVerb::Usage => {
            let UsageAsk { instances } = read(&request)?;
            if instances.len() > USAGE_INSTANCES_MAX {
                let said =
                    format!("instances: at most {USAGE_INSTANCES_MAX} can be asked for at once");
                return Err(Refusal::new(code::BAD_REQUEST, said));
            }
            let Ok(_place) = Arc::clone(&desk.usages).try_acquire_owned() else {
                return Err(failed(&"too many ask at once what instances use"));
            };
            let turn = Arc::clone(&desk.measuring).acquire_owned().await.map_err(|e| failed(&e))?;
            let read = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                usage::read(desk.pong.supervisor_pid, &instances)
            });
            shown(&read.await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?)
        }
        WorkerVerb::Inventory => {
            let ask: InventoryAsk = read(&request)?;
            granted(&desk, Wish::Inventory(ask)).await
        }
        WorkerVerb::Clear => {
            let ask: Clear = read(&request)?;
            let name = ask.name.clone();
            granted(&desk, Wish::Clear(ask)).await?;
            shown(&Cleared { name })
        }
        WorkerVerb::Signal => {
            let ask: SignalAsk = read(&request)?;
            granted(&desk, Wish::Signal(ask)).await
        }
        WorkerVerb::Stdin => {
            let ask: StdinAsk = read(&request)?;
            let Ok(_place) = Arc::clone(&desk.writing).try_acquire_owned() else {
                return Err(failed(&"too much input is on its way to children of this worker"));
            };
            let inputs = Arc::clone(&desk.inputs);
            let _turn = inputs.acquire_owned().await.map_err(|e| failed(&e))?;
            granted(&desk, Wish::Stdin(ask)).await
        }
    }
}

/// What the supervisor did, as an answer.
async fn granted(desk: &Desk, wish: Wish) -> Result<Value, Refusal> {
    match wishes::wish(&desk.calls, wish).await {
        Ok(Granted::Cleared) => Ok(Value::Null),
        Ok(Granted::Has(inventory)) => shown(&inventory),
        Ok(Granted::Handed(Handed::Sent(sent))) => shown(&sent),
        Ok(Granted::Handed(Handed::Taken(taken))) => shown(&taken),
        Err(Denied::Gone(why)) => Err(Refusal::new(code::NOT_FOUND, why)),
        Err(Denied::Refused(why)) => Err(Refusal::new(code::CONFLICT, why)),
        Err(Denied::Failed(why)) => Err(failed(&why)),
    }
}

/// Reads from a file in a thread, when it is its turn.
async fn reading(
    desk: Arc<Desk>,
    read: impl FnOnce(&Desk) -> Result<Value, Refusal> + Send + 'static,
) -> Result<Value, Refusal> {
    let Ok(_place) = Arc::clone(&desk.logs).try_acquire_owned() else {
        return Err(failed(&"too many logs of this worker are asked for at once"));
    };
    let turn = Arc::clone(&desk.reading).acquire_owned().await.map_err(|e| failed(&e))?;
    let read = tokio::task::spawn_blocking(move || {
        // Whatever becomes of the call, a read that hangs keeps its turn.
        let _turn = turn;
        read(&desk)
    });
    read.await.map_err(|e| failed(&e))?
}

/// Reads what fits into an answer here; whoever needs more than that asks elsewhere next.
fn log(desk: &Desk, ask: &LogAsk, most: usize) -> Result<Value, Refusal> {
    let found = logs::read(&desk.directory, ask, most, &Held::default());
    match found.map_err(|e| failed(&e))? {
        Found::Part(part) => {
            if ask.wait_ms > 0 || part.more {
                desk.bulk.wanted();
            }
            shown(&part)
        }
        Found::NotBegun | Found::Nothing => {
            if ask.wait_ms > 0 {
                desk.bulk.wanted();
            }
            Err(logs::no_log(ask))
        }
    }
}

fn read<T: DeserializeOwned>(request: &WorkerRequest) -> Result<T, Refusal> {
    reading::message(&request.body).map_err(|wrong| {
        Refusal::new(code::BAD_REQUEST, format!("the request could not be read: {wrong}"))
    })
}

fn shown(value: &impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(value).map_err(|e| failed(&e))
}

fn failed(error: &impl ToString) -> Refusal {
    Refusal::new(code::UNAVAILABLE, error.to_string())
}
