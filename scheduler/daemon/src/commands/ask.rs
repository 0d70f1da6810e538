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
            self.fresh().await?;
            return Ok(rows::instances(&self.shared.lock().view));
        }
        let meant = self.resolve(&ask.names).await?;
        let core = self.shared.lock();
        let names = meant.iter().flat_map(super::Meant::instances);
        Ok(names.filter_map(|name| rows::instance(&core.view, &name)).collect())
    }

    /// Workers by name.
    pub(super) async fn workers(&self, _: &Ask) -> Result<Vec<WorkerRow>, Refusal> {
        self.fresh().await?;
        Ok(rows::workers(&self.shared.lock().view))
    }
}
