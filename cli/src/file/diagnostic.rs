//! One thing that is wrong in a file, shown where it stands.

use std::fmt;
use std::ops::Range;

use anstyle::{AnsiColor, Style};

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const BLUE: Style = AnsiColor::Blue.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();

/// A file that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Its path, as it was given.
    pub(crate) name: &'a str,
    /// Its text.
    pub(crate) text: &'a str,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// The whole line.
    source: String,
    /// How many characters the carets cover; at least 1.
    width: usize,
}

impl Source<'_> {
    /// The place of a span of bytes; of its first line, if it has more.
    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        let start = floor_boundary(self.text, span.start);
        let end = floor_boundary(self.text, span.end).max(start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |i| start + i);
        let source = self.text[line_start..line_end].trim_end_matches('\r');
        let covered = &self.text[start..end.min(line_start + source.len()).max(start)];
        Place {
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            source: source.to_owned(),
            width: covered.chars().count().max(1),
        }
    }
}

/// The nearest boundary between characters at or before `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// Something wrong in a file. Displayed with colours; whoever prints it strips them where they do
/// not belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    file: String,
    place: Option<Place>,
    key: Option<String>,
    message: String,
    hint: Option<String>,
}

impl Diagnostic {
    /// About a file as a whole.
    pub(crate) fn whole(file: &str, message: impl Into<String>) -> Diagnostic {
        let file = file.to_owned();
        Diagnostic { file, place: None, key: None, message: message.into(), hint: None }
    }

    /// About a place in a file.
    pub(crate) fn at(
        source: &Source<'_>,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic { place: Some(source.place(span)), ..Diagnostic::whole(source.name, message) }
    }

    /// The file, as it was given.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Line and column; what is about the file as a whole comes first.
    pub(crate) fn position(&self) -> (usize, usize) {
        self.place.as_ref().map_or((0, 0), |place| (place.line, place.column))
    }

    /// Names the key, with its path.
    pub(crate) fn key(mut self, key: impl Into<String>) -> Diagnostic {
        self.key = Some(key.into());
        self
    }

    /// On one line and without colours, for a log.
    pub(crate) fn one_line(&self) -> String {
        let line = self.place.as_ref().map_or_else(String::new, |p| format!(":{}", p.line));
        let key = self.key.as_ref().map_or_else(String::new, |key| format!("{key}: "));
        let hint = self.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        visible(&format!("{}{line}: {key}{}{hint}", self.file, self.message))
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: Option<String>) -> Diagnostic {
        self.hint = hint;
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { file, key, message, .. } = self;
        write!(f, "{BOLD}{}", visible(file))?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ":{BOLD:#} {RED}error:{RED:#} ")?;
        if let Some(key) = key {
            write!(f, "{BOLD}{}:{BOLD:#} ", visible(key))?;
        }
        write!(f, "{}", visible(message))?;
        match (&self.place, &self.hint) {
            (None, None) => Ok(()),
            (None, Some(hint)) => write!(f, "\n  {GREEN}{}{GREEN:#}", visible(hint)),
            (Some(place), hint) => {
                // Tabs stay tabs before the caret, so that it stands below what it means.
                let lead: String = place
                    .source
                    .chars()
                    .take(place.column - 1)
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                let (source, carets) = (visible(&place.source), "^".repeat(place.width));
                write!(f, "\n{BLUE}{:>5} |{BLUE:#} {source}", place.line)?;
                write!(f, "\n{BLUE}      |{BLUE:#} {lead}{RED}{carets}{RED:#}")?;
                hint.as_ref().map_or(Ok(()), |h| write!(f, " {GREEN}{}{GREEN:#}", visible(h)))
            }
        }
    }
}

/// A file must not be able to speak to the terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters() {
        let source = Source { name: "x", text: "a = 1\r\nbé = \"\n\"\n" };
        let at = |span: Range<usize>| {
            let place = source.place(span);
            (place.line, place.column, place.source, place.width)
        };
        assert_eq!(at(0..1), (1, 1, "a = 1".to_owned(), 1));
        assert_eq!(at(7..10), (2, 1, "bé = \"".to_owned(), 2));
        assert_eq!(at(13..16), (2, 6, "bé = \"".to_owned(), 1), "the first line of several");
        assert_eq!(at(99..99).0, 4, "a span beyond the end is the end");
        assert_eq!(at(9..9), (2, 2, "bé = \"".to_owned(), 1), "inside a character");
    }
}
