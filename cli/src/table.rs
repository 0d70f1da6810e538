//! Tables of plain columns that fit the terminal: columns of little weight leave first, then the
//! last column wraps, and where even that has no room it goes below. Without a terminal every column is there, on one line.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use unicode_width::UnicodeWidthStr;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Its title.
    pub(crate) title: &'static str,
    /// Columns with the greatest number leave first when there is no room; 0 never leaves.
    pub(crate) leaves: u8,
    /// Left out when it is empty in every row.
    pub(crate) optional: bool,
}

/// What a cell means; never told by colour alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Moving,
    /// Not as it should be.
    Bad,
    /// At rest.
    Quiet,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Tone::Plain => Style::new(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Moving => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Quiet => Style::new().dimmed(),
        }
    }
}

/// A cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    /// Its text.
    pub(crate) text: String,
    /// What it means.
    pub(crate) tone: Tone,
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Text {
        Text { text: text.into(), tone: Tone::Plain }
    }
}

impl Text {
    fn cell(&self) -> Cell {
        let cell = Cell::new(&self.text);
        match self.tone {
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Moving => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Quiet => cell.add_attribute(Attribute::Dim),
        }
    }
}

/// Least width that is worth wrapping text into.
const WRAP_WIDTH_MIN: usize = 24;

/// Before text on a line of its own.
const INDENT: &str = "    ";

/// The lines of a table, with colours. `width` is the terminal's; `None` where there is none.
pub(crate) fn render(columns: &[Column], rows: &[Vec<Text>], width: Option<u16>) -> Vec<String> {
    let mut shown: Vec<usize> = (0..columns.len())
        .filter(|&i| !columns[i].optional || rows.iter().any(|row| !row[i].text.is_empty()))
        .collect();
    let natural = |i: usize| {
        let cells = rows.iter().map(|row| row[i].text.chars().count());
        cells.chain([columns[i].title.len()]).max().unwrap_or(0)
    };
    if let Some(width) = width {
        let needed = |shown: &[usize]| -> usize {
            let (last, rest) = shown.split_last().map_or((0, shown), |(last, rest)| (*last, rest));
            rest.iter().map(|&i| natural(i) + 2).sum::<usize>() + natural(last).min(WRAP_WIDTH_MIN)
        };
        while needed(&shown) > usize::from(width) {
            let Some(least) = shown
                .iter()
                .copied()
                .filter(|&i| columns[i].leaves > 0)
                .max_by_key(|&i| columns[i].leaves)
            else {
                return apart(columns, rows, &shown, width);
            };
            shown.retain(|&i| i != least);
        }
    }
    layout(columns, rows, &shown, width)
}

/// The last column on lines of its own, below each row: there is no room beside the others.
fn apart(columns: &[Column], rows: &[Vec<Text>], shown: &[usize], width: u16) -> Vec<String> {
    let Some((last, rest)) = shown.split_last().filter(|(last, _)| columns[**last].optional) else {
        return layout(columns, rows, shown, Some(width));
    };
    // Without a width every row is one line, however narrow the terminal is.
    let mut lines = layout(columns, rows, rest, None).into_iter();
    let mut said: Vec<String> = lines.next().into_iter().collect();
    for (line, row) in lines.zip(rows) {
        said.push(line);
        said.extend(wrapped(&row[*last].text, usize::from(width).saturating_sub(INDENT.len())));
    }
    said
}

/// Text in indented lines, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    folded(text, width).into_iter().map(|line| format!("{INDENT}{line}")).collect()
}

/// Text in lines, broken between words.
pub(crate) fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The lines of names and values, one below the other, with colours; see [`render`].
pub(crate) fn list(pairs: &[(&str, Text)], width: Option<u16>) -> Vec<String> {
    let rows = pairs
        .iter()
        .map(|(name, value)| vec![Cell::new(name).add_attribute(Attribute::Dim), value.cell()]);
    arranged(None, rows.collect(), width)
}

fn layout(
    columns: &[Column],
    rows: &[Vec<Text>],
    shown: &[usize],
    width: Option<u16>,
) -> Vec<String> {
    let one_line = |row: &Vec<Text>| shown.iter().all(|&i| !row[i].text.contains('\n'));
    if width.is_none() && rows.iter().all(one_line) {
        return unbroken(columns, rows, shown);
    }
    let title = |i: usize| Cell::new(columns[i].title).add_attribute(Attribute::Bold);
    let header = shown.iter().map(|&i| title(i)).collect();
    let rows = rows.iter().map(|row| shown.iter().map(|&i| row[i].cell()).collect());
    arranged(Some(header), rows.collect(), width)
}

/// Columns as wide as what is in them, where nothing has to be broken: ten thousand rows are laid out in
/// a third of the time that it takes where something may.
fn unbroken(columns: &[Column], rows: &[Vec<Text>], shown: &[usize]) -> Vec<String> {
    let widths: Vec<usize> = shown
        .iter()
        .map(|&i| {
            let cells = rows.iter().map(|row| row[i].text.width());
            cells.chain([columns[i].title.width()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = (&str, Style)>| {
        let mut line = String::new();
        let mut gap = 0;
        for ((text, style), width) in cells.zip(&widths) {
            if !text.is_empty() {
                line.extend(std::iter::repeat_n(' ', gap));
                gap = 0;
                // A line that cannot be written is not; a String can always be.
                let _ = write!(line, "{style}{text}{style:#}");
            }
            gap += width - text.width() + 2;
        }
        line
    };
    let titles = &mut shown.iter().map(|&i| (columns[i].title, Style::new().bold()));
    let mut lines = vec![line(titles)];
    lines.extend(
        rows.iter().map(|row| {
            line(&mut shown.iter().map(|&i| (row[i].text.as_str(), row[i].tone.style())))
        }),
    );
    lines
}

/// Plain columns, as wide as what is in them; the last one has what is left.
fn arranged(header: Option<Vec<Cell>>, rows: Vec<Vec<Cell>>, width: Option<u16>) -> Vec<String> {
    let mut table = Table::new();
    // Whoever prints strips the styles where they do not belong.
    table.load_style(presets::NOTHING).force_no_tty().enforce_styling().style_text_only();
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    if let Some(header) = header {
        table.set_header(header);
    }
    table.add_rows(rows);
    let count = table.column_count();
    for (position, column) in table.column_iter_mut().enumerate() {
        let last = position + 1 == count;
        column.set_padding((0, if last { 0 } else { 2 }));
        if !last {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt().lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column { title: "NAME", leaves: 0, optional: false },
        Column { title: "PID", leaves: 1, optional: false },
        Column { title: "EPOCH", leaves: 2, optional: false },
        Column { title: "DETAIL", leaves: 0, optional: true },
    ];

    fn plain(rows: &[[&str; 4]], width: Option<u16>) -> Vec<String> {
        let rows: Vec<Vec<Text>> =
            rows.iter().map(|row| row.iter().map(|t| Text::from(*t)).collect()).collect();
        render(&COLUMNS, &rows, width)
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn everything_is_shown_where_there_is_room() {
        let row = ["web:0", "123", "7", "a long story of many words that goes on and on"];
        let said = plain(&[row], None);
        assert_eq!(said[0], "NAME   PID  EPOCH  DETAIL");
        assert_eq!(said[1], "web:0  123  7      a long story of many words that goes on and on");
    }

    #[test]
    fn what_needs_no_breaking_is_laid_out_the_same_way() {
        let rows: Vec<Vec<Text>> =
            [["web:0", "123", "", "größer ●"], ["a", "", "7", ""], ["b", "1", "", "x"]]
                .iter()
                .map(|row| {
                    row.iter().map(|t| Text { text: (*t).to_owned(), tone: Tone::Bad }).collect()
                })
                .collect();
        let stripped = |lines: Vec<String>| -> Vec<String> {
            let strip = |line: &String| anstream::adapter::strip_str(line).to_string();
            lines.iter().map(|line| strip(line).trim_end().to_owned()).collect()
        };
        let shown = [0, 1, 2, 3];
        let own = stripped(unbroken(&COLUMNS, &rows, &shown));
        assert_eq!(own, stripped(layout(&COLUMNS, &rows, &shown, Some(200))));
        assert_eq!(own[1], "web:0  123         größer ●");
    }

    #[test]
    fn an_optional_column_without_text_is_left_out() {
        assert_eq!(plain(&[["web:0", "1", "7", ""]], None)[0], "NAME   PID  EPOCH");
    }

    #[test]
    fn a_narrow_terminal_drops_columns_then_wraps() {
        let row = ["web:0", "123", "7", "a long story of many words that goes on and on"];
        let said = plain(&[row], Some(36));
        assert_eq!(said[0], "NAME   PID  DETAIL");
        assert!(said.len() > 2 && said.iter().all(|l| l.chars().count() <= 36), "{said:#?}");
        assert_eq!(plain(&[row], Some(32))[0], "NAME   DETAIL");
        let said = plain(&[row, ["api:0", "1", "7", ""]], Some(30));
        let expected =
            ["NAME", "web:0", "    a long story of many words", "    that goes on and on", "api:0"];
        assert_eq!(said, expected);
    }
}
