//! What daemons tell while they run: on standard error, or in a worker's log.

mod lossy;

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, TryLockError};

use dsbus_supervisor::{Echo, LogFile};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::Surroundings;

/// Turns logging on for a daemon.
pub(crate) fn daemon(filter: &str) {
    start(filter);
}

/// Turns logging on for an agent, which neither waits for whoever reads it nor fails with it.
pub(crate) fn agent(filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    // Without standard error there is nobody to tell.
    let Ok(lossy) = lossy::Lossy::stderr() else { return };
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lossy)
        .with_ansi(colourful())
        // It would print its own trouble to standard error, and panic where that fails.
        .log_internal_errors(false)
        .try_init();
}

/// Turns logging on for a verb, when the environment asks for it; a verb's own errors are plain.
pub(crate) fn verb(around: &Surroundings) {
    if let Some(filter) = around.log() {
        start(filter);
    }
}

fn start(filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    // A second start in one process is a mistake that costs nothing: the first one stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colourful())
        // It would print them to standard error, and panic where that is the trouble.
        .log_internal_errors(false)
        .try_init();
}

fn colourful() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// How much a worker tells, which can change while it runs.
#[derive(Clone)]
pub(crate) struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// One of a log that nobody has.
    #[cfg(test)]
    pub(crate) fn idle() -> Level {
        Level(reload::Layer::new(EnvFilter::new("off")).1)
    }

    /// Tells more or less from now on.
    pub(crate) fn set(&self, filter: &str) {
        if let Err(e) = self.0.reload(EnvFilter::builder().parse_lossy(filter)) {
            tracing::error!("the log level cannot be changed: {e}");
        }
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Level")
    }
}

/// Turns logging on for a worker: into its log, and with `copy` to standard error as well, there in
/// `colour` where that is wanted at all. A worker waits for nobody who reads that. Gives what writes there
/// for others.
pub(crate) fn worker(
    filter: &str,
    log: Option<Arc<Mutex<LogFile>>>,
    copy: bool,
    colour: bool,
) -> (Level, Option<Echo>) {
    let (filter, handle) = reload::Layer::new(EnvFilter::builder().parse_lossy(filter));
    let copy = copy || log.is_none();
    // Without standard error there is nobody to tell.
    let lossy = copy.then(lossy::Lossy::stderr).and_then(Result::ok);
    let shown = lossy.clone().map(|lossy| {
        tracing_subscriber::fmt::layer()
            .with_ansi(colour && colourful())
            .with_writer(lossy)
            .log_internal_errors(false)
    });
    let kept = log.map(|log| {
        tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(Writer { log, copy })
            .log_internal_errors(false)
    });
    let _ = tracing_subscriber::registry().with(filter).with(shown).with(kept).try_init();
    (Level(handle), lossy.map(Echo::new))
}

/// Where a worker's lines are kept.
#[derive(Debug, Clone)]
struct Writer {
    log: Arc<Mutex<LogFile>>,
    /// They are on standard error already.
    copy: bool,
}

impl Write for Writer {
    /// One whole line at a time, as the subscriber gives it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let logged = match self.log.try_lock() {
            Ok(mut log) => {
                log.write(line);
                true
            }
            Err(TryLockError::Poisoned(log)) => {
                log.into_inner().write(line);
                true
            }
            // The log itself says, while it is being written, that it cannot be.
            Err(TryLockError::WouldBlock) => false,
        };
        if !(self.copy || logged) {
            // Nothing can be done about it where nobody watches.
            let _ = io::stderr().write_all(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Writer;
    fn make_writer(&'a self) -> Writer {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsbus_supervisor::Rotation;

    #[test]
    fn a_log_that_speaks_of_itself_does_not_wait_for_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = Arc::new(Mutex::new(LogFile::open(path.clone(), Rotation::default())));
        let mut writer = Writer { log: log.clone(), copy: false };
        writer.write_all(b"one\n").unwrap();
        let writing = log.lock().unwrap();
        writer.write_all(b"to standard error\n").unwrap();
        drop(writing);
        writer.write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }
}
