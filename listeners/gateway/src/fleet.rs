//! What the gateway knows of the fleet, and what it asks of it.

mod act;
mod keep;
mod known;

use std::sync::{Arc, RwLock, RwLockReadGuard};

use dsbus_client::Bus;
use dsbus_schema::event::Event;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::status::InstanceRow;
use tokio::sync::broadcast;

pub(crate) use act::{Failed, Until};
pub(crate) use known::Known;

/// Changes that a slow reader may be behind. One that is further behind is told so, and looks at
/// everything anew.
const CHANGES_MAX: usize = 1024;

/// A fleet; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bus: Bus,
    known: RwLock<Known>,
    changes: broadcast::Sender<Change>,
}

/// What has changed in [`Known`].
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Instances as they stand now, and those that are gone.
    Rows {
        /// As they stand now.
        changed: Arc<[Arc<InstanceRow>]>,
        /// Known no more.
        gone: Arc<[InstanceId]>,
    },
    /// The workers.
    Workers,
    /// What is declared.
    Programs,
    /// An event; nothing of what is known need have changed.
    Event(Arc<Event>),
    /// Whether a scheduler answers.
    Silence,
}

impl Fleet {
    /// Knows nothing yet; see [`Fleet::keep`].
    pub(crate) fn new(bus: Bus) -> Fleet {
        let changes = broadcast::Sender::new(CHANGES_MAX);
        Fleet(Arc::new(Inner { bus, known: RwLock::default(), changes }))
    }

    /// The bus.
    pub(crate) fn bus(&self) -> &Bus {
        &self.0.bus
    }

    /// What is known now. Not to be held over a wait.
    pub(crate) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What changes from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }
}
