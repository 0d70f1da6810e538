//! `status`, `workers`, `rollouts`, `explain` and `groups`: answered from the view.

use std::collections::BTreeSet;

use dsbus_client::Refusal;
use dsbus_planner::explain::explain;
use dsbus_planner::groups;
use dsbus_planner::rows;
use dsbus_schema::command::{
    ANSWER_BYTES_MAX, Ask, Explanation, GroupRow, RolloutRow, STATUS_ROWS_MAX, code,
};
use dsbus_schema::ids::{InstanceId, ProgramName, Target};
use dsbus_schema::status::{InstanceRow, WorkerRow};
use serde::Serialize;

use super::{Commander, Meant, did_you_mean};
use crate::clock;

/// As many rows as an answer holds, and at least one.
pub(super) fn fitting<T: Serialize>(rows: impl Iterator<Item = T>) -> Vec<T> {
    let mut bytes = 0;
    let mut fit = Vec::new();
    for row in rows {
        bytes += serde_json::to_vec(&row).map_or(0, |row| row.len());
        if bytes > ANSWER_BYTES_MAX && !fit.is_empty() {
            break;
        }
        fit.push(row);
    }
    fit
}

/// Whether a program or group comes after those that were answered already.
pub(super) fn is_after(name: &ProgramName, ask: &Ask) -> bool {
    ask.after.as_ref().is_none_or(|after| *name > after.program)
}

impl Commander {
    /// Instances by name and index, as many as an answer holds.
    pub(super) async fn status(&self, ask: Ask) -> Result<Vec<InstanceRow>, Refusal> {
        let rows = if ask.names.is_empty() {
            self.fresh().await?;
            rows::instances(&self.shared.lock().view)
        } else {
            let meant = self.resolve(&ask.names).await?;
            let core = self.shared.lock();
            let of = |meant: &Meant| match meant.index {
                None => rows::of_program(&core.view, &meant.program.name),
                Some(index) => {
                    let name = InstanceId::new(meant.program.name.clone(), index);
                    rows::instance(&core.view, &name).into_iter().collect()
                }
            };
            meant.iter().flat_map(of).collect()
        };
        let rest = rows.into_iter().filter(|row| ask.after.as_ref().is_none_or(|a| row.name > *a));
        Ok(rest.take(STATUS_ROWS_MAX).collect())
    }

    /// Workers by name.
    pub(super) async fn workers(&self, _: &Ask) -> Result<Vec<WorkerRow>, Refusal> {
        self.fresh().await?;
        Ok(rows::workers(&self.shared.lock().view))
    }

    /// How far rollouts are, by program: of those that are named, or of all that are going on. As
    /// many as an answer holds.
    pub(super) async fn rollouts(&self, ask: &Ask) -> Result<Vec<RolloutRow>, Refusal> {
        let mut names: Vec<ProgramName> = if ask.names.is_empty() {
            self.fresh().await?;
            let core = self.shared.lock();
            let rolling = core.view.programs().filter(|program| program.rollout.is_some());
            rolling.map(|program| program.name.clone()).collect()
        } else {
            self.resolve(&ask.names).await?.into_iter().map(|m| m.program.name).collect()
        };
        names.dedup();
        let (core, now) = (self.shared.lock(), clock::both());
        let rest = names.iter().filter(|name| is_after(name, ask));
        Ok(fitting(rest.filter_map(|name| groups::rollout(&core.view, name, now))))
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
        Ok(fitting(rest.filter_map(|name| explain(&core.view, name, now))))
    }

    /// Groups by name.
    pub(super) async fn groups(&self, ask: &Ask) -> Result<Vec<GroupRow>, Refusal> {
        self.fresh().await?;
        let rows = groups::groups(&self.shared.lock().view);
        let mut meant = BTreeSet::new();
        for name in ask.names.iter().filter(|_| !ask.names.contains(&Target::All)) {
            let text = name.to_string();
            if let Target::Copies(copies) = name
                && copies.all()
            {
                let names = rows.iter().map(|row| row.name.as_str());
                let fitting: Vec<_> = names.filter(|name| copies.fits(name)).collect();
                if !fitting.is_empty() {
                    meant.extend(fitting.into_iter().map(str::to_owned));
                    continue;
                }
            }
            if !rows.iter().any(|row| row.name.as_str() == text) {
                let hint = did_you_mean(&text, rows.iter().map(|row| row.name.as_str()));
                let text = format!("no group is named {text:?}{hint}");
                return Err(Refusal::new(code::NOT_FOUND, text));
            }
            meant.insert(text);
        }
        let is_meant = |row: &GroupRow| meant.is_empty() || meant.contains(row.name.as_str());
        Ok(fitting(rows.into_iter().filter(|row| is_meant(row) && is_after(&row.name, ask))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_some_rows_and_at_least_one() {
        let row = "x".repeat(100 * 1024);
        assert_eq!(fitting(std::iter::repeat_n(&row, 20)).len(), 5);
        assert_eq!(fitting(std::iter::once("x".repeat(ANSWER_BYTES_MAX * 2))).len(), 1);
        assert_eq!(fitting(std::iter::empty::<String>()), [""; 0]);
    }
}
