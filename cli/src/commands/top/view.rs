//! What `top` looks like: a function of what it knows. Pure.
//!
//! From above: two lines about the fleet, its workers, the table, a line about the chosen row, the
//! events, the keys. A small terminal keeps the table.

mod details;
mod instances;
mod style;
#[cfg(test)]
mod tests;
mod workers;

use dsbus_schema::state::State;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::model::{Mode, Model, Note};
use crate::describe;
use crate::table::Tone;
use style::{BAR, Look, QUIET, STRONG, fitted};

pub(super) use details::scroll_max as details_scroll_max;

/// Lines of the terminal for each worker that is shown.
const LINES_A_WORKER: u16 = 8;
/// Lines of the terminal for each event that is shown.
const LINES_AN_EVENT: u16 = 5;
/// Fewer lines, and there is a table only.
const LINES_MIN: u16 = 14;
/// Fewer lines, and there are no events: the table needs them.
const LINES_EVENTS_MIN: u16 = 18;
/// Lines above everything.
const HEADER: u16 = 2;
/// The line about the chosen row, and the keys.
const FOOTER: u16 = 2;

/// Where everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Areas {
    header: Rect,
    workers: Rect,
    table: Rect,
    word: Rect,
    events: Rect,
    keys: Rect,
    /// All between the header and the footer, for what takes the place of the table.
    pane: Rect,
}

impl Areas {
    fn of(model: &Model) -> Areas {
        let (columns, lines) = model.size;
        let roomy = lines >= LINES_MIN;
        let header = HEADER.min(lines);
        let shown = u16::try_from(model.workers.len()).unwrap_or(u16::MAX);
        // And its titles.
        let workers = if roomy { shown.min(lines / LINES_A_WORKER) + 1 } else { 0 };
        let eventful = lines >= LINES_EVENTS_MIN && model.events_shown;
        let events = if eventful { lines / LINES_AN_EVENT + 1 } else { 0 };
        let footer = FOOTER.min(lines.saturating_sub(header));
        let between = lines.saturating_sub(header + footer);
        let table = between.saturating_sub(workers + events);
        let at = |line: u16, height: u16| Rect::new(0, line, columns, height);
        let word = header + workers + table;
        Areas {
            header: at(0, header),
            workers: at(header, workers),
            table: at(header + workers, table),
            word: at(word, footer.min(1)),
            events: at(word + footer.min(1), events),
            keys: at(lines.saturating_sub(1), footer.saturating_sub(1)),
            pane: at(header, between + footer.min(1)),
        }
    }
}

/// Rows of the table that are seen at once.
pub(super) fn table_height(model: &Model) -> usize {
    usize::from(Areas::of(model).table.height.saturating_sub(1))
}

/// Lines of a pane in place of the table.
pub(super) fn pane_height(model: &Model) -> usize {
    usize::from(Areas::of(model).pane.height.saturating_sub(1))
}

/// Draws all of it.
pub(super) fn view(model: &Model, frame: &mut Frame<'_>) {
    let areas = Areas::of(model);
    let look = Look { colour: model.colour };
    lines(frame, areas.header, header(model, look));
    match &model.mode {
        Mode::Details(name, from) => {
            let title = format!("all about {name}");
            pane(frame, areas.pane, &title, details::lines(model, look, name), *from);
        }
        Mode::Log(log) => {
            let title = format!("{} of {}", log.channel.name(), log.name);
            let title =
                if log.back > 0 { format!("{title}, {} lines back", log.back) } else { title };
            let height = pane_height(model);
            let first = log.lines.len().saturating_sub(height + log.back);
            let shown = log.lines.iter().skip(first).take(height);
            let mut shown: Vec<Line<'_>> =
                shown.map(|line| Line::from(format!(" {line}"))).collect();
            if shown.is_empty() {
                shown.push(Line::styled(" nothing yet", QUIET));
            }
            pane(frame, areas.pane, &title, shown, 0);
        }
        Mode::Help(from) => {
            // The terminal may have grown meanwhile.
            let from = (*from).min(details::scroll_max(model));
            pane(frame, areas.pane, "keys", details::keys(model), from);
        }
        Mode::Table | Mode::Filter | Mode::Confirm(..) => {
            lines(frame, areas.workers, workers::lines(model, look, areas.workers));
            lines(frame, areas.table, instances::lines(model, look, areas.table));
            lines(frame, areas.word, vec![word(model, look)]);
            lines(frame, areas.events, events(model, look, areas.events));
        }
    }
    lines(frame, areas.keys, vec![keys(model)]);
}

fn lines(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'_>>) {
    for (line, y) in lines.into_iter().zip(area.y..area.y + area.height) {
        frame.render_widget(line, Rect::new(area.x, y, area.width, 1));
    }
}

fn pane(frame: &mut Frame<'_>, area: Rect, title: &str, shown: Vec<Line<'_>>, from: u16) {
    let mut all = vec![rule(title, area.width)];
    all.extend(shown.into_iter().skip(usize::from(from)));
    lines(frame, area, all);
}

/// A title over a line.
fn rule(title: &str, width: u16) -> Line<'static> {
    let text = format!("── {title} ");
    let rest = usize::from(width).saturating_sub(text.chars().count());
    Line::styled(format!("{text}{}", "─".repeat(rest)), QUIET)
}

fn header(model: &Model, look: Look) -> Vec<Line<'static>> {
    let width = usize::from(model.size.0);
    let clock = model.now.to_string().get(11..19).unwrap_or_default().to_owned() + "Z ";
    let left = format!(" dsbus top  {}", model.title);
    let room = width.saturating_sub(clock.len());
    let first = Line::styled(format!("{}{clock}", fitted(&left, room)), BAR);
    if !model.known {
        return vec![first, Line::styled(" asking the schedulers ...", QUIET)];
    }
    let mut parts = vec![Span::styled(format!(" {} instances", model.rows.len()), STRONG)];
    for (state, count, tone, glyph) in counts(model) {
        parts.push(Span::styled(format!("  {glyph} {count} {state}"), look.tone(tone)));
    }
    let shown: Vec<String> = [
        model.only.name().map(str::to_owned),
        (!model.filter.is_empty()).then(|| format!("/{}", model.filter)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !shown.is_empty() {
        let shown = format!("  {} shown: {}", model.order.len(), shown.join(" "));
        parts.push(Span::styled(shown, STRONG));
    }
    vec![first, Line::from(parts)]
}

/// How many instances are in each state that there is, the worst first.
fn counts(model: &Model) -> Vec<(String, usize, Tone, char)> {
    let mut counts: Vec<(State, bool, usize, Tone, char)> = Vec::new();
    for row in &model.rows {
        match counts.iter_mut().find(|known| (known.0, known.1) == (row.state, row.ok)) {
            Some(known) => known.2 += 1,
            None => {
                let cell = describe::state_cell(row, true);
                let glyph = cell.text.chars().next().unwrap_or(' ');
                counts.push((row.state, row.ok, 1, cell.tone, glyph));
            }
        }
    }
    let weight = |tone: Tone| match tone {
        Tone::Good => 0,
        Tone::Bad => 1,
        Tone::Moving => 2,
        Tone::Plain | Tone::Quiet => 3,
    };
    counts.sort_by_key(|(state, _, _, tone, _)| (weight(*tone), *state));
    let told = |(state, _, count, tone, glyph): (State, bool, usize, Tone, char)| {
        (state.name().to_lowercase(), count, tone, glyph)
    };
    counts.into_iter().map(told).collect()
}

/// A word about what was asked for, or about the chosen row.
fn word(model: &Model, look: Look) -> Line<'static> {
    if let Mode::Confirm(verb, name) = &model.mode {
        return Line::styled(format!(" Really {} {name}? y/N", verb.name()), look.ask());
    }
    if model.mode == Mode::Filter {
        return Line::styled(format!(" /{}▏", model.filter), STRONG);
    }
    if let Some(Note { text, tone }) = &model.note {
        return Line::styled(format!(" {text}"), look.tone(*tone));
    }
    let Some(row) = model.chosen_row() else { return Line::default() };
    let note = row.note.clone().unwrap_or_default();
    let said = if describe::detail(row).is_empty() { note } else { describe::state(row) };
    if said.is_empty() {
        return Line::default();
    }
    Line::styled(format!(" {}: {said}", row.name), QUIET)
}

fn events(model: &Model, look: Look, area: Rect) -> Vec<Line<'static>> {
    if area.height == 0 {
        return Vec::new();
    }
    let height = usize::from(area.height) - 1;
    let mut all = vec![rule("events", area.width)];
    let first = model.events.len().saturating_sub(height);
    let shown = || model.events.iter().skip(first);
    let width = shown().map(|told| told.about.chars().count()).max().unwrap_or(0).min(24);
    for told in shown() {
        all.push(Line::from(vec![
            Span::styled(format!(" {}  ", told.time), QUIET),
            Span::raw(format!("{}  ", fitted(&told.about, width))),
            Span::styled(told.kind.clone(), look.tone(told.tone)),
            Span::raw(format!("  {}", told.detail)),
        ]));
    }
    if all.len() == 1 {
        all.push(Line::styled(" none since this was started", QUIET));
    }
    all
}

fn keys(model: &Model) -> Line<'static> {
    let keys: &[(&str, &str)] = match &model.mode {
        Mode::Table => &[
            ("s", "start"),
            ("x", "stop"),
            ("r", "restart"),
            ("l", "log"),
            ("↵", "info"),
            ("/", "filter"),
            ("f", "state"),
            ("<>", "sort"),
            ("?", "keys"),
            ("q", "quit"),
            ("e", "events"),
        ],
        Mode::Filter => &[("↵", "keep it"), ("Esc", "all")],
        Mode::Confirm(..) => &[("y", "yes"), ("any other", "no")],
        Mode::Details(..) => &[("↑↓", "scroll"), ("l", "log"), ("Esc", "back")],
        Mode::Log(_) => &[("↑↓", "scroll"), ("G", "go on"), ("t", "other output"), ("Esc", "back")],
        Mode::Help(_) if details::scroll_max(model) > 0 => {
            &[("↑↓ PgUp PgDn", "scroll"), ("any other", "back")]
        }
        Mode::Help(_) => &[("any key", "back")],
    };
    let mut parts = Vec::new();
    let mut left = usize::from(model.size.0);
    for (key, what) in keys {
        // One that is cut off would say something else.
        let width = 2 + key.chars().count() + what.chars().count();
        match left.checked_sub(width) {
            Some(rest) => left = rest,
            None => break,
        }
        parts.push(Span::styled(format!(" {key}"), STRONG));
        parts.push(Span::styled(format!(" {what}"), QUIET));
    }
    Line::from(parts)
}
