//! A daemon, and its keeper: what systemd would be to it.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::Notify;

use crate::clock::{now, rest};
use crate::{Outcome, process};

/// How long a keeper waits before it starts a daemon anew, unless a fault says otherwise.
const AGAIN: Duration = Duration::from_millis(500);

/// A daemon that ended although nothing was done to it.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) at: u64,
    pub(crate) how: String,
}

/// One of a fleet's daemons. It is started again whenever it ends, unless it was told to rest.
pub(crate) struct Daemon {
    pub(crate) name: String,
    pub(crate) host: String,
    make: Box<dyn Fn() -> Command + Send + Sync>,
    log: PathBuf,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    pid: Option<i32>,
    /// How many faults are at work on it: while there are any, it may end.
    faults: u32,
    /// How long it rests once it has ended; `None` for ever.
    again: Option<Duration>,
    ended: Vec<Ended>,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Daemon {
    /// Starts it, and its keeper.
    pub(crate) fn start(
        name: &str,
        host: &str,
        log: PathBuf,
        make: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Outcome<Arc<Daemon>> {
        let daemon = Arc::new(Daemon {
            name: name.to_owned(),
            host: host.to_owned(),
            make: Box::new(make),
            log,
            state: Mutex::new(State { again: Some(AGAIN), ..State::default() }),
            changed: Notify::new(),
        });
        let child = daemon.spawn()?;
        tokio::spawn(Arc::clone(&daemon).keep(child));
        Ok(daemon)
    }

    /// Its process, while there is one.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.state(|state| state.pid)
    }

    /// What a fault does to it is no surprise until [`Daemon::fault_ends`].
    pub(crate) fn fault_begins(&self) {
        self.state(|state| state.faults += 1);
    }

    /// See [`Daemon::fault_begins`].
    pub(crate) fn fault_ends(&self) {
        self.state(|state| state.faults = state.faults.saturating_sub(1));
    }

    /// When it ends, it is started again after so long; `None`: not before this says otherwise.
    pub(crate) fn again(&self, after: Option<Duration>) {
        self.state(|state| state.again = after);
        self.changed.notify_waiters();
    }

    /// Starts it again as usual.
    pub(crate) fn as_usual(&self) {
        self.again(Some(AGAIN));
    }

    /// Sends a signal to its process.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            process::signal(pid, signal);
        }
    }

    /// How it ended by itself, each time.
    pub(crate) fn ended(&self) -> Vec<Ended> {
        self.state(|state| state.ended.clone())
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn spawn(&self) -> Outcome<tokio::process::Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = (self.make)();
        command.stdout(log.try_clone()?).stderr(log);
        let child = tokio::process::Command::from(command).spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        self.state(|state| state.pid = pid);
        Ok(child)
    }

    async fn keep(self: Arc<Daemon>, mut child: tokio::process::Child) {
        loop {
            let how =
                child.wait().await.map_or_else(|e| e.to_string(), |status| status.to_string());
            self.state(|state| {
                state.pid = None;
                if state.faults == 0 {
                    state.ended.push(Ended { name: self.name.clone(), at: now(), how });
                }
            });
            child = loop {
                let told = self.changed.notified();
                tokio::pin!(told);
                // From here on no change is missed.
                told.as_mut().enable();
                match self.state(|state| state.again) {
                    None => told.await,
                    Some(after) => {
                        tokio::select! {
                            () = rest(after) => {}
                            () = told => continue,
                        }
                        match self.spawn() {
                            Ok(child) => break child,
                            // The machine has no process left for a moment.
                            Err(_) => rest(AGAIN).await,
                        }
                    }
                }
            };
        }
    }
}
