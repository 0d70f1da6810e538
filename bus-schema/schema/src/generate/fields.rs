//! The fields of a message as rows of a table, read from its JSON Schema.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Values of an enumeration that are listed; a longer one is described elsewhere.
const VALUES_MAX: usize = 8;

/// Rows for each property of an object, those of objects inside included. `leave` are not shown.
pub(super) fn rows(root: &Value, object: &Value, leave: &[&str]) -> String {
    let mut text = "| field | is | what it says |\n| --- | --- | --- |\n".to_owned();
    below(root, object, "", leave, &mut text);
    text
}

fn below(root: &Value, object: &Value, prefix: &str, leave: &[&str], text: &mut String) {
    let object = resolve(root, object);
    let Some(properties) = object["properties"].as_object() else { return };
    for (name, property) in properties.iter().filter(|(name, _)| !leave.contains(&name.as_str())) {
        let (inner, nullable) = inner(root, property);
        let kind = kind(&inner);
        let or = if nullable { " or null" } else { "" };
        let about = [property, &inner]
            .iter()
            .find_map(|schema| schema["description"].as_str())
            .unwrap_or_default();
        let values = values(&inner);
        let values = if values.is_empty() || values.len() > VALUES_MAX {
            String::new()
        } else {
            format!(" One of `{}`.", values.join("`, `"))
        };
        let about = super::plain(&about.split_whitespace().collect::<Vec<_>>().join(" "));
        // Writing to text cannot fail.
        let _ = writeln!(
            text,
            "| `{prefix}{name}` | {kind}{or} | {}{values} |",
            about.replace('|', "\\|")
        );
        if kind == "object" {
            below(root, &inner, &format!("{prefix}{name}."), &[], text);
        }
    }
}

/// The schema that a reference leads to.
pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let found = schema["$ref"].as_str().and_then(|path| root.pointer(path.strip_prefix('#')?));
    found.unwrap_or(schema)
}

/// What a property is, and whether it may be null.
fn inner(root: &Value, property: &Value) -> (Value, bool) {
    let mut nullable = false;
    let mut schema = property;
    if let Some(parts) = property["anyOf"].as_array() {
        nullable = parts.iter().any(|part| part["type"] == "null");
        schema = parts.iter().find(|part| part["type"] != "null").unwrap_or(property);
    }
    let types = property["type"].as_array();
    nullable |= types.is_some_and(|types| types.iter().any(|kind| kind == "null"));
    (resolve(root, schema).clone(), nullable)
}

fn kind(schema: &Value) -> &'static str {
    let named = |schema: &Value| match &schema["type"] {
        Value::String(name) => Some(name.clone()),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").map(str::to_owned)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    match (named(schema).as_deref(), schema["format"].as_str()) {
        (Some("string"), Some("uuid")) => "UUID",
        (Some("string"), Some("date-time")) => "time (RFC 3339, UTC)",
        (Some("string"), _) => "text",
        (Some("integer"), _) => "whole number",
        (Some("number"), _) => "number",
        (Some("boolean"), _) => "true or false",
        (Some("array"), _) => "list",
        (Some("object"), _) => "object",
        // Enumerations list their values.
        (_, _) if !values(schema).is_empty() => "text",
        (_, _) => "value",
    }
}

/// The values of an enumeration.
fn values(schema: &Value) -> Vec<String> {
    let of = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(all) = schema["enum"].as_array() {
        return all.iter().filter_map(of).collect();
    }
    let parts = schema["oneOf"].as_array().into_iter().flatten();
    parts
        .flat_map(|part| match part["enum"].as_array() {
            Some(all) => all.iter().filter_map(of).collect::<Vec<_>>(),
            None => of(&part["const"]).into_iter().collect(),
        })
        .collect()
}

/// The properties that a kind of facts adds to its struct; see [`crate::event::Fact`].
pub(super) fn fact<'a>(
    root: &'a Value,
    facts: &'a Value,
    kind: &str,
) -> Option<&'a Map<String, Value>> {
    let facts = resolve(root, facts)["oneOf"].as_array()?;
    let fact = facts.iter().find(|fact| fact["properties"]["kind"]["const"] == kind)?;
    fact.as_object()
}
