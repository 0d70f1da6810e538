//! Your own listener: implement [`Listener`], and [`run`] it.
//!
//! It gets every event that its [`Options`] ask for at least once, one after the other, in the order
//! of the stream, and goes on where it ended when it is started again: NATS remembers that under the
//! listener's name. Several processes may run under one name: one of them works, the others stand
//! by. An event that it cannot handle now is tried again, and nothing overtakes it.

mod options;
mod retry;
mod seen;

use std::fmt;

use dsbus_client::{Bus, Durable, Heard};
use tokio::signal::unix::{SignalKind, signal};

pub use dsbus_client::{Access, Begin, ConnectOptions, Credentials, Secret, Tls};
pub use dsbus_schema::event::{Event, Fact};
pub use dsbus_schema::filter::Filter;
pub use options::Options;

use retry::Backoff;
use seen::Seen;

/// Something that consumes events.
pub trait Listener: Send {
    /// Takes an event. It is done with when this returns `Ok`. A process that dies before that gets
    /// it again, and one that dies right after may get it again, too: the event's `id` tells.
    ///
    /// # Errors
    /// When it is to be tried again, after a pause. Nothing else comes before it.
    fn heard(&mut self, event: &Event) -> impl Future<Output = Result<(), Retry>> + Send;
}

/// Why an event is to be tried again. Any error becomes one by `?`.
pub struct Retry(String);

impl Retry {
    /// For a reason, in words.
    pub fn because(why: impl fmt::Display) -> Retry {
        Retry(why.to_string())
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Not an error itself, so that every error can become one.
impl<E: std::error::Error> From<E> for Retry {
    fn from(error: E) -> Retry {
        Retry(error.to_string())
    }
}

/// Why a listener cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What it was told does not make sense.
    #[error("{what}: {why}")]
    Options {
        /// Which option, or variable of the environment.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The bus can never be used so.
    #[error(transparent)]
    Bus(#[from] dsbus_client::Error),
    /// Signals cannot be heard.
    #[error("failed to hear signals: {0}")]
    Signals(std::io::Error),
}

/// Connects, and gives the listener its events until SIGTERM or SIGINT.
///
/// # Errors
/// When the bus can never be used: the server is too old, permissions forbid it, or another kind of
/// consumer has the listener's name.
pub async fn run(options: Options, listener: impl Listener) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(stop);
    let bus = tokio::select! {
        bus = Bus::connect(options.connect()) => bus?,
        () = &mut stop => return Ok(()),
    };
    run_on(&bus, &options, listener, stop).await
}

/// As [`run`], on a connection that is there, until `stop`. What the listener is at is given up
/// then, and comes again to whoever runs under its name next.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    bus: &Bus,
    options: &Options,
    mut listener: impl Listener,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut durable = bus.durable(options.durable(bus.fleet()));
    let listening = listen(&mut durable, options.filter(), &mut listener);
    let ended = tokio::select! {
        ended = listening => ended,
        () = stop => Ok(()),
    };
    durable.close().await;
    ended
}

async fn listen(
    durable: &mut Durable,
    filter: &Filter,
    listener: &mut impl Listener,
) -> Result<(), Error> {
    let mut seen = Seen::default();
    loop {
        let heard = durable.next().await?;
        if filter.matches(&heard.event) && !seen.contains(heard.event.id) {
            take(&heard, listener).await;
            seen.insert(heard.event.id);
        }
        heard.ack();
    }
}

/// Tries until it is taken.
async fn take(heard: &Heard, listener: &mut impl Listener) {
    let mut backoff = Backoff::default();
    while let Err(Retry(why)) = listener.heard(&heard.event).await {
        let pause = backoff.next(fastrand::f64());
        tracing::warn!(
            "{} of {} (sequence {}) is tried again in {pause:.1?}: {why}",
            heard.event.kind,
            heard.event.subject,
            heard.seq
        );
        tokio::time::sleep(pause).await;
    }
}
