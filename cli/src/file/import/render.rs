//! Declarations as the text of a TOML file.

use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table};

use super::{Declared, Imported, keys};

/// Longest list or table that stands on one line.
const LINE_MAX: usize = 100;

/// The text.
pub(super) fn text(imported: &Imported) -> String {
    let mut document = DocumentMut::new();
    for program in &imported.programs {
        add(&mut document, program);
    }
    let mut text = format!("# Made from {} by dsbus import.\n\n", imported.name);
    text.push_str(&document.to_string());
    let mut worker = DocumentMut::new();
    for (key, value) in &imported.worker {
        if !keys::INHERITED.contains(&key.as_str()) {
            worker.insert(key, item(value));
        }
    }
    if !worker.is_empty() {
        text.push_str("\n# What [supervisord] says of itself is a worker's, in its worker.toml:\n");
        for line in worker.to_string().lines() {
            text.extend(["# ", line, "\n"]);
        }
    }
    text
}

fn add(document: &mut DocumentMut, program: &Declared) {
    let sections = document.entry(program.section.name()).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let mut table = Table::new();
    let mut keys: Vec<(&String, &Value)> = program.keys.iter().collect();
    keys.sort_by_key(|(key, _)| keys::rank(key));
    for (key, value) in keys {
        table.insert(key, item(value));
    }
    if let Some(sections) = sections.as_table_mut() {
        if !sections.is_empty() {
            table.decor_mut().set_prefix("\n");
        }
        sections.insert(program.name.as_str(), Item::Table(table));
    }
}

fn item(json: &Value) -> Item {
    Item::Value(toml(json))
}

fn toml(json: &Value) -> toml_edit::Value {
    match json {
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::Array(items) => {
            let mut array: Array = items.iter().map(toml).collect();
            if array.to_string().len() > LINE_MAX {
                array.iter_mut().for_each(|item| item.decor_mut().set_prefix("\n    "));
                array.set_trailing("\n");
                array.set_trailing_comma(true);
            }
            array.into()
        }
        Value::Object(pairs) => inline(pairs).into(),
        Value::String(text) => text.as_str().into(),
        Value::Null => "".into(),
    }
}

fn inline(pairs: &Map<String, Value>) -> InlineTable {
    let mut table = InlineTable::new();
    for (key, json) in pairs {
        table.insert(key, toml(json));
    }
    table
}
