//! The daemon: it stands by until the lease is free, and then works until the lease is gone.

mod lead;
mod tell;

use std::pin::Pin;
use std::sync::Arc;

use dsbus_client::{Bus, ConnectOptions, Error as BusError};
use dsbus_schema::alert::{AlertLease, AlertName};
use dsbus_schema::ids::FleetName;
use dsbus_starter::{Stage, Starter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::lease::{self, Lease};
use crate::send::Sender;
use crate::spec::Spec;
use crate::texts::Texts;
use lead::{End, Lead};

/// What the daemon is to do.
#[derive(Debug)]
pub struct Config {
    /// How to reach the bus.
    pub connect: ConnectOptions,
    /// Name of the set of rules: processes of one name share the work of one, and stand by for it.
    pub name: AlertName,
    /// Name of this machine.
    pub host: String,
    /// Rules and targets.
    pub spec: Spec,
    /// Others, to go on with.
    pub changes: mpsc::Receiver<Spec>,
}

/// Why the daemon cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus, for ever: permissions, or a server that is too old.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A target cannot be made ready.
    #[error("the target {target} cannot be used: {why}")]
    Target {
        /// Its name.
        target: String,
        /// What is wrong.
        why: String,
    },
}

/// Rules and targets, made ready.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) spec: Arc<Spec>,
    pub(crate) senders: Vec<Sender>,
}

impl Ready {
    /// Makes them ready.
    ///
    /// # Errors
    /// [`Error::Target`].
    fn make(fleet: &FleetName, spec: Spec) -> Result<Ready, Error> {
        let texts = Arc::new(Texts::default());
        let spec = Arc::new(spec);
        let sender = |target: &crate::spec::Target| {
            let made = Sender::new(fleet, &spec, &texts, target);
            made.map_err(|why| Error::Target { target: target.name.to_string(), why })
        };
        let senders = spec.targets.iter().map(sender).collect::<Result<_, _>>()?;
        Ok(Ready { spec, senders })
    }
}

/// Runs until `shutdown`. Several may run with one name; one of them works.
///
/// # Errors
/// What can never be: see [`Error`].
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let Config { connect, name, host, spec, changes } = config;
    let ready = Ready::make(&connect.fleet, spec)?;
    tokio::pin!(shutdown);
    let mut starter = Starter::here();
    starter.stands(Stage::Starting, "waits for the bus");
    let begin = Instant::now();
    let bus = tokio::select! {
        bus = Bus::connect(connect) => bus?,
        () = beats(&mut starter, begin) => return Ok(()),
        () = &mut shutdown => return Ok(()),
    };
    starter.stands(Stage::Ready, &format!("tells by the rules {name}, or stands by to"));
    let ended = tokio::select! {
        ended = work(&bus, (&name, ready), host, changes, shutdown.as_mut()) => ended,
        () = beats(&mut starter, begin) => Ok(()),
    };
    starter.stands(Stage::Stopping, "has written what is left to tell");
    ended
}

/// Says that this process goes round, for ever.
async fn beats(starter: &mut Starter, begin: Instant) {
    loop {
        let now = begin.elapsed();
        starter.beat(now);
        tokio::time::sleep(starter.pause(now)).await;
    }
}

async fn work<S: Future<Output = ()>>(
    bus: &Bus,
    (name, mut ready): (&AlertName, Ready),
    host: String,
    mut changes: mpsc::Receiver<Spec>,
    mut shutdown: Pin<&mut S>,
) -> Result<(), Error> {
    let me: AlertLease = lease::me(&host);
    loop {
        let taken = {
            let taking = Lease::take(bus, name, me.clone());
            tokio::pin!(taking);
            loop {
                tokio::select! {
                    lease = &mut taking => break lease?,
                    Some(spec) = changes.recv() => match Ready::make(bus.fleet(), spec) {
                        Ok(made) => ready = made,
                        Err(e) => tracing::error!("the rules stay as they are: {e}"),
                    },
                    () = &mut shutdown => return Ok(()),
                }
            }
        };
        let lead = Lead { bus, name, ready: &mut ready, changes: &mut changes };
        match lead.run(taken, shutdown.as_mut()).await? {
            End::Stopped => {
                tracing::info!(name = %name, "stopped");
                return Ok(());
            }
            End::Again(why) => tracing::info!("begins anew: {why}"),
        }
    }
}
