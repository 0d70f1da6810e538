//! `status` and `workers`: answered from the view.

use dsbus_client::Refusal;
use dsbus_planner::rows;
use dsbus_schema::command::Ask;
use dsbus_schema::status::{InstanceRow, WorkerRow};

use super::Commander;

impl Commander {
    /// Instances by name and index.
    pub(super) async fn status(&self, ask: Ask) -> Result<Vec<InstanceRow>, Refusal> {
        if ask.names.is_empty() {
            return Ok(rows::instances(&self.shared.lock().view));
        }
        let meant = self.resolve(&ask.names).await?;
        let core = self.shared.lock();
        let names = meant.iter().flat_map(super::Meant::instances);
        Ok(names.filter_map(|name| rows::instance(&core.view, &name)).collect())
    }

    /// Workers by name.
    pub(super) fn workers(&self, _: &Ask) -> Vec<WorkerRow> {
        rows::workers(&self.shared.lock().view)
    }
}
