//! Serving those who follow logs: in a thread and over a connection of its own, both of which are
//! there only while somebody follows.
//!
//! Invariant: whatever is followed, and however slow the disk or the line is, the agent's loop and
//! its connection have nothing to do with it; so it delays no touch and no report.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dsbus_client::{Bus, Call, ConnectOptions, Refusal};
use dsbus_schema::call::{
    LOG_BULK_BYTES_MAX, LOG_WAIT_MAX, LogAsk, LogPart, WorkerVerb, output_bytes_max,
};
use dsbus_schema::command::code;
use dsbus_schema::ids::WorkerName;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::readers::Readers;
use super::{Found, Glance, Held, no_log, read};
use crate::clock;

/// Asks that are answered or wait at once: followers. One more is told.
const FOLLOWERS_MAX: usize = 512;
/// Answers that are made or sent at once: each holds some copies of its output, and is work.
const READING_MAX: usize = 4;
/// Threads for that, one more for glances.
const THREADS_MAX: usize = READING_MAX + 1;
/// Who has read all is behind by so much, at most. A glance costs about 20 us.
const GLANCE_EVERY: Duration = Duration::from_millis(20);
/// When more followers wait than this, they look less often, so that all of them together cost no
/// more than some percent of a core.
const GLANCING_MAX: usize = 32;
/// Without an ask for so long nobody follows: those who do ask every [`LOG_WAIT_MAX`] at least.
const IDLE_MAX: Duration = LOG_WAIT_MAX.saturating_mul(3);
/// How long the bus may take to be reached. Whoever follows asks on, and it is tried again.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// When the agent ends, those who follow may read on for so long. The supervisor waits for 2 s.
const LAST_WORDS_MAX: Duration = Duration::from_millis(1200);
/// How long the last answers may take then.
const CLOSE_MAX: Duration = Duration::from_millis(300);
/// Then an ask waits no longer than this.
const LAST_WAIT: Duration = Duration::from_millis(100);
/// How much less this is worth than anything else the worker does.
const NICE: i32 = 5;

/// What begins it.
#[derive(Debug, Clone)]
pub(crate) struct Bulk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: ConnectOptions,
    worker: WorkerName,
    /// The state directory.
    directory: PathBuf,
    held: Held,
    runs: AtomicBool,
    closing: watch::Sender<Closing>,
    readers: Mutex<Readers>,
    followers: Semaphore,
    reading: Semaphore,
}

impl Bulk {
    /// Nothing is served yet.
    pub(crate) fn new(options: ConnectOptions, worker: WorkerName, directory: PathBuf) -> Bulk {
        let label = format!("{} logs", options.label);
        Bulk(Arc::new(Shared {
            options: ConnectOptions { label, ..options },
            worker,
            directory,
            held: Held::default(),
            runs: AtomicBool::new(false),
            closing: watch::Sender::new(Closing::No),
            readers: Mutex::default(),
            followers: Semaphore::new(FOLLOWERS_MAX),
            reading: Semaphore::new(READING_MAX),
        }))
    }

    /// Somebody means to follow: whoever asks in a moment is answered.
    pub(crate) fn wanted(&self) {
        if *self.0.closing.borrow() == Closing::Now || self.0.runs.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(&self.0);
        let spawned = std::thread::Builder::new().name("logs".to_owned()).spawn(move || {
            let _running = Running(&shared);
            run(&shared);
        });
        if let Err(error) = spawned {
            self.0.runs.store(false, Ordering::Release);
            tracing::warn!(%error, "logs cannot be followed quickly");
        }
    }

    /// Whether somebody follows, or did a moment ago.
    pub(crate) fn runs(&self) -> bool {
        self.0.runs.load(Ordering::Acquire)
    }

    /// Answers whoever waits with what there is, and takes no more asks.
    pub(crate) fn end(&self) {
        self.0.closing.send_replace(Closing::Now);
    }

    /// The same, after those who follow have had a moment to read the last words.
    pub(crate) async fn close(self) {
        self.0.closing.send_if_modified(|closing| {
            let open = *closing == Closing::No;
            if open {
                *closing = Closing::Soon;
            }
            open
        });
        let read = async {
            while !self.0.readers().know_all(clock::now()) {
                sleep(GLANCE_EVERY).await;
            }
        };
        drop(timeout(LAST_WORDS_MAX, read).await);
        self.end();
        // Those that are not answered by then have a file system or a bus that does not answer.
        drop(timeout(CLOSE_MAX, self.0.all_answered()).await);
    }
}

/// Whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// Nothing more is written, and nobody has to wait for it.
    Soon,
    Now,
}

/// However it ends, it can be begun again.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.held.clear();
        self.0.runs.store(false, Ordering::Release);
    }
}

/// Serves until nobody follows any more.
fn run(shared: &Arc<Shared>) {
    // Of this thread and those that it starts. Where it is not allowed, it is as before.
    let _ = rustix::process::nice(NICE);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS_MAX)
        .build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(serve(shared));
            // A file system that does not answer keeps its thread, and nobody waits for it.
            runtime.shutdown_background();
        }
        Err(error) => tracing::warn!(%error, "logs cannot be followed quickly"),
    }
}

async fn serve(shared: &Arc<Shared>) {
    let connecting = timeout(CONNECT_MAX, Bus::connect(shared.options.clone()));
    let Ok(Ok(bus)) = connecting.await else { return };
    let Ok(mut calls) = bus.take_calls(&shared.worker, WorkerVerb::LogBulk).await else { return };
    let most = LOG_BULK_BYTES_MAX.min(output_bytes_max(bus.payload_max()));
    let mut closing = shared.closing.subscribe();
    while *closing.borrow() != Closing::Now {
        let call = tokio::select! {
            call = calls.next() => call,
            () = sleep(IDLE_MAX) => None,
            // Its sender is here, so it is no error.
            _ = closing.changed() => continue,
        };
        let Some(call) = call else { break };
        let shared = Arc::clone(shared);
        tokio::spawn(async move { answer(&shared, call, most).await });
    }
    drop(calls);
    drop(timeout(CLOSE_MAX, shared.all_answered()).await);
}

async fn answer(shared: &Arc<Shared>, call: Call, most: usize) {
    let Ok(_place) = shared.followers.try_acquire() else {
        let text = format!("{FOLLOWERS_MAX} logs of this worker are followed already");
        return call.refuse(Refusal::new(code::UNAVAILABLE, text)).await;
    };
    let ask: LogAsk = match call.read() {
        Ok(ask) => ask,
        Err(refusal) => return call.refuse(refusal).await,
    };
    let begun = Instant::now();
    let ask = Arc::new(ask);
    let mut news = shared.closing.subscribe();
    loop {
        // Before it is read: what comes meanwhile makes a difference.
        let closing = *news.borrow_and_update();
        let until = begun + patience(&ask, closing);
        let last = Instant::now() >= until;
        // Held until the answer is sent.
        let turn = shared.reading.acquire().await;
        let (glance, outcome) = shared.looked(&ask, most).await;
        match outcome {
            Ok(answer) if answer.news || last => {
                let all = !answer.more && closing != Closing::No;
                shared.readers().told((ask.name.clone(), ask.channel), all, clock::now());
                return call.answer(answer.said).await;
            }
            Err(refusal) if refusal.code != code::NOT_FOUND || last => {
                return call.refuse(refusal).await;
            }
            Ok(_) | Err(_) => {}
        }
        drop(turn);
        shared.wait_for_news(&ask, glance, until, &mut news).await;
    }
}

/// How long an answer waits for output.
fn patience(ask: &LogAsk, closing: Closing) -> Duration {
    let wanted = Duration::from_millis(ask.wait_ms);
    match closing {
        Closing::No => wanted.min(LOG_WAIT_MAX),
        Closing::Soon => wanted.min(LAST_WAIT),
        Closing::Now => Duration::ZERO,
    }
}

/// An answer, as it is sent.
struct Answer {
    said: Vec<u8>,
    /// It says something that whoever asked does not know.
    news: bool,
    /// And there is more.
    more: bool,
}

impl Answer {
    fn of(part: &LogPart) -> Result<Answer, Refusal> {
        let news = !part.is_empty() || part.more || part.skipped || part.ended;
        let said = serde_json::to_vec(part).map_err(|e| failed(&e))?;
        Ok(Answer { said, news, more: part.more })
    }
}

fn failed(error: &impl ToString) -> Refusal {
    Refusal::new(code::UNAVAILABLE, error.to_string())
}

impl Shared {
    /// Takes a glance, and then reads; beside the loop, since both may take time.
    async fn looked(
        self: &Arc<Self>,
        ask: &Arc<LogAsk>,
        most: usize,
    ) -> (Option<Glance>, Result<Answer, Refusal>) {
        let (shared, ask) = (Arc::clone(self), Arc::clone(ask));
        let looking = tokio::task::spawn_blocking(move || {
            let glance = Glance::at(&shared.directory, &ask);
            let answer = match read(&shared.directory, &ask, most, &shared.held) {
                Ok(Found::Part(part)) => Answer::of(&part),
                Ok(Found::NotBegun | Found::Nothing) => Err(no_log(&ask)),
                Err(e) => Err(failed(&e)),
            };
            (Some(glance), answer)
        });
        looking.await.unwrap_or_else(|e| (None, Err(failed(&e))))
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until another glance is another one, or time is over, or this is about to close.
    async fn wait_for_news(
        self: &Arc<Self>,
        ask: &Arc<LogAsk>,
        before: Option<Glance>,
        until: Instant,
        closing: &mut watch::Receiver<Closing>,
    ) {
        while Instant::now() < until {
            let waiting = FOLLOWERS_MAX - self.followers.available_permits();
            let pause = GLANCE_EVERY * u32::try_from(waiting.div_ceil(GLANCING_MAX)).unwrap_or(1);
            let next = (Instant::now() + pause).min(until);
            tokio::select! {
                () = sleep_until(next) => {}
                _ = closing.changed() => return,
            }
            let (shared, ask) = (Arc::clone(self), Arc::clone(ask));
            let glancing =
                tokio::task::spawn_blocking(move || Glance::at(&shared.directory, &ask)).await;
            if glancing.ok() != before {
                return;
            }
        }
    }

    /// Returns when nobody waits for an answer.
    async fn all_answered(&self) {
        let all = u32::try_from(FOLLOWERS_MAX).unwrap_or(u32::MAX);
        drop(self.followers.acquire_many(all).await);
    }
}
