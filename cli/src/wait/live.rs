//! Rollouts while a person watches: what is done, what is being changed, what waits, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use dsbus_schema::command::RolloutRow;
use dsbus_schema::ids::{InstanceId, Target};
use dsbus_schema::rollout::RolloutState;
use dsbus_schema::status::InstanceRow;
use tokio::time::Instant;

use super::rollout::names;
use crate::connection::Connection;
use crate::{describe, output};

/// Cells of the bar.
const BAR: usize = 20;
/// Instances that are being changed and have a line of their own; of more the rest is counted.
const CHANGING_MAX: usize = 8;

/// Shows them; only where a person watches is anything asked for it.
pub(super) async fn show(connection: &Connection, rows: &[RolloutRow], began: Instant) {
    if !output::is_watched() {
        return;
    }
    let moving = rows.iter().flat_map(|row| row.moving.iter().take(CHANGING_MAX));
    let named: Vec<Target> = moving.cloned().map(Target::Instance).collect();
    let mut states = BTreeMap::new();
    // Without them there is less to see, and nothing else is worse.
    if !named.is_empty()
        && let Ok(found) = connection.bus.status(&named).await
    {
        states.extend(found.into_iter().map(|row| (row.name.clone(), row)));
    }
    output::passing(&lines(rows, &states, began.elapsed()));
}

/// The lines of all of them, and what one can do.
fn lines(
    rows: &[RolloutRow],
    states: &BTreeMap<InstanceId, InstanceRow>,
    waited: Duration,
) -> Vec<String> {
    let mut lines: Vec<String> = rows.iter().flat_map(|row| of_one(row, states, waited)).collect();
    if let [row, ..] = rows {
        let name = &row.program;
        lines.push(format!(
            "Ctrl-C leaves, and it goes on: dsbus rollout status -w {name}; undo {name} goes back"
        ));
    }
    lines
}

fn of_one(
    row: &RolloutRow,
    states: &BTreeMap<InstanceId, InstanceRow>,
    waited: Duration,
) -> Vec<String> {
    let all = row.done.len() + row.moving.len() + row.waiting.len();
    let filled = (row.done.len() * BAR).checked_div(all).unwrap_or(0);
    let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled));
    let word = match row.state {
        Some(RolloutState::Paused) => ", paused",
        Some(RolloutState::Failed) => ", failed",
        Some(RolloutState::Rolling) | None => "",
    };
    let length = describe::length(waited.as_secs());
    let (done, name, revision) = (row.done.len(), &row.program, row.revision);
    let mut lines =
        vec![format!("{name} revision {revision}  {bar}  {done} of {all} changed{word}  {length}")];
    for name in row.moving.iter().take(CHANGING_MAX) {
        lines.push(match states.get(name) {
            Some(row) => {
                let cell = describe::state_cell(row, true).text;
                let why = match describe::detail(row) {
                    detail if detail.is_empty() => String::new(),
                    detail => format!(": {detail}"),
                };
                format!("  changing  {name}  {cell} ({}){why}", describe::place(row))
            }
            None => format!("  changing  {name}"),
        });
    }
    if let more @ 1.. = row.moving.len().saturating_sub(CHANGING_MAX) {
        lines.push(format!("  changing  {more} more"));
    }
    let why = row.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    if !row.waiting.is_empty() {
        lines.push(format!("  to come   {}{why}", names(&row.waiting)));
    } else if !why.is_empty() {
        lines.push(format!("  {}", why.trim_start()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_says_what_is_done_being_changed_and_to_come() {
        let row: RolloutRow = serde_json::from_value(json!({
            "program": "web", "id": "00000000-0000-0000-0000-000000000001", "revision": 3,
            "stable": 2, "state": "rolling", "done": ["web:0"], "moving": ["web:1"],
            "waiting": ["web:2", "web:3"], "reason": "waits until web:1 is healthy",
            "since": null,
        }))
        .unwrap();
        let state: InstanceRow = serde_json::from_value(json!({
            "name": "web:1", "id": "00000000-0000-0000-0000-000000000001", "program": "web",
            "index": 1, "state": "BACKOFF", "statecode": 30, "worker": "w2", "pid": null,
            "epoch": 1, "revision": 3, "since": null, "restarts": 0, "exit": null,
            "reason": "exited too quickly", "spawnerr": null, "stderr_line": null,
            "stdout_logfile": null, "stderr_logfile": null, "wanted": {"run": true},
            "acted": {"run": true}, "ok": false,
        }))
        .unwrap();
        let states = BTreeMap::from([(state.name.clone(), state)]);
        let shown = lines(std::slice::from_ref(&row), &states, Duration::from_secs(65));
        assert_eq!(
            shown,
            [
                "web revision 3  █████░░░░░░░░░░░░░░░  1 of 4 changed  1m 5s",
                "  changing  web:1  ↻ BACKOFF (w2): exited too quickly",
                "  to come   web:2, web:3 (waits until web:1 is healthy)",
                "Ctrl-C leaves, and it goes on: dsbus rollout status -w web; undo web goes back",
            ]
        );
        let row = RolloutRow { moving: vec!["web:1".parse().unwrap(); 10], ..row };
        let shown = lines(&[row], &BTreeMap::new(), Duration::ZERO);
        assert!(shown.contains(&"  changing  2 more".to_owned()), "{shown:#?}");
    }
}
