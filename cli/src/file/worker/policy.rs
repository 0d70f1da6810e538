//! Where the keys of a policy stand, and what is wrong with each.

use std::collections::BTreeMap;

use dsbus_supervisor::policy::Policy;
use serde_json::{Map, Value};

use super::{Found, Span};
use crate::file::diagnostic::{Diagnostic, Source};
use crate::file::keys::{key_span, value_span};
use crate::file::value;

impl Found {
    /// Reads each key of `policy` by itself, so that a mistake is told where it stands.
    pub(super) fn read_policy(&mut self, source: &Source<'_>, item: &toml_edit::Item) {
        let Some(table) = item.as_table_like() else { return };
        self.note_inside(table, "");
        for (key, item) in table.iter() {
            let Some(value) = value::json(item) else { continue };
            let alone = Value::Object(Map::from_iter([(key.to_owned(), value)]));
            if let Err(e) = serde_json::from_value::<Policy>(alone) {
                let span = value_span(table, key, item);
                let diagnostic = Diagnostic::at(source, span, e.to_string());
                self.diagnostics.push(diagnostic.key(format!("policy.{key}")));
            }
        }
    }

    /// Where the keys of a table stand, and those of the tables in it.
    fn note_inside(&mut self, table: &dyn toml_edit::TableLike, before: &str) {
        for (key, item) in table.iter() {
            let span =
                Span { key: key_span(table, key, item), value: value_span(table, key, item) };
            self.inside.insert(format!("{before}{key}"), span);
            if let Some(table) = item.as_table_like() {
                self.note_inside(table, &format!("{before}{key}."));
            }
        }
    }

    /// The lines of what stands in `policy`.
    pub(super) fn policy_lines(&self, source: &Source<'_>) -> BTreeMap<String, usize> {
        let inside =
            self.inside.iter().map(|(key, span)| (key, source.place(span.key.clone()).line));
        inside.map(|(key, line)| (key.clone(), line)).collect()
    }
}
