//! Events on the terminal, or for programs.

use std::io::{self, Write};

use anstyle::Style;
use dsbus_schema::event::{Event, Kind};
use serde::Serialize;

use crate::args::Shape;
use crate::failure::Failure;
use crate::output::{self, Bulk};
use crate::{clock, describe, table};

/// Rows that are laid out together. Columns fit the widest of them, and never shrink.
const MEASURED_MAX: usize = 200;
/// Lines of a detail; `-o wide` shows all of it.
const DETAIL_LINES_MAX: usize = 3;
/// Least width that is worth wrapping a detail into; else it goes below the row.
const DETAIL_WIDTH_MIN: usize = 28;
/// Where a column stops to grow: a longer text moves what follows in its own row only.
const COLUMN_MAX: usize = 24;
const INDENT: usize = 4;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// Prints events.
#[derive(Debug)]
pub(super) struct Printer {
    shape: Shape,
    /// One JSON document a line, rather than one array.
    lines: bool,
    terminal: bool,
    width: Option<usize>,
    out: Bulk,
    waiting: Vec<Row>,
    layout: Layout,
    /// The date that the times shown last belong to.
    date: String,
    begun: bool,
}

/// A CloudEvent with its place in the stream, by the extension attribute `sequence` of CloudEvents:
/// text whose order is that of the events.
#[derive(Serialize)]
struct Sequenced<'a> {
    #[serde(flatten)]
    event: &'a Event,
    sequence: String,
}

/// One event in words.
#[derive(Debug)]
struct Row {
    seq: String,
    date: String,
    clock: String,
    from: String,
    about: String,
    kind: Option<&'static str>,
    name: String,
    style: Style,
    order: String,
    detail: String,
}

/// Widths of columns.
#[derive(Debug, Default)]
struct Layout {
    seq: usize,
    from: usize,
    about: usize,
    name: usize,
    order: usize,
}

impl Printer {
    pub(super) fn new(shape: Shape, follow: bool) -> Printer {
        let terminal = output::is_terminal();
        Printer {
            shape,
            lines: follow,
            terminal,
            width: output::width().filter(|_| terminal && shape == Shape::Table),
            out: output::bulk(),
            waiting: Vec::new(),
            layout: Layout::default(),
            date: today(),
            begun: false,
        }
    }

    /// Shows an event, soon.
    pub(super) fn show(&mut self, seq: u64, event: &Event) -> Result<(), Failure> {
        match self.shape {
            Shape::Json => self.json(seq, event)?,
            Shape::Table | Shape::Wide => {
                self.waiting.push(Row::new(seq, event));
                if self.waiting.len() >= MEASURED_MAX {
                    self.lay_out()?;
                }
            }
        }
        Ok(())
    }

    /// Shows now what was to be shown.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.lay_out()?;
        Ok(self.out.flush()?)
    }

    /// Nothing follows.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        if self.shape == Shape::Json && !self.lines {
            self.out.write_all(if self.begun { b"\n]\n" } else { b"[]\n" })?;
        }
        self.flush()
    }

    fn json(&mut self, seq: u64, event: &Event) -> io::Result<()> {
        // As wide as any sequence is, so that it can be compared as text.
        let shown = Sequenced { event, sequence: format!("{seq:020}") };
        if self.lines {
            serde_json::to_writer(&mut self.out, &shown)?;
            return self.out.write_all(b"\n");
        }
        self.out.write_all(if self.begun { b",\n" } else { b"[\n" })?;
        self.begun = true;
        let text = serde_json::to_string_pretty(&shown)?;
        for (at, line) in text.lines().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(self.out, "{end}  {line}")?;
        }
        Ok(())
    }

    fn lay_out(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        if rows.is_empty() {
            return Ok(());
        }
        for row in &rows {
            self.layout.grow(row);
        }
        let wide = self.shape == Shape::Wide;
        if !self.begun {
            self.begun = true;
            let header = self.layout.header(wide, self.terminal);
            writeln!(self.out, "{BOLD}{header}{BOLD:#}")?;
        }
        for row in rows {
            if self.terminal && row.date != self.date {
                writeln!(self.out, "{DIM}{}{DIM:#}", row.date)?;
                self.date.clone_from(&row.date);
            }
            for line in self.layout.lines(&row, wide, self.terminal, self.width) {
                writeln!(self.out, "{line}")?;
            }
        }
        Ok(())
    }
}

fn today() -> String {
    clock::now().to_string().split('T').next().unwrap_or_default().to_owned()
}

impl Row {
    fn new(seq: u64, event: &Event) -> Row {
        let time = event.time.to_string();
        let (date, clock) = time.split_once('T').unwrap_or(("", &time));
        let from = event.source.rsplit('/').next().unwrap_or_default();
        // States of instances are what there is most of, and known by their names.
        let kind = Some(event.data.kind()).filter(|kind| *kind != Kind::Process.name());
        Row {
            seq: seq.to_string(),
            date: date.to_owned(),
            clock: clock.trim_end_matches('Z').to_owned(),
            from: from.trim_start_matches('_').to_owned(),
            about: clean(&event.subject),
            kind,
            name: clean(event.data.type_name()),
            style: describe::event::style(&event.data),
            order: describe::event::order(&event.data),
            detail: clean(&describe::event::fact(&event.data)),
        }
    }

    fn name_width(&self) -> usize {
        self.kind.map_or(0, |kind| kind.len() + 1) + self.name.chars().count()
    }
}

impl Layout {
    fn grow(&mut self, row: &Row) {
        let grow =
            |column: &mut usize, width: usize| *column = (*column).max(width.min(COLUMN_MAX));
        grow(&mut self.seq, row.seq.len().max(3));
        grow(&mut self.from, row.from.chars().count().max(4));
        grow(&mut self.about, row.about.chars().count().max(5));
        grow(&mut self.name, row.name_width().max(5));
        grow(&mut self.order, row.order.len().max(5));
    }

    fn header(&self, wide: bool, terminal: bool) -> String {
        // A terminal shows the day on a line of its own, and programs the whole time.
        let time = if terminal { 12 } else { 24 };
        let Layout { seq, from, about, name, order } = self;
        let before = if wide { format!("{:seq$}  ", "SEQ") } else { String::new() };
        let after = if wide { format!("{:order$}  ", "EPOCH") } else { String::new() };
        let (when, what) = ("TIME UTC", "EVENT");
        format!(
            "{before}{when:time$}  {:from$}  {:about$}  {what:name$}  {after}DETAIL",
            "FROM", "ABOUT"
        )
    }

    /// The row without its detail.
    fn columns(&self, row: &Row, wide: bool, terminal: bool) -> String {
        let Layout { seq, from, about, name, order } = self;
        let before = if wide { format!("{:seq$}  ", row.seq) } else { String::new() };
        let time = if terminal {
            format!("{DIM}{}{DIM:#}", row.clock)
        } else {
            format!("{}T{}Z", row.date, row.clock)
        };
        let kind = row.kind.map(|kind| format!("{DIM}{kind}.{DIM:#}")).unwrap_or_default();
        let (style, gap) = (row.style, name.saturating_sub(row.name_width()));
        let after = if wide { format!("  {:order$}", row.order) } else { String::new() };
        format!(
            "{before}{time}  {:from$}  {:about$}  {kind}{style}{}{style:#}{:gap$}{after}",
            row.from, row.about, row.name, ""
        )
    }

    /// The lines of a row. Without a width there is one.
    fn lines(&self, row: &Row, wide: bool, terminal: bool, width: Option<usize>) -> Vec<String> {
        let text = self.columns(row, wide, terminal);
        let Some(width) = width else {
            return vec![format!("{text}  {}", row.detail).trim_end().to_owned()];
        };
        let before = anstream::adapter::strip_str(&text).to_string().chars().count() + 2;
        let below = width < before + DETAIL_WIDTH_MIN;
        let indent = if below { INDENT } else { before };
        let mut details = folded(&row.detail, width.saturating_sub(indent)).into_iter();
        let first = if below { None } else { details.next() };
        let row = format!("{text}  {}", first.unwrap_or_default());
        let rest = details.map(|line| format!("{:indent$}{line}", ""));
        [row.trim_end().to_owned()].into_iter().chain(rest).collect()
    }
}

/// A detail in a few lines; what is left out is shown by `…`.
fn folded(text: &str, width: usize) -> Vec<String> {
    let width = width.max(DETAIL_WIDTH_MIN / 2);
    // Words that do not fit a line are broken.
    let words = text.split_whitespace().flat_map(|word| {
        let letters: Vec<char> = word.chars().collect();
        letters.chunks(width).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>()
    });
    let mut lines = table::folded(&words.collect::<Vec<_>>().join(" "), width);
    if lines.len() > DETAIL_LINES_MAX {
        lines.truncate(DETAIL_LINES_MAX);
        if let Some(last) = lines.last_mut() {
            let kept = last.chars().take(width - 1).collect::<String>();
            *last = format!("{}…", kept.trim_end());
        }
    }
    lines
}

/// Text on one line, which does nothing to a terminal: a child may have said it.
fn clean(text: &str) -> String {
    let text = text.trim_end();
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut clean, letter| {
        match letter {
            '\n' => clean.push_str(" ⏎ "),
            '\t' => clean.push(' '),
            letter if letter.is_control() => clean.extend(letter.escape_default()),
            letter => clean.push(letter),
        }
        clean
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(about: &str, kind: Option<&'static str>, name: &str, detail: &str) -> Row {
        Row {
            seq: "1234".to_owned(),
            date: "2026-11-26".to_owned(),
            clock: "18:16:04.701".to_owned(),
            from: "w1".to_owned(),
            about: about.to_owned(),
            kind,
            name: name.to_owned(),
            style: Style::new(),
            order: "1.2".to_owned(),
            detail: clean(detail),
        }
    }

    fn shown(rows: &[Row], wide: bool, terminal: bool, width: Option<usize>) -> Vec<String> {
        let mut layout = Layout::default();
        for row in rows {
            layout.grow(row);
        }
        let lines = rows.iter().flat_map(|row| layout.lines(row, wide, terminal, width));
        [layout.header(wide, terminal)]
            .into_iter()
            .chain(lines)
            .map(|line| anstream::adapter::strip_str(&line).to_string())
            .collect()
    }

    #[test]
    fn columns_are_aligned_and_details_hang() {
        let rows = [
            row("web:0", None, "RUNNING", "pid 7"),
            row("flaky:10", Some("placement"), "MOVED", "one two three four five six seven eight"),
        ];
        assert_eq!(
            shown(&rows, false, true, Some(80)),
            [
                "TIME UTC      FROM  ABOUT     EVENT            DETAIL",
                "18:16:04.701  w1    web:0     RUNNING          pid 7",
                "18:16:04.701  w1    flaky:10  placement.MOVED  one two three four five six seven",
                "                                               eight",
            ]
        );
        assert_eq!(
            shown(&rows, true, false, None)[2],
            "1234  2026-11-26T18:16:04.701Z  w1    flaky:10  placement.MOVED  1.2    one two three four \
             five six seven eight"
        );
        let narrow = shown(&rows[1..], false, true, Some(60));
        assert_eq!(narrow[2], "    one two three four five six seven eight");
    }

    #[test]
    fn long_details_end() {
        let lines = folded(&"word ".repeat(100), 30);
        assert_eq!(lines.len(), DETAIL_LINES_MAX);
        assert!(
            lines[2].ends_with('…') && lines.iter().all(|l| l.chars().count() <= 30),
            "{lines:?}"
        );
        let lines = folded(&"x".repeat(70), 30);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [30, 30, 10]);
    }

    #[test]
    fn what_children_say_does_nothing_to_the_terminal() {
        assert_eq!(clean("a\tb\nc\u{1b}[2J\n"), "a b ⏎ c\\u{1b}[2J");
    }
}
