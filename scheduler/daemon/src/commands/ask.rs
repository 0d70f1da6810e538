//! `status` and `workers`: answered from the view.

use dsbus_client::Refusal;
use dsbus_planner::rows;
use dsbus_schema::command::{Ask, STATUS_ROWS_MAX};
use dsbus_schema::status::{InstanceRow, WorkerRow};

use super::{Commander, Meant};

impl Commander {
    /// Instances by name and index, as many as an answer holds.
    pub(super) async fn status(&self, ask: Ask) -> Result<Vec<InstanceRow>, Refusal> {
        let rows = if ask.names.is_empty() {
            self.fresh().await?;
            rows::instances(&self.shared.lock().view)
        } else {
            let meant = self.resolve(&ask.names).await?;
            let core = self.shared.lock();
            let is_meant = |row: &InstanceRow| {
                let of = |m: &Meant| m.program.name == row.program;
                meant.iter().any(|m| of(m) && m.index.is_none_or(|index| index == row.index))
            };
            rows::instances(&core.view).into_iter().filter(is_meant).collect()
        };
        let rest = rows.into_iter().filter(|row| ask.after.as_ref().is_none_or(|a| row.name > *a));
        Ok(rest.take(STATUS_ROWS_MAX).collect())
    }

    /// Workers by name.
    pub(super) async fn workers(&self, _: &Ask) -> Result<Vec<WorkerRow>, Refusal> {
        self.fresh().await?;
        Ok(rows::workers(&self.shared.lock().view))
    }
}
