//! The keys of a section, each with where it stands, so that what is inherited can be told where it
//! was written.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value};
use toml_edit::{Item, TableLike};

use super::value;

/// A place in one of several files: the file by number, and its bytes.
pub(super) type Place = (usize, Range<usize>);

/// The value of a key.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// The value.
    pub(super) value: Value,
    /// The section it stands in: `program.web`.
    pub(super) section: String,
    /// Where the key stands.
    pub(super) key: Place,
    /// Where the value stands.
    pub(super) at: Place,
    /// Of a table, where each key of it stands, and its value.
    inside: BTreeMap<String, (Place, Place)>,
}

impl Given {
    /// Where a key of the table stands.
    pub(super) fn inside(&self, key: &str) -> Option<&Place> {
        self.inside.get(key).map(|(key, _)| key)
    }

    /// Where a value of the table stands; the whole value where there is none of that key.
    pub(super) fn value_inside(&self, key: &str) -> &Place {
        self.inside.get(key).map_or(&self.at, |(_, value)| value)
    }
}

/// The keys of a section.
pub(super) type Keys = BTreeMap<String, Given>;

/// The key of a table that stands in `file`, which lies in `here`.
pub(super) fn given(
    (table, section): (&dyn TableLike, &str),
    (key, item): (&str, &Item),
    (file, here): (usize, &Path),
) -> Option<Given> {
    let place = |span| (file, span);
    let inner = item.as_table_like();
    let inside = inner.into_iter().flat_map(|inner| {
        inner.iter().map(move |(key, item)| {
            let places = (place(key_span(inner, key, item)), place(value_span(inner, key, item)));
            (key.to_owned(), places)
        })
    });
    Some(Given {
        value: with_here(value::json(item)?, here),
        section: section.to_owned(),
        key: place(key_span(table, key, item)),
        at: place(value_span(table, key, item)),
        inside: inside.collect(),
    })
}

/// Gives `own` what only `base` has; of two tables it has the keys of both.
pub(super) fn inherit(own: &mut Keys, base: &Keys, fits: impl Fn(&str) -> bool) {
    for (key, theirs) in base.iter().filter(|(key, _)| fits(key)) {
        let Some(mine) = own.get_mut(key) else {
            own.insert(key.clone(), theirs.clone());
            continue;
        };
        let (Value::Object(mine_table), Value::Object(table)) = (&mut mine.value, &theirs.value)
        else {
            continue;
        };
        for (inside, value) in table {
            if mine_table.contains_key(inside) {
                continue;
            }
            mine_table.insert(inside.clone(), value.clone());
            if let Some(places) = theirs.inside.get(inside) {
                mine.inside.insert(inside.clone(), places.clone());
            }
        }
    }
}

/// The values alone.
pub(super) fn values(keys: &Keys) -> Map<String, Value> {
    keys.iter().map(|(key, given)| (key.clone(), given.value.clone())).collect()
}

/// Puts the directory of the file where `%(here)s` stands: no worker knows that.
fn with_here(value: Value, here: &Path) -> Value {
    match value {
        Value::String(text) => Value::String(text_with_here(&text, here)),
        Value::Array(items) => items.into_iter().map(|item| with_here(item, here)).collect(),
        Value::Object(table) => {
            table.into_iter().map(|(key, value)| (key, with_here(value, here))).collect()
        }
        other => other,
    }
}

fn text_with_here(text: &str, here: &Path) -> String {
    let here = here.display().to_string().replace("%(", "%%(");
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("%(here)s") {
        out.push_str(before);
        // %%( is a literal %(
        out.push_str(if before.ends_with('%') { "%(here)s" } else { &here });
        rest = after;
    }
    out + rest
}

/// Where a key stands.
pub(crate) fn key_span(table: &dyn TableLike, key: &str, item: &Item) -> Range<usize> {
    table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span()).unwrap_or(0..0)
}

/// Where the value of a key stands; the key, where the value is a section of its own.
pub(crate) fn value_span(table: &dyn TableLike, key: &str, item: &Item) -> Range<usize> {
    match item {
        Item::Value(value) => value.span().unwrap_or_else(|| key_span(table, key, item)),
        _ => key_span(table, key, item),
    }
}
