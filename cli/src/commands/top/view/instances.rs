//! The table of instances: only the rows that are seen are made.

use dsbus_schema::status::InstanceRow;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::style::{Look, QUIET, fitted, right};
use crate::commands::top::model::{Column, Model};
use crate::describe;
use crate::table::Text;

/// Longest name of a worker that is shown whole.
const WORKER_MAX: usize = 14;
/// Least width of a detail that is worth showing.
const DETAIL_MIN: usize = 12;
/// Between columns.
const GAP: usize = 2;

/// The columns that have a width of their own: state, CPU, memory, restarts, since.
const STATE: usize = 10;
const CPU: usize = 5;
const MEMORY: usize = 10;
const RESTARTS: usize = 5;
const SINCE: usize = 8;

/// As much of a name is worth more than any column beside it.
const NAME_MIN: usize = 16;

/// Widths of what adapts: name, worker, detail.
struct Widths {
    /// How many columns are there, from the left: the last ones leave first.
    columns: usize,
    name: usize,
    worker: usize,
    detail: usize,
}

impl Widths {
    fn of(model: &Model, width: usize) -> Widths {
        let worker = model.widths.1.clamp("WORKER".len() + 1, WORKER_MAX);
        let wanted = model.widths.0.max("NAME".len() + 1);
        // A space on the left, and a gap before each.
        let mut others = 1 + GAP + STATE;
        let mut columns = 2;
        for column in [worker, CPU, MEMORY, RESTARTS, SINCE] {
            if others + GAP + column + wanted.min(NAME_MIN) > width {
                break;
            }
            others += GAP + column;
            columns += 1;
        }
        let room = width.saturating_sub(others);
        let name = wanted.min(room);
        let detail = room.saturating_sub(name + GAP);
        Widths { columns, name, worker, detail: if detail < DETAIL_MIN { 0 } else { detail } }
    }
}

/// Its lines, below titles.
pub(super) fn lines(model: &Model, look: Look, area: Rect) -> Vec<Line<'static>> {
    if area.height == 0 {
        return Vec::new();
    }
    let widths = Widths::of(model, usize::from(area.width));
    let mut all = vec![titles(model, look, &widths)];
    let height = usize::from(area.height) - 1;
    for row in model.seen(height) {
        let line = line(model, row, look, &widths);
        let chosen = model.chosen.as_ref() == Some(&row.name);
        all.push(if chosen { whole(line, usize::from(area.width)) } else { line });
    }
    if model.known && model.order.is_empty() {
        let said = if model.rows.is_empty() {
            " No programs yet. Declare one: dsbus create hello -- sleep 1000"
        } else {
            " Nothing is left of the filter; Esc shows all"
        };
        all.push(Line::styled(said, QUIET));
    }
    all
}

/// The chosen row, up to the edge.
fn whole(line: Line<'static>, width: usize) -> Line<'static> {
    let rest = width.saturating_sub(line.width());
    let mut spans = line.spans;
    spans.push(Span::raw(" ".repeat(rest)));
    Line::from(spans).style(Style::new().add_modifier(Modifier::REVERSED))
}

fn titles(model: &Model, look: Look, widths: &Widths) -> Line<'static> {
    let mut parts = vec![Span::raw(" ")];
    for column in Column::ALL.into_iter().take(widths.columns) {
        let (title, width, numeric) = match column {
            Column::Name => ("NAME", widths.name, false),
            Column::State => ("STATE", STATE, false),
            Column::Worker => ("WORKER", widths.worker, false),
            Column::Cpu => ("CPU", CPU, true),
            Column::Memory => ("MEMORY", MEMORY, true),
            Column::Restarts => ("RST", RESTARTS, true),
            Column::Since => ("SINCE", SINCE, false),
        };
        let sorts = column == model.sort;
        let mark = match (sorts, model.reversed) {
            (false, _) => "",
            (true, false) => "▾",
            (true, true) => "▴",
        };
        let text = format!("{title}{mark}");
        let text = if numeric { right(&text, width) } else { fitted(&text, width) };
        let style =
            if sorts { look.title().add_modifier(Modifier::UNDERLINED) } else { look.title() };
        parts.push(Span::styled(text, style));
        parts.push(Span::raw(" ".repeat(GAP)));
    }
    if widths.detail > 0 {
        parts.push(Span::styled("DETAIL", look.title()));
    }
    Line::from(parts)
}

fn line(model: &Model, row: &InstanceRow, look: Look, widths: &Widths) -> Line<'static> {
    let dash = || "-".to_owned();
    let used = model.usage.get(&row.name).filter(|_| row.state.may_have_child());
    let cpu = used.and_then(|used| used.cpu).map(|cpu| format!("{:.0}%", cpu * 100.0));
    let memory = used.map(|used| describe::size::whole(used.memory));
    let Text { text: state, tone } = describe::state_cell(row, true);
    let worker = row.worker.as_ref().map(ToString::to_string);
    let since = row.since.map(|since| describe::age(since, model.now));
    let mut parts = vec![
        Span::raw(format!(" {}  ", fitted(&row.name.to_string(), widths.name))),
        Span::styled(fitted(&state, STATE), look.tone(tone)),
    ];
    let cells = [
        fitted(&worker.unwrap_or_else(dash), widths.worker),
        right(&cpu.unwrap_or_else(dash), CPU),
        right(&memory.unwrap_or_else(dash), MEMORY),
        right(&row.restarts.to_string(), RESTARTS),
        fitted(&since.unwrap_or_else(dash), SINCE),
    ];
    let shown = cells.into_iter().take(widths.columns.saturating_sub(2));
    parts.extend(shown.map(|cell| Span::raw(format!("  {cell}"))));
    if widths.detail > 0 {
        let detail = describe::detail(row);
        let tone = if row.ok { QUIET } else { look.tone(crate::table::Tone::Bad) };
        parts.push(Span::styled(format!("  {}", fitted(&detail, widths.detail)), tone));
    }
    Line::from(parts)
}
