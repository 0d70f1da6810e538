//! All that `top` knows and shows. Pure.

use std::collections::{BTreeMap, VecDeque};

use dsbus_client::Used;
use dsbus_schema::command::Verb;
use dsbus_schema::ids::InstanceId;
use dsbus_schema::moment::Timestamp;
use dsbus_schema::state::State;
use dsbus_schema::status::{InstanceRow, WorkerRow};

use crate::table::Tone;

use super::log::Log;

/// Events that are kept: more than any screen shows.
const EVENTS_MAX: usize = 200;

/// What rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    State,
    Worker,
    Cpu,
    Memory,
    Restarts,
    Since,
}

impl Column {
    /// From left to right.
    pub(super) const ALL: [Column; 7] = [
        Column::Name,
        Column::State,
        Column::Worker,
        Column::Cpu,
        Column::Memory,
        Column::Restarts,
        Column::Since,
    ];

    /// The column so many places further to the right, round and round.
    pub(super) fn beside(self, steps: usize) -> Column {
        let at = Column::ALL.iter().position(|one| *one == self).unwrap_or(0);
        Column::ALL[(at + steps) % Column::ALL.len()]
    }
}

/// Which rows are shown, beside those that hold the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Only {
    All,
    /// What is not as it should be.
    Wrong,
    Running,
    /// What has no child.
    Resting,
}

impl Only {
    /// The next one, round and round.
    pub(super) fn next(self) -> Only {
        match self {
            Only::All => Only::Wrong,
            Only::Wrong => Only::Running,
            Only::Running => Only::Resting,
            Only::Resting => Only::All,
        }
    }

    /// What it is called; nothing where it hides nothing.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Only::All => None,
            Only::Wrong => Some("not ok"),
            Only::Running => Some("running"),
            Only::Resting => Some("resting"),
        }
    }

    fn fits(self, row: &InstanceRow) -> bool {
        match self {
            Only::All => true,
            Only::Wrong => !row.ok,
            Only::Running => row.state == State::Running,
            Only::Resting => !row.state.may_have_child(),
        }
    }
}

/// What the keys mean now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// They move in the table.
    Table,
    /// They are a part of the filter.
    Filter,
    /// All about an instance, from this line on.
    Details(InstanceId, u16),
    /// What an instance prints.
    Log(Log),
    /// Is that to be done?
    Confirm(Verb, InstanceId),
    /// The keys, from this line on.
    Help(u16),
}

/// A line about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// Time of day.
    pub(super) time: String,
    /// What it is about.
    pub(super) about: String,
    /// Its type.
    pub(super) kind: String,
    /// The rest.
    pub(super) detail: String,
    /// How bad it is.
    pub(super) tone: Tone,
}

/// A word about what was asked for, or about the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// All of it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Model {
    /// The fleet, and where its bus is.
    pub(super) title: String,
    /// Columns and lines of the terminal.
    pub(super) size: (u16, u16),
    /// By name.
    pub(super) rows: Vec<InstanceRow>,
    /// What is shown of them, in order: places in `rows`.
    pub(super) order: Vec<usize>,
    pub(super) workers: Vec<WorkerRow>,
    pub(super) usage: BTreeMap<InstanceId, Used>,
    pub(super) sort: Column,
    pub(super) reversed: bool,
    pub(super) filter: String,
    pub(super) only: Only,
    /// Which row is chosen; it stays so when the order changes.
    pub(super) chosen: Option<InstanceId>,
    /// Place of the first line of the table in `order`.
    pub(super) first: usize,
    pub(super) mode: Mode,
    pub(super) events: VecDeque<Told>,
    pub(super) events_shown: bool,
    pub(super) note: Option<Note>,
    /// Colours are wanted.
    pub(super) colour: bool,
    /// Longest name of an instance, and of its worker, in characters.
    pub(super) widths: (usize, usize),
    /// Rows were heard of at all.
    pub(super) known: bool,
    pub(super) now: Timestamp,
}

impl Model {
    pub(super) fn new(title: String, size: (u16, u16), now: Timestamp) -> Model {
        Model {
            title,
            size,
            rows: Vec::new(),
            order: Vec::new(),
            workers: Vec::new(),
            usage: BTreeMap::new(),
            sort: Column::Name,
            reversed: false,
            filter: String::new(),
            only: Only::All,
            chosen: None,
            first: 0,
            mode: Mode::Table,
            events: VecDeque::new(),
            events_shown: true,
            note: None,
            colour: true,
            widths: (0, 0),
            known: false,
            now,
        }
    }

    /// Takes all rows anew, in whatever order.
    pub(super) fn replace(&mut self, mut rows: Vec<InstanceRow>) {
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        self.rows = rows;
        self.known = true;
        self.measure();
        let known =
            |name: &InstanceId| self.rows.binary_search_by(|row| row.name.cmp(name)).is_ok();
        self.usage.retain(|name, _| known(name));
        self.arrange();
    }

    /// Takes some rows anew.
    pub(super) fn merge(&mut self, rows: Vec<InstanceRow>) {
        for row in rows {
            match self.rows.binary_search_by(|known| known.name.cmp(&row.name)) {
                Ok(at) => self.rows[at] = row,
                Err(at) => self.rows.insert(at, row),
            }
        }
        self.measure();
        self.arrange();
    }

    fn measure(&mut self) {
        let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
        let names = longest(&mut self.rows.iter().map(|row| row.name.to_string().len()));
        let workers = self.rows.iter().filter_map(|row| row.worker.as_ref());
        self.widths = (names, longest(&mut workers.map(|worker| worker.as_str().len())));
    }

    /// Decides anew what is shown, and in which order.
    pub(super) fn arrange(&mut self) {
        let wanted = self.filter.to_lowercase();
        let fits = |row: &InstanceRow| {
            self.only.fits(row)
                && (wanted.is_empty()
                    || row.name.to_string().to_lowercase().contains(&wanted)
                    || row
                        .worker
                        .as_ref()
                        .is_some_and(|w| w.as_str().to_lowercase().contains(&wanted))
                    || row.state.name().to_lowercase().contains(&wanted))
        };
        let mut order: Vec<usize> =
            (0..self.rows.len()).filter(|&at| fits(&self.rows[at])).collect();
        let (rows, usage) = (&self.rows, &self.usage);
        let used = |at: usize| usage.get(&rows[at].name);
        // The rows are by name, and stay so among equals.
        match self.sort {
            Column::Name => {}
            Column::State => order.sort_by_key(|&at| weight(&rows[at])),
            Column::Worker => order.sort_by(|&a, &b| {
                let (a, b) = (&rows[a].worker, &rows[b].worker);
                (a.is_none(), a).cmp(&(b.is_none(), b))
            }),
            Column::Cpu => order.sort_by(|&a, &b| {
                let cpu = |at| used(at).and_then(|used| used.cpu).unwrap_or(-1.0);
                cpu(b).total_cmp(&cpu(a))
            }),
            Column::Memory => {
                order.sort_by_key(|&at| std::cmp::Reverse(used(at).map(|used| used.memory)));
            }
            Column::Restarts => order.sort_by_key(|&at| std::cmp::Reverse(rows[at].restarts)),
            Column::Since => order.sort_by_key(|&at| std::cmp::Reverse(rows[at].since)),
        }
        if self.reversed {
            order.reverse();
        }
        self.order = order;
    }

    /// Place of the chosen row in the order.
    pub(super) fn place(&self) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        let at = self.rows.binary_search_by(|row| row.name.cmp(chosen)).ok()?;
        self.order.iter().position(|&place| place == at)
    }

    /// The chosen row.
    pub(super) fn chosen_row(&self) -> Option<&InstanceRow> {
        self.place().map(|place| &self.rows[self.order[place]])
    }

    /// The row of an instance.
    pub(super) fn row(&self, name: &InstanceId) -> Option<&InstanceRow> {
        let at = self.rows.binary_search_by(|row| row.name.cmp(name)).ok()?;
        self.rows.get(at)
    }

    /// Chooses a row, and moves the table so that it is seen. `height` is that of the table.
    pub(super) fn choose(&mut self, place: usize, height: usize) {
        let place = place.min(self.order.len().saturating_sub(1));
        self.chosen = self.order.get(place).map(|&at| self.rows[at].name.clone());
        self.first = self.first.max((place + 1).saturating_sub(height)).min(place);
        let last = self.order.len().saturating_sub(height);
        self.first = self.first.min(last);
    }

    /// Names of the rows that are seen.
    pub(super) fn seen(&self, height: usize) -> impl Iterator<Item = &InstanceRow> {
        self.order.iter().skip(self.first).take(height).map(|&at| &self.rows[at])
    }

    /// Keeps an event.
    pub(super) fn tell(&mut self, told: Told) {
        self.events.push_back(told);
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }
}

/// The order of states: what needs a person comes first.
fn weight(row: &InstanceRow) -> u8 {
    match row.state {
        State::Fatal => 0,
        State::Unknown => 1,
        State::Exited if !row.ok => 2,
        State::Backoff => 3,
        State::Pending => 4,
        State::Starting => 5,
        State::Stopping => 6,
        State::Running => 7,
        State::Stopped => 8,
        State::Exited => 9,
    }
}
