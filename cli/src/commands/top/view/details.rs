//! All about one instance; and the keys.

use dsbus_schema::ids::InstanceId;
use dsbus_schema::status::InstanceRow;
use ratatui::text::{Line, Span};

use super::pane_height;
use super::style::{Look, QUIET, STRONG};
use crate::commands::top::model::{Mode, Model};
use crate::describe;

/// Width of the names of what is told.
const NAME: usize = 14;

/// What every key does.
const KEYS: [(&str, &str); 15] = [
    ("↑ ↓  j k", "one row up, down"),
    ("PgUp PgDn", "one page up, down (also Space)"),
    ("Home End  g G", "the first row, the last one"),
    ("< >  ← →", "sort by the column to the left, to the right"),
    ("R", "turn the order round"),
    ("/", "show what holds a text: in its name, worker or state"),
    ("f", "show all, what is not ok, what runs, what rests"),
    ("Enter", "all about the instance"),
    ("l", "follow its log; there, t shows the other output"),
    ("s", "start it, after a y"),
    ("x", "stop it, after a y"),
    ("r", "restart it, after a y"),
    ("e", "show or hide the events"),
    ("Esc", "back; show all again; leave"),
    ("q  Ctrl-C", "leave"),
];

/// The keys.
pub(super) fn keys(model: &Model) -> Vec<Line<'static>> {
    let mut all = Vec::new();
    for (key, what) in KEYS {
        for (number, part) in folded(what, usize::from(model.size.0)).into_iter().enumerate() {
            let key = if number == 0 { key } else { "" };
            all.push(Line::from(vec![
                Span::styled(format!("  {key:<NAME$} "), STRONG),
                Span::raw(part),
            ]));
        }
    }
    all
}

/// How far one can scroll.
pub(in crate::commands::top) fn scroll_max(model: &Model) -> u16 {
    let count = match &model.mode {
        Mode::Details(name, _) => lines(model, Look { colour: false }, name).len(),
        Mode::Help(_) => keys(model).len(),
        Mode::Table | Mode::Filter | Mode::Confirm(..) | Mode::Log(_) => return 0,
    };
    u16::try_from(count.saturating_sub(pane_height(model))).unwrap_or(u16::MAX)
}

/// All about it.
pub(super) fn lines(model: &Model, look: Look, name: &InstanceId) -> Vec<Line<'static>> {
    let Some(row) = model.row(name) else {
        return vec![Line::styled(" It is gone.", QUIET)];
    };
    let mut all = Vec::new();
    for (what, text) in pairs(model, row) {
        for (number, part) in folded(&text, usize::from(model.size.0)).into_iter().enumerate() {
            let what = if number == 0 { what } else { "" };
            all.push(Line::from(vec![
                Span::styled(format!("  {what:<NAME$} "), QUIET),
                Span::raw(part),
            ]));
        }
    }
    let about = name.to_string();
    let told: Vec<_> = model.events.iter().filter(|told| told.about == about).collect();
    if !told.is_empty() {
        all.push(Line::default());
    }
    for told in told.into_iter().rev() {
        all.push(Line::from(vec![
            Span::styled(format!("  {:<NAME$} ", told.time), QUIET),
            Span::styled(told.kind.clone(), look.tone(told.tone)),
            Span::raw(format!("  {}", told.detail)),
        ]));
    }
    all
}

fn folded(text: &str, width: usize) -> Vec<String> {
    let room = width.saturating_sub(NAME + 4).max(NAME);
    crate::table::folded(text, room)
}

fn pairs(model: &Model, row: &InstanceRow) -> Vec<(&'static str, String)> {
    let ago = |since| format!("{} ({since})", describe::age(since, model.now));
    let used = model.usage.get(&row.name).filter(|_| row.state.may_have_child());
    let now = used.map(|used| {
        let cpu = used.cpu.map(|cpu| format!("{:.0}% of a processor, ", cpu * 100.0));
        format!("{}{}", cpu.unwrap_or_default(), describe::size::whole(used.memory))
    });
    let spent = row.usage.map(|usage| {
        format!(
            "{} of processor time, {} at most",
            describe::length(usage.cpu_ms / 1000),
            describe::size::whole(usage.memory_peak)
        )
    });
    let wanted = if row.wanted.run { "to run" } else { "not to run" };
    let text = |text: &Option<String>| text.clone();
    [
        ("state", Some(describe::state_cell(row, true).text)),
        ("since", row.since.map(ago)),
        ("why", Some(describe::detail(row)).filter(|text| !text.is_empty())),
        ("wanted", Some(wanted.to_owned())),
        ("worker", row.worker.as_ref().map(ToString::to_string)),
        ("pid", row.pid.map(|pid| pid.to_string())),
        ("uses", now),
        ("says", text(&row.note)),
        ("restarts", Some(row.restarts.to_string())),
        ("epoch", Some(row.epoch.to_string())),
        ("revision", Some(row.revision.to_string())),
        ("last exit", row.exit.map(|exit| exit.to_string())),
        ("last child", spent),
        ("stderr", text(&row.stderr_line)),
        ("stdout file", text(&row.stdout_logfile)),
        ("stderr file", text(&row.stderr_logfile)),
        ("program id", Some(row.id.to_string())),
    ]
    .into_iter()
    .filter_map(|(what, text)| Some((what, text?)))
    .collect()
}
