//! What the planner says without anything being done.

use dsbus_planner::View;
use dsbus_schema::command::{Explanation, GroupRow, PlannedMove, RolloutRow};
use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::program::Program;

pub(super) fn preview(_view: &View, _programs: &[Program]) -> Vec<String> {
    Vec::new()
}

pub(super) fn explain(_view: &View, _name: &InstanceId) -> Option<Explanation> {
    None
}

pub(super) fn rollout(_view: &View, _name: &ProgramName) -> Option<RolloutRow> {
    None
}

pub(super) fn groups(_view: &View) -> Vec<GroupRow> {
    Vec::new()
}

pub(super) fn rebalance(_view: &View) -> Vec<PlannedMove> {
    Vec::new()
}
