//! `status`, `workers`, `rollouts`, `explain` and `groups`: answered from the view.

use dsbus_client::Refusal;
use dsbus_planner::explain::explain;
use dsbus_planner::groups;
use dsbus_planner::rows;
use dsbus_schema::command::{Ask, Explanation, GroupRow, RolloutRow, STATUS_ROWS_MAX, code};
use dsbus_schema::ids::{InstanceId, ProgramName, Target};
use dsbus_schema::status::{InstanceRow, WorkerRow};

use super::{Commander, Meant, did_you_mean};
use crate::clock;

/// Most verdicts on workers in one answer to `explain`: a NATS message holds 1 MiB, and a verdict
/// with a long reason 500 bytes. One instance is always answered, however many workers there are.
const VERDICTS_MAX: usize = 2_000;

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

    /// How far rollouts are: of those that are named, or of all that are going on.
    pub(super) async fn rollouts(&self, ask: &Ask) -> Result<Vec<RolloutRow>, Refusal> {
        let now = clock::both();
        if ask.names.is_empty() {
            self.fresh().await?;
            let core = self.shared.lock();
            let rolling = core.view.programs().filter(|program| program.rollout.is_some());
            return Ok(rolling.filter_map(|p| groups::rollout(&core.view, &p.name, now)).collect());
        }
        let mut names: Vec<ProgramName> =
            self.resolve(&ask.names).await?.into_iter().map(|m| m.program.name).collect();
        names.dedup();
        let core = self.shared.lock();
        Ok(names.iter().filter_map(|name| groups::rollout(&core.view, name, now)).collect())
    }

    /// Why instances are where they are, by name and index, as many as an answer holds: whoever
    /// wants more asks for those after the last, until none is left.
    pub(super) async fn explain(&self, ask: &Ask) -> Result<Vec<Explanation>, Refusal> {
        if ask.names.is_empty() {
            return Err(Refusal::new(code::BAD_REQUEST, "names is empty: say what to explain"));
        }
        let meant = self.resolve(&ask.names).await?;
        let mut names: Vec<InstanceId> = {
            let core = self.shared.lock();
            meant.iter().flat_map(|meant| meant.instances(&core.view)).collect()
        };
        names.sort();
        let (core, now) = (self.shared.lock(), clock::both());
        let rest = names.iter().filter(|name| ask.after.as_ref().is_none_or(|a| *name > a));
        let mut verdicts = 0;
        let all = rest.filter_map(|name| explain(&core.view, name, now));
        let fitting = all.take_while(|explanation| {
            let first = verdicts == 0;
            verdicts += explanation.workers.len().max(1);
            first || verdicts <= VERDICTS_MAX
        });
        Ok(fitting.collect())
    }

    /// Groups by name.
    pub(super) async fn groups(&self, ask: &Ask) -> Result<Vec<GroupRow>, Refusal> {
        self.fresh().await?;
        let rows = groups::groups(&self.shared.lock().view);
        if ask.names.is_empty() || ask.names.contains(&Target::All) {
            return Ok(rows);
        }
        let mut found = Vec::new();
        for name in &ask.names {
            let text = name.to_string();
            let Some(row) = rows.iter().find(|row| row.name.as_str() == text) else {
                let hint = did_you_mean(&text, rows.iter().map(|row| row.name.as_str()));
                let text = format!("no group is named {text:?}{hint}");
                return Err(Refusal::new(code::NOT_FOUND, text));
            };
            found.push(row.clone());
        }
        Ok(found)
    }
}
