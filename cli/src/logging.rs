//! What daemons tell while they run, on standard error.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::Surroundings;

/// Turns logging on for a daemon.
pub(crate) fn daemon(around: &Surroundings) {
    start(around.daemon_log());
}

/// Turns logging on for a verb, when the environment asks for it; a verb's own errors are plain.
pub(crate) fn verb(around: &Surroundings) {
    if let Some(filter) = around.log() {
        start(filter);
    }
}

fn start(filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    let colour = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    // A second start in one process is a mistake that costs nothing: the first one stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour)
        .try_init();
}
