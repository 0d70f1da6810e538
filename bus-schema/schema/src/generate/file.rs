//! The JSON Schema of a file of declarations, for editors.

use serde_json::{Map, Value, json};

use crate::program::ProgramSpec;

/// The key of a program whose table stands open in a section of an event listener.
const LISTENER: &str = "eventlistener";

/// The document.
pub(super) fn document() -> Value {
    let mut spec = schemars::schema_for!(ProgramSpec).to_value();
    let definitions = spec["$defs"].take();
    let program = match spec["properties"].take() {
        Value::Object(keys) => keys,
        _ => Map::new(),
    };
    let inside = definitions["EventListener"]["properties"].as_object().cloned();
    let mut listener = program.clone();
    listener.remove(LISTENER);
    listener.extend(inside.unwrap_or_default());
    let (program, listener) = (with_text_lists(program), with_text_lists(listener));
    let mut any = program.clone();
    any.extend(listener.clone());
    let defaults =
        section(&any, "What every program of this file has, and of those that it includes.");
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Programs",
        "description": "A file that dsbus apply reads.",
        "type": "object",
        "properties": {
            "include": {
                "description": "Files that are read, too, relative to this one; patterns have *, ? and [].",
                "type": ["string", "array"],
                "items": { "type": "string" }
            },
            "defaults": defaults,
            "template": sections(extending(any, &[]), "Keys of programs that extend it. Nothing runs of it."),
            "program": sections(extending(program, &["command"]), "A program."),
            "eventlistener": sections(
                extending(listener, &["command", "events"]),
                "An event listener of Supervisor's kind.",
            ),
        },
        "additionalProperties": false,
        "$defs": definitions,
    })
}

/// Lists may be text with commas.
fn with_text_lists(mut keys: Map<String, Value>) -> Map<String, Value> {
    for schema in keys.values_mut().filter(|schema| schema["type"] == "array") {
        schema["type"] = json!(["array", "string"]);
    }
    keys
}

fn section(keys: &Map<String, Value>, description: &str) -> Value {
    json!({
        "description": description,
        "type": "object",
        "properties": keys,
        "additionalProperties": false,
    })
}

/// Sections with names.
fn sections(mut one: Value, description: &str) -> Value {
    one["description"] = description.into();
    json!({ "type": "object", "additionalProperties": one })
}

/// A section that may extend another one, and needs these keys unless it does.
fn extending(mut keys: Map<String, Value>, required: &[&str]) -> Value {
    let extends = json!({
        "description": "A template or a program whose keys it has, too; its own win.",
        "type": "string"
    });
    keys.insert("extends".to_owned(), extends);
    let mut one = section(&keys, "");
    if !required.is_empty() {
        one["anyOf"] = json!([{ "required": ["extends"] }, { "required": required }]);
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_the_schema_says() {
        let schema = jsonschema::validator_for(&document()).unwrap();
        for file in [
            json!({ "program": { "web": { "command": "web", "environment": { "A": "b" } } } }),
            json!({ "include": ["conf.d/*.toml"], "program": {} }),
            json!({
                "defaults": { "user": "nobody", "events": "TICK_60" },
                "template": { "base": { "command": "x", "extends": "other" } },
                "program": { "web": { "extends": "base", "startsecs": "2s" } },
                "eventlistener": { "ear": { "command": "ear", "events": ["EVENT"] } }
            }),
        ] {
            let told: Vec<_> = schema.iter_errors(&file).map(|e| e.to_string()).collect();
            assert_eq!(told, Vec::<String>::new(), "{file}");
        }
        for wrong in [
            json!({ "program": { "web": { "comand": "web", "command": "web" } } }),
            json!({ "program": { "web": {} } }),
            json!({ "program": { "web": { "command": "x", "events": "EVENT" } } }),
            json!({ "eventlistener": { "ear": { "command": "x" } } }),
            json!({ "programs": {} }),
            json!({ "include": 5 }),
        ] {
            assert!(!schema.is_valid(&wrong), "{wrong}");
        }
    }
}
