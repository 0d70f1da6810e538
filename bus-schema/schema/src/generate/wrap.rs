//! JSON for people: as few lines as fit.

use std::fmt::Write;
use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// Width of a line of JSON.
const WIDTH: usize = 116;
/// Most items of a list that are shown; a longer one is cut, and says so.
const ITEMS_MAX: usize = 4;

/// A value in lines that are filled with its fields or items, in their order.
pub(super) fn filled(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Spaced::default());
    // Nothing of ours fails to be written to memory.
    let _ = value.serialize(&mut serializer);
    let text = String::from_utf8(bytes).unwrap_or_default();
    let mut page = Page::default();
    page.fill(&text, 1);
    page.text
}

/// Where a line may end at each depth of the value: characters that stand in no JSON.
const BREAKS: [char; 6] = ['\u{1}', '\u{2}', '\u{3}', '\u{4}', '\u{5}', '\u{6}'];

fn mark(depth: usize) -> char {
    BREAKS[depth.clamp(1, BREAKS.len()) - 1]
}

#[derive(Default)]
struct Page {
    text: String,
    width: usize,
}

impl Page {
    /// Adds the fields of a value at this depth; one that is too long for a line is filled in turn.
    fn fill(&mut self, value: &str, depth: usize) {
        for field in value.split(mark(depth)) {
            let letters = field.chars().count();
            if self.width > 0 && self.width + 1 + letters > WIDTH && depth > 0 {
                let indent = 2 * depth;
                // The first field of a value stays beside its name.
                if !self.text.ends_with(['{', '[', ' ']) {
                    let _ = write!(self.text, "\n{:indent$}", "");
                    self.width = indent;
                }
            } else if self.width > 0 && !self.text.ends_with(' ') {
                self.text.push(' ');
                self.width += 1;
            }
            if self.width + letters > WIDTH && depth < BREAKS.len() {
                self.fill(field, depth + 1);
            } else {
                self.text.push_str(&field.replace(BREAKS, " "));
                self.width += letters;
            }
        }
    }
}

/// JSON with spaces, and with a mark after each field.
#[derive(Default)]
struct Spaced {
    depth: usize,
    empty: bool,
}

impl Spaced {
    fn separate<W: io::Write + ?Sized>(&self, to: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { write!(to, ",{}", mark(self.depth)) }
    }

    fn open<W: io::Write + ?Sized>(&mut self, to: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.empty = true;
        to.write_all(bracket)
    }
}

impl Formatter for Spaced {
    fn begin_object<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.open(to, b"{")
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.empty = false;
        if first { to.write_all(b" ") } else { self.separate(to, first) }
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth -= 1;
        let end: &[u8] = if self.empty { b"}" } else { b" }" };
        self.empty = false;
        to.write_all(end)
    }

    fn begin_array<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.open(to, b"[")
    }

    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.empty = false;
        self.separate(to, first)
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth -= 1;
        self.empty = false;
        to.write_all(b"]")
    }
}

/// The same with long lists cut.
pub(super) fn cut(value: &mut Value) {
    match value {
        Value::Array(items) => {
            if items.len() > ITEMS_MAX {
                let left = items.len() - ITEMS_MAX + 1;
                items.truncate(ITEMS_MAX - 1);
                items.push(Value::from(format!("... and {left} more")));
            }
            items.iter_mut().for_each(cut);
        }
        Value::Object(map) => map.values_mut().for_each(cut),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrapped_is_the_same_json() {
        for value in [
            json!({}),
            json!([]),
            json!({ "a": 1, "b": { "c": [1, 2, { "d": "x [ ] \u{1} y" }], "e": {} }, "f": [[], {}] }),
            json!([{ "a": "one" }, { "b": "two" }]),
            json!("text"),
            json!({ "long": "x".repeat(200), "more": ["y".repeat(100), "z".repeat(100)] }),
            json!({ "deep": { "long": "x".repeat(100), "more": { "a": "y".repeat(100), "b": 2 } } }),
            json!([[[[[[[["x".repeat(100), "y".repeat(100)]]]]]]]]),
        ] {
            let text = filled(&value);
            let read: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(read, value);
        }
        let text = filled(&json!({ "a": 1, "b": { "c": [], "d": {} }, "e": "x".repeat(110) }));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], r#"{ "a": 1, "b": { "c": [], "d": {} },"#);
        assert!(lines[1].starts_with("  \"e\": \"xxx") && lines[1].ends_with("xx\" }"), "{text}");
    }

    #[test]
    fn long_lists_are_cut() {
        let mut long = json!({ "a": [1, 2, 3, 4, 5, 6], "b": [1, 2, 3, 4] });
        cut(&mut long);
        assert_eq!(long, json!({ "a": [1, 2, 3, "... and 3 more"], "b": [1, 2, 3, 4] }));
    }
}
