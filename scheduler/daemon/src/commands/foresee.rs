//! What the planner says without anything being done.

use dsbus_planner::{Now, View, explain as why, preview as dry, rebalance as balance, rows};
use dsbus_schema::command::{Explanation, GroupRow, PlannedMove, RolloutRow};
use dsbus_schema::ids::{InstanceId, ProgramName};
use dsbus_schema::program::Program;

use crate::clock;

fn now() -> Now {
    Now { boot: clock::now(), wall: clock::wall() }
}

pub(super) fn preview(view: &View, programs: &[Program]) -> Vec<String> {
    dry::preview(view, programs, now())
}

pub(super) fn explain(view: &View, name: &InstanceId) -> Option<Explanation> {
    why::explain(view, name, now())
}

pub(super) fn rollout(view: &View, name: &ProgramName) -> Option<RolloutRow> {
    rows::rollout(view, name, now())
}

pub(super) fn groups(view: &View) -> Vec<GroupRow> {
    rows::groups(view)
}

pub(super) fn rebalance(view: &View) -> Vec<PlannedMove> {
    balance::rebalance(view)
}
