//! What commands look up in the view.

use dsbus_planner::View;
use dsbus_schema::ids::WorkerName;
use dsbus_schema::program::Program;
use dsbus_schema::worker::Worker;

/// Reads of a view.
pub(super) trait Look {
    fn programs(&self) -> impl Iterator<Item = &Program>;
    fn worker(&self, name: &WorkerName) -> Option<&Worker>;
    fn workers(&self) -> impl Iterator<Item = &Worker>;
}

impl Look for View {
    fn programs(&self) -> impl Iterator<Item = &Program> {
        self.programs.values().map(|seen| &seen.value)
    }

    fn worker(&self, name: &WorkerName) -> Option<&Worker> {
        self.workers.get(name)
    }

    fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }
}
