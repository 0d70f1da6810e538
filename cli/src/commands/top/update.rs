//! What becomes of what `top` knows when something happens, and what is to be done. Pure.

use dsbus_client::Used;
use dsbus_schema::call::Channel;
use dsbus_schema::command::Verb;
use dsbus_schema::event::Event;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::status::{InstanceRow, WorkerRow};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::log::Log;
use super::model::{Mode, Model, Note, Only, Told};
use super::view;
use crate::describe;
use crate::table::Tone;

/// Longest filter.
const FILTER_MAX: usize = 60;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Message {
    Key(KeyEvent),
    /// Columns and lines.
    Resize(u16, u16),
    /// All rows.
    Rows(Vec<InstanceRow>),
    /// Some rows, anew.
    Changed(Vec<InstanceRow>),
    Workers(Vec<WorkerRow>),
    Used(Vec<(InstanceId, Used)>),
    Event(Box<Event>),
    /// What an instance that is followed has printed; it may be another one by now.
    Printed(Followed, Vec<u8>),
    /// A word about that.
    LogNote(Followed, String),
    /// What was asked for is so, or is not.
    Acted(String),
    Failed(String),
    /// Nobody answers, or somebody does again.
    Silent(String),
    Answered,
    /// Time goes by.
    Tick(Timestamp),
    /// The process is told to end.
    End,
}

/// Whose log it is, and which.
pub(super) type Followed = (InstanceId, Channel);

/// Something to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Quit,
    /// Start, stop or restart.
    Act(Verb, InstanceId),
    Follow(InstanceId, Channel),
    Unfollow,
    /// Ask what is used: what is seen has changed.
    AskUsage,
}

/// Takes a message in.
pub(super) fn update(model: &mut Model, message: Message) -> Vec<Effect> {
    let mut effects = Vec::new();
    match message {
        Message::Key(key) => effects = pressed(model, key),
        Message::Resize(columns, lines) => model.size = (columns, lines),
        Message::Rows(rows) => {
            let first = !model.known;
            model.replace(rows);
            if first {
                effects.push(Effect::AskUsage);
            }
        }
        Message::Changed(rows) => model.merge(rows),
        Message::Workers(workers) => model.workers = workers,
        Message::Used(used) => {
            model.usage.extend(used);
            model.arrange();
        }
        Message::Event(event) => model.tell(told(&event)),
        Message::Printed(of, output) => {
            if let Some(log) = shown_log(model, &of) {
                log.add(&output);
            }
        }
        Message::LogNote(of, text) => {
            if let Some(log) = shown_log(model, &of) {
                log.note(&text);
            }
        }
        Message::Acted(text) => model.note = Some(Note { text, tone: Tone::Good }),
        Message::Failed(text) | Message::Silent(text) => {
            model.note = Some(Note { text, tone: Tone::Bad });
        }
        Message::Answered => model.note = None,
        Message::Tick(now) => model.now = now,
        Message::End => effects.push(Effect::Quit),
    }
    settle(model);
    effects
}

/// Chooses a row that is there, and keeps it in sight.
fn settle(model: &mut Model) {
    let height = view::table_height(model);
    let place = model.place().unwrap_or(model.first);
    model.choose(place, height);
}

/// The log, if it is the one that is shown.
fn shown_log<'a>(model: &'a mut Model, (name, channel): &Followed) -> Option<&'a mut Log> {
    let Mode::Log(log) = &mut model.mode else { return None };
    (log.name == *name && log.channel == *channel).then_some(log)
}

fn told(event: &Event) -> Told {
    let time = event.time.to_string();
    let style = describe::event::style(&event.data);
    let tone = match style.get_fg_color() {
        Some(colour) if colour == anstyle::AnsiColor::Red.into() => Tone::Bad,
        Some(colour) if colour == anstyle::AnsiColor::Yellow.into() => Tone::Moving,
        Some(colour) if colour == anstyle::AnsiColor::Green.into() => Tone::Good,
        _ => Tone::Plain,
    };
    Told {
        // 2026-01-02T03:04:05.678Z
        time: time.get(11..19).unwrap_or_default().to_owned(),
        about: event.subject.clone(),
        kind: event.data.type_name().to_owned(),
        detail: describe::event::fact(&event.data),
        tone,
    }
}

fn pressed(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && matches!(key.code, KeyCode::Char('c')) {
        return vec![Effect::Quit];
    }
    match &model.mode {
        Mode::Table => in_table(model, key.code),
        Mode::Filter => in_filter(model, key.code),
        Mode::Details(..) => in_details(model, key.code),
        Mode::Log(_) => in_log(model, key.code),
        Mode::Confirm(verb, name) => {
            let (verb, name) = (*verb, name.clone());
            model.mode = Mode::Table;
            match key.code {
                KeyCode::Char('y' | 'Y') => vec![Effect::Act(verb, name)],
                _ => Vec::new(),
            }
        }
        Mode::Help(from) => {
            let from = *from;
            in_help(model, from, key.code);
            Vec::new()
        }
    }
}

/// Rows that a key of movement goes down; `None` of other keys.
fn movement(key: KeyCode, page: usize, all: usize) -> Option<isize> {
    let page = isize::try_from(page.max(1)).unwrap_or(isize::MAX);
    let all = isize::try_from(all).unwrap_or(isize::MAX);
    match key {
        KeyCode::Up | KeyCode::Char('k') => Some(-1),
        KeyCode::Down | KeyCode::Char('j') => Some(1),
        KeyCode::PageUp => Some(-page),
        KeyCode::PageDown | KeyCode::Char(' ') => Some(page),
        KeyCode::Home | KeyCode::Char('g') => Some(-all),
        KeyCode::End | KeyCode::Char('G') => Some(all),
        _ => None,
    }
}

fn in_table(model: &mut Model, key: KeyCode) -> Vec<Effect> {
    let height = view::table_height(model);
    if let Some(steps) = movement(key, height, model.order.len()) {
        let before = model.first;
        let place = model.place().unwrap_or(0).saturating_add_signed(steps);
        model.choose(place, height);
        return if model.first == before { Vec::new() } else { vec![Effect::AskUsage] };
    }
    let chosen = model.chosen_row().map(|row| row.name.clone());
    match (key, chosen) {
        (KeyCode::Char('q'), _) => return vec![Effect::Quit],
        (KeyCode::Esc, _) => {
            if model.filter.is_empty() && model.only == Only::All {
                return vec![Effect::Quit];
            }
            model.filter.clear();
            model.only = Only::All;
            model.arrange();
        }
        (KeyCode::Char('/'), _) => model.mode = Mode::Filter,
        (KeyCode::Char('f'), _) => {
            model.only = model.only.next();
            model.arrange();
            return vec![Effect::AskUsage];
        }
        (KeyCode::Char('e'), _) => model.events_shown = !model.events_shown,
        (KeyCode::Char('?' | 'h'), _) => model.mode = Mode::Help(0),
        (KeyCode::Char('R'), _) => {
            model.reversed = !model.reversed;
            model.arrange();
            return vec![Effect::AskUsage];
        }
        (KeyCode::Right | KeyCode::Char('>'), _) => return sorted(model, 1),
        (KeyCode::Left | KeyCode::Char('<'), _) => {
            return sorted(model, super::model::Column::ALL.len() - 1);
        }
        (KeyCode::Enter, Some(name)) => model.mode = Mode::Details(name, 0),
        (KeyCode::Char('l'), Some(name)) => return follow(model, name, Channel::Stdout),
        (KeyCode::Char('s'), Some(name)) => model.mode = Mode::Confirm(Verb::Start, name),
        (KeyCode::Char('x'), Some(name)) => model.mode = Mode::Confirm(Verb::Stop, name),
        (KeyCode::Char('r'), Some(name)) => model.mode = Mode::Confirm(Verb::Restart, name),
        (_, _) => {}
    }
    Vec::new()
}

fn sorted(model: &mut Model, steps: usize) -> Vec<Effect> {
    model.sort = model.sort.beside(steps);
    model.reversed = false;
    model.arrange();
    // What comes first is what one wants to see.
    model.first = 0;
    model.chosen = None;
    vec![Effect::AskUsage]
}

fn follow(model: &mut Model, name: InstanceId, channel: Channel) -> Vec<Effect> {
    model.mode = Mode::Log(Log::new(name.clone(), channel));
    vec![Effect::Follow(name, channel)]
}

fn in_filter(model: &mut Model, key: KeyCode) -> Vec<Effect> {
    match key {
        KeyCode::Esc => {
            model.filter.clear();
            model.mode = Mode::Table;
        }
        KeyCode::Enter | KeyCode::Up | KeyCode::Down => model.mode = Mode::Table,
        KeyCode::Backspace => drop(model.filter.pop()),
        KeyCode::Char(c) if model.filter.len() < FILTER_MAX => model.filter.push(c),
        _ => return Vec::new(),
    }
    model.arrange();
    vec![Effect::AskUsage]
}

fn in_details(model: &mut Model, key: KeyCode) -> Vec<Effect> {
    let (page, most) = (view::pane_height(model), view::details_scroll_max(model));
    let Mode::Details(name, from) = &mut model.mode else { return Vec::new() };
    if let Some(steps) = movement(key, page, usize::from(u16::MAX)) {
        let to = usize::from(*from).saturating_add_signed(steps);
        *from = u16::try_from(to).unwrap_or(u16::MAX).min(most);
        return Vec::new();
    }
    match key {
        KeyCode::Char('l') => {
            let name = name.clone();
            return follow(model, name, Channel::Stdout);
        }
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => model.mode = Mode::Table,
        _ => {}
    }
    Vec::new()
}

fn in_help(model: &mut Model, from: u16, key: KeyCode) {
    let (page, most) = (view::pane_height(model), view::details_scroll_max(model));
    let steps = movement(key, page, usize::from(u16::MAX));
    // Where there is no other page, Space is any key.
    let steps = steps.filter(|_| most > 0 || key != KeyCode::Char(' '));
    model.mode = match steps {
        Some(steps) => {
            let to = usize::from(from.min(most)).saturating_add_signed(steps);
            Mode::Help(u16::try_from(to).unwrap_or(u16::MAX).min(most))
        }
        None => Mode::Table,
    };
}

fn in_log(model: &mut Model, key: KeyCode) -> Vec<Effect> {
    let height = view::pane_height(model);
    let Mode::Log(log) = &mut model.mode else { return Vec::new() };
    if let Some(steps) = movement(key, height, log.lines.len()) {
        log.scroll(-steps, height);
        return Vec::new();
    }
    match key {
        KeyCode::Char('t') => {
            let other = match log.channel {
                Channel::Stdout => Channel::Stderr,
                Channel::Stderr => Channel::Stdout,
            };
            let name = log.name.clone();
            return follow(model, name, other);
        }
        KeyCode::Esc | KeyCode::Char('q' | 'l') => {
            model.mode = Mode::Table;
            return vec![Effect::Unfollow];
        }
        _ => {}
    }
    Vec::new()
}
