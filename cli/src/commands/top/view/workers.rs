//! Workers, those first that need a person.

use dsbus_schema::state::WorkerState;
use dsbus_schema::status::WorkerRow;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::style::{Look, fitted, right};
use crate::commands::top::model::Model;
use crate::describe;

/// Longest name that is shown whole.
const NAME_MAX: usize = 20;

/// Their lines, below titles.
pub(super) fn lines(model: &Model, look: Look, area: Rect) -> Vec<Line<'static>> {
    if area.height == 0 {
        return Vec::new();
    }
    let room = usize::from(area.height) - 1;
    let mut workers: Vec<&WorkerRow> = model.workers.iter().collect();
    workers.sort_by_key(|row| weight(row.state));
    let longest = workers.iter().map(|row| row.name.as_str().len()).max().unwrap_or(0);
    let width = longest.clamp("WORKER".len(), NAME_MAX);
    let title = format!(
        " {}  {:<8}  {:>9}  {:>4}  {:>16}  {:>6}",
        fitted("WORKER", width),
        "STATE",
        "INSTANCES",
        "CPU",
        "MEMORY",
        "LOAD"
    );
    let more = workers.len().saturating_sub(room);
    let title = if more > 0 { format!("{title}   and {more} more") } else { title };
    let mut all = vec![Line::styled(title, look.title())];
    all.extend(workers.into_iter().take(room).map(|row| line(row, look, width)));
    all
}

fn line(row: &WorkerRow, look: Look, width: usize) -> Line<'static> {
    let state = describe::worker_cell(row.state);
    let facts = (row.state != WorkerState::Lost && row.facts.at.is_some()).then_some(&row.facts);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let cpu = or_dash(facts.map(|facts| format!("{:.0}%", facts.cpu_percent)));
    let memory = or_dash(facts.map(|facts| {
        let used = facts.memory_total.saturating_sub(facts.memory_available);
        describe::size::part(used, facts.memory_total)
    }));
    let load = or_dash(facts.map(|facts| format!("{:.2}", facts.load[0])));
    Line::from(vec![
        Span::raw(format!(" {}  ", fitted(row.name.as_str(), width))),
        Span::styled(fitted(&state.text, 8), look.tone(state.tone)),
        Span::raw(format!(
            "  {}  {}  {}  {}",
            right(&row.instances.to_string(), 9),
            right(&cpu, 4),
            right(&memory, 16),
            right(&load, 6)
        )),
    ])
}

fn weight(state: WorkerState) -> u8 {
    match state {
        WorkerState::Lost => 0,
        WorkerState::Suspect => 1,
        WorkerState::Draining => 2,
        WorkerState::Cordoned => 3,
        WorkerState::Stopping => 4,
        WorkerState::Ready => 5,
        WorkerState::Stopped => 6,
    }
}
