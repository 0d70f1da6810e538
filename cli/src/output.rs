//! The only file that prints, but for what draws on the whole terminal (`top`) and edits lines there
//! (`shell`). Answers go to standard output, everything about them to standard
//! error; colours leave both where they are not wanted (`NO_COLOR`, no terminal).

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Data, Width};
use crate::failure::Failure;
use crate::file::Diagnostic;
use crate::settings::Color;
use crate::table::{self, Column, Text};

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const BOLD: Style = Style::new().bold();
const GREEN: Style = AnsiColor::Green.on_default();

/// Colours of the names before lines of output. Red is for errors.
const PREFIXES: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
];

/// Where a screen begins; clears the rest of a line; clears what is below.
const HOME: &str = "\x1b[H";
const LINE_END: &str = "\x1b[K";
const REST: &str = "\x1b[J";
/// To the line above, and clears it.
const UP: &str = "\x1b[1A\x1b[K";

/// Width that is assumed of a terminal that does not tell its own.
const WIDTH: usize = 80;
/// The same of its height.
const HEIGHT: usize = 24;

/// How many lines on the terminal the next ones replace.
static PASSING: AtomicUsize = AtomicUsize::new(0);

/// Only errors, and what was asked for.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Says once how everything is printed.
pub(crate) fn speak(color: Color, quiet: bool) {
    match color {
        Color::Auto => {}
        Color::Always => ColorChoice::Always.write_global(),
        Color::Never => ColorChoice::Never.write_global(),
    }
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether only errors are told, and what was asked for.
pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// A line that says that something was done, which the exit code says, too.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn success(text: impl Display) -> io::Result<()> {
    if is_quiet() { Ok(()) } else { line(text) }
}

/// Whether a person sees standard output, rather than a program.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether colours are wanted on standard output.
pub(crate) fn is_coloured() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// Whether a person sees standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// A line of the answer.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    wipe();
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// What the following lines of the answer are about.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn title(text: &str) -> io::Result<()> {
    line(format_args!("{BOLD}{text}{BOLD:#}"))
}

/// A line of the answer that is broken between words where the terminal ends.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn paragraph(text: &str) -> io::Result<()> {
    match comfy_table::Table::new().width() {
        Some(width) => table::folded(text, usize::from(width)).iter().try_for_each(line),
        None => line(text),
    }
}

/// An answer of many lines, which are written together.
#[derive(Debug)]
pub(crate) struct Bulk(BufWriter<AutoStream<StdoutLock<'static>>>);

/// Begins an answer of many lines. Whoever reads sees them after a flush.
pub(crate) fn bulk() -> Bulk {
    wipe();
    Bulk(BufWriter::new(anstream::stdout().lock()))
}

impl Write for Bulk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Columns of the terminal; `None` where there is none.
pub(crate) fn width() -> Option<usize> {
    comfy_table::Table::new().width().map(usize::from)
}

/// Output of a child, as it is: its own escape sequences are its own business.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    wipe();
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// The same, for what a child says on standard error.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn error_bytes(bytes: &[u8]) -> io::Result<()> {
    wipe();
    io::stderr().lock().write_all(bytes)
}

/// What stands before a line of output of the `number`th of several: a name, in a colour of its own
/// where colours are wanted, whatever colour the line before has left behind.
pub(crate) fn prefix(name: &str, width: usize, number: usize) -> Vec<u8> {
    if AutoStream::choice(&io::stdout()) == ColorChoice::Never {
        return format!("{name:width$} | ").into_bytes();
    }
    let style = PREFIXES[number % PREFIXES.len()].on_default();
    format!("{}{style}{name:width$} |{style:#} ", anstyle::Reset).into_bytes()
}

/// Whether nobody reads standard output any more: the other end of the pipe is closed.
pub(crate) fn reader_gone() -> bool {
    let out = io::stdout();
    let mut asked = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let told = poll(&mut asked, PollTimeout::ZERO).is_ok_and(|told| told > 0);
    told && asked[0].revents().is_some_and(|found| found.contains(PollFlags::POLLERR))
}

/// One document for programs.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn data(how: Data, value: &impl Serialize) -> io::Result<()> {
    match how {
        Data::Json => {
            wipe();
            // There are no colours in it to be looked for.
            let mut out = BufWriter::new(io::stdout().lock());
            serde_json::to_writer_pretty(&mut out, value)?;
            out.write_all(b"\n")?;
            out.flush()
        }
        Data::Yaml => {
            let text = serde_norway::to_string(value).map_err(io::Error::other)?;
            line(text.trim_end())
        }
        Data::Name => names(&serde_json::to_value(value)?).iter().try_for_each(line),
    }
}

/// The names in a document: those of its rows.
fn names(value: &Value) -> Vec<String> {
    match value {
        Value::Array(rows) => rows.iter().flat_map(names).collect(),
        Value::String(name) => vec![name.clone()],
        Value::Object(row) => {
            let keys = ["name", "program", "worker", "id", "key", "check"];
            let rows = || row.values().filter(|value| !value.is_string()).flat_map(names).collect();
            keys.iter().find_map(|key| row.get(*key)).map_or_else(rows, names)
        }
        _ => Vec::new(),
    }
}

/// A table, fitted to the terminal unless it is wanted whole.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn table(wide: Width, columns: &[Column], rows: &[Vec<Text>]) -> io::Result<()> {
    let fitted = wide == Width::Fitted;
    let width = comfy_table::Table::new().width().filter(|_| fitted);
    let mut out = bulk();
    for text in table::render(columns, rows, width) {
        writeln!(out, "{text}")?;
    }
    out.flush()
}

/// A table that takes the place of the last one that was shown so, on a terminal; what does not fit
/// into its height is counted.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn screen(
    title: &str,
    wide: Width,
    columns: &[Column],
    rows: &[Vec<Text>],
) -> io::Result<()> {
    let (width, height) = ratatui::crossterm::terminal::size().unwrap_or((80, 24));
    let lines = table::render(columns, rows, (wide == Width::Fitted).then_some(width));
    // One line for the title, and one for what is left out.
    let room = usize::from(height).saturating_sub(3);
    let mut out = anstream::stdout().lock();
    writeln!(out, "{HOME}{BOLD}{title}{BOLD:#}{LINE_END}")?;
    for line in lines.iter().take(room) {
        writeln!(out, "{line}{LINE_END}")?;
    }
    if let left @ 1.. = lines.len().saturating_sub(room) {
        writeln!(out, "... and {left} more lines: name some, or use a higher terminal{LINE_END}")?;
    }
    write!(out, "{REST}")?;
    out.flush()
}

/// How far something is, on lines that the next ones replace; only where a person watches. No lines
/// take them away.
pub(crate) fn passing(lines: &[String]) {
    if !is_watched() || is_quiet() {
        return;
    }
    wipe();
    let (width, height) = ratatui::crossterm::terminal::size()
        .map_or((WIDTH, HEIGHT), |(w, h)| (usize::from(w), usize::from(h)));
    // What has scrolled away could not be replaced.
    let lines = &lines[..lines.len().min(height.saturating_sub(1))];
    let shown: Vec<String> = lines.iter().map(|line| cut(line, width)).collect();
    let mut err = io::stderr();
    let _ = write!(err, "{}", shown.join("\n"));
    let _ = err.flush();
    PASSING.store(lines.len(), Ordering::Relaxed);
}

/// What fits into a line. The last column stays free: some terminals break the line when it is
/// written to.
fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width.saturating_sub(1)) {
        Some(_) => text.chars().take(width.saturating_sub(2)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// Takes away the lines that are to be replaced, if there are any.
fn wipe() {
    let lines = PASSING.swap(0, Ordering::Relaxed);
    if lines > 0 {
        let _ = write!(io::stderr(), "\r{LINE_END}{}", UP.repeat(lines - 1));
    }
}

/// Names and values, fitted to the terminal.
///
/// # Errors
/// When nobody reads it.
pub(crate) fn list(pairs: &[(&str, Text)]) -> io::Result<()> {
    let width = comfy_table::Table::new().width();
    for text in table::list(pairs, width) {
        line(text)?;
    }
    Ok(())
}

/// Something to know that is no part of the answer. Lost if nobody reads standard error.
pub(crate) fn note(text: impl Display) {
    if !is_quiet() {
        tell(text);
    }
}

/// The same, also where only errors are told.
fn tell(text: impl Display) {
    wipe();
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Something to know for whoever has just pressed Ctrl-C: the terminal shows that as `^C`.
pub(crate) fn note_below(text: impl Display) {
    let newline = if is_watched() { "\n" } else { "" };
    note(format_args!("{newline}-- {text} --"));
}

/// Something that is allowed, and likely not meant.
pub(crate) fn warning(text: impl Display) {
    note(format_args!("{YELLOW}warning:{YELLOW:#} {text}"));
}

/// A failure, and what to do about it.
pub(crate) fn failure(failure: &Failure) {
    if !failure.message.is_empty() {
        tell(format_args!("{RED}error:{RED:#} {}", failure.message));
        hint(failure);
    }
}

fn hint(failure: &Failure) {
    if let Some(hint) = &failure.hint {
        tell(format_args!("  {GREEN}{hint}{GREEN:#}"));
    }
}

/// Everything that is wrong with files, then how much that is, and what did not happen because of it.
pub(crate) fn diagnostics(found: &[Diagnostic], so: &str) {
    for diagnostic in found {
        tell(diagnostic);
    }
    let count = if found.len() == 1 { "1 error" } else { &format!("{} errors", found.len()) };
    tell(format_args!("{RED}{count}; {so}{RED:#}"));
}

/// What the parser of the command line says: help, the version, or what is wrong with it; then what was
/// probably meant, where that is known.
pub(crate) fn command_line(e: &clap::Error, meant: Option<&str>) {
    let _ = e.print();
    if let Some(meant) = meant {
        tell(format_args!("\n  {GREEN}{meant}{GREEN:#}"));
    }
}
