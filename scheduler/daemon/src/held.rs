//! Actions that are held back: refused ones, until the watch has shown who won, and those whose turn
//! has not come.

use dsbus_planner::{Action, View};
use dsbus_schema::ids::{ProgramName, WorkerName};
use dsbus_schema::moment::BootTime;

/// An action that is held back.
pub(crate) struct Held {
    pub(crate) until: BootTime,
    program: Option<ProgramName>,
    worker: Option<WorkerName>,
}

impl Held {
    pub(crate) fn new(action: &Action, until: BootTime) -> Held {
        Held { until, program: action.program().cloned(), worker: action.worker().cloned() }
    }

    /// It is to be planned for again.
    pub(crate) fn note(&self, view: &mut View) {
        self.program.iter().for_each(|name| view.note(name));
        self.worker.iter().for_each(|name| view.note_worker(name));
    }
}
