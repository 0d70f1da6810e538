//! Declarations as the text of a TOML file.

use std::collections::BTreeMap;

use dsbus_schema::ids::ProgramName;
use dsbus_schema::program::ProgramSpec;
use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table};

use super::import::{INHERITED, Imported, STDIN, rank};
use super::read::DEFAULTS;
use super::section::Section;

/// Longest list or table that stands on one line.
const LINE_MAX: usize = 100;

/// What was made of a configuration of Supervisor.
pub(super) fn imported(imported: &Imported) -> String {
    let mut document = DocumentMut::new();
    let has_input = |keys: &Map<String, Value>| keys.get(STDIN) == Some(&Value::Bool(true));
    // What all of them have is said once.
    let common =
        imported.programs.len() > 1 && imported.programs.iter().all(|p| has_input(&p.keys));
    if common {
        document.insert(DEFAULTS, Item::Table(Table::from_iter([(STDIN, true)])));
    }
    for program in &imported.programs {
        let mut keys = program.keys.clone();
        if common {
            keys.remove(STDIN);
        }
        add(&mut document, program.section, &program.name, &keys);
    }
    let mut text = format!("# Made from {} by dsbus import.\n\n", imported.name);
    text.push_str(&document.to_string());
    let mut worker = DocumentMut::new();
    for (key, value) in &imported.worker {
        if !INHERITED.contains(&key.as_str()) {
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

/// Keys by which others have other defaults.
const DECIDING: [&str; 4] = ["command", "kind", "schedule", "exclusive"];

/// Programs as they are declared now; what is a default is left out.
pub(crate) fn declared(programs: &BTreeMap<ProgramName, ProgramSpec>) -> String {
    let first = as_keys(&ProgramSpec::default());
    let mut document = DocumentMut::new();
    for (name, spec) in programs {
        let mut keys = as_keys(spec);
        keys.retain(|_, value| !value.is_null());
        let decides = |key: &str| DECIDING.contains(&key);
        let deciding = keys.clone().into_iter().filter(|(key, _)| decides(key)).collect();
        let defaults = ProgramSpec::read(&deciding).map_or_else(|_| first.clone(), |s| as_keys(&s));
        keys.retain(|key, value| {
            let default = if decides(key) { first.get(key) } else { defaults.get(key) };
            default != Some(value)
        });
        add(&mut document, Section::Program, name, &keys);
    }
    document.to_string()
}

fn as_keys(spec: &ProgramSpec) -> Map<String, Value> {
    match serde_json::to_value(spec) {
        Ok(Value::Object(keys)) => keys,
        _ => Map::new(),
    }
}

fn add(
    document: &mut DocumentMut,
    section: Section,
    name: &ProgramName,
    keys: &Map<String, Value>,
) {
    let sections = document.entry(section.name()).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let mut table = Table::new();
    let mut keys: Vec<(&String, &Value)> = keys.iter().collect();
    keys.sort_by_key(|(key, _)| rank(key));
    for (key, value) in keys {
        table.insert(key, item(value));
    }
    if let Some(sections) = sections.as_table_mut() {
        if !sections.is_empty() {
            table.decor_mut().set_prefix("\n");
        }
        sections.insert(name.as_str(), Item::Table(table));
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
    // TOML has no null.
    for (key, json) in pairs.iter().filter(|(_, json)| !json.is_null()) {
        table.insert(key, toml(json));
    }
    table
}
