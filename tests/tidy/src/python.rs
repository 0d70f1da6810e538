//! The types of Python's client: commands, their answers, and events, as `TypedDict`s.
//!
//! One class per object, one name per other schema. Names stand in quotes where they may be of a
//! type further down, and `NotRequired` is for type checkers only: at run time every message is the
//! `dict` that its JSON is.

use std::collections::{BTreeMap, BTreeSet};

use dsbus_schema::command::Verb;
use dsbus_schema::generate::command_messages;
use serde_json::{Map, Value};

/// Where it is, from the root of the repository.
pub const PATH: &str = "clients/python/src/dsbus/types.py";

/// Width of a line.
const WIDTH: usize = 96;

const HEAD: &str = r#""""What is said on the bus, as types.

Made from dsbus's own types by `./run schemas`: do not edit. A message is the `dict` that its JSON
is; unknown keys may come with a newer fleet. What each key means is also in docs/bus.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Optional, TypedDict, Union

if TYPE_CHECKING:
    from typing_extensions import NotRequired
"#;

/// The module, made of the schemas: the text of each by its name.
pub fn module(schemas: &BTreeMap<&str, &str>) -> String {
    let mut types = Types::default();
    types.collect(schemas);
    let mut text = HEAD.to_owned();
    while let Some((name, schema)) = types.waiting.pop_first() {
        let written = types.written(&name, &schema);
        types.done.insert(name, written);
    }
    let mut class_before = true;
    for written in types.done.values() {
        let class = written.starts_with("class ");
        text.push_str(if class || class_before { "\n\n" } else { "\n" });
        text.push_str(written);
        class_before = class;
    }
    text
}

#[derive(Default)]
struct Types {
    waiting: BTreeMap<String, Value>,
    done: BTreeMap<String, String>,
    /// The `kind` that says which of several facts one is.
    kinds: BTreeMap<String, Value>,
}

impl Types {
    /// Every schema that commands, answers and events need.
    fn collect(&mut self, schemas: &BTreeMap<&str, &str>) {
        let said: BTreeSet<&str> = Verb::ALL
            .iter()
            .flat_map(|verb| <[_; 2]>::from(command_messages(*verb)))
            .chain(["event", "refused"])
            .collect();
        for text in said.iter().filter_map(|name| schemas.get(name)) {
            let mut schema: Value = serde_json::from_str(text).unwrap_or_default();
            if let Some(Value::Object(parts)) = schema.get_mut("$defs").map(Value::take) {
                self.waiting.extend(parts);
            }
            // A list of rows is no type of its own.
            if schema["type"] == "object" {
                let title = schema["title"].as_str().unwrap_or_default().to_owned();
                self.waiting.insert(title, schema);
            }
        }
        let variants = self.waiting.values().filter_map(|schema| schema["oneOf"].as_array());
        self.kinds = variants
            .flatten()
            .filter_map(|one| Some((referred(one)?, one.pointer("/properties/kind")?.clone())))
            .collect();
    }

    fn written(&mut self, name: &str, schema: &Value) -> String {
        let about = schema["description"].as_str().unwrap_or_default();
        let Some(fields) = schema["properties"].as_object() else {
            let hint = self.hint(schema, name);
            // A name alone would be text, and no type.
            let hint = if hint.starts_with('<') { format!("Union[{hint}]") } else { hint };
            let whole = format!("{name} = {}", hint.replace(['<', '>'], "\""));
            return format!("{}{}\n", comment(about, ""), wrapped(&whole));
        };
        let mut fields = fields.clone();
        let mut required: BTreeSet<String> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .collect();
        if let Some(kind) = self.kinds.get(name) {
            fields.insert("kind".to_owned(), kind.clone());
            required.insert("kind".to_owned());
        }
        self.class(name, about, &fields, &required)
    }

    fn class(
        &mut self,
        name: &str,
        about: &str,
        fields: &Map<String, Value>,
        required: &BTreeSet<String>,
    ) -> String {
        let mut lines = String::new();
        // A key that is a word of Python's cannot be a field of a class.
        let table = fields.keys().any(|key| KEYWORDS.contains(&key.as_str()));
        for (key, schema) in fields {
            let hint = self.hint(schema, &format!("{name}{}", camel(key)));
            let hint = hint.replace(['<', '>'], "");
            let hint = if required.contains(key) { hint } else { format!("NotRequired[{hint}]") };
            let about = schema["description"].as_str().unwrap_or_default();
            let (indent, field) = if table {
                ("        ", format!("\"{key}\": {},", text(&hint)))
            } else {
                ("    ", format!("{key}: {hint}"))
            };
            lines.extend([&comment(about, indent), indent, &field, "\n"]);
        }
        if table {
            let about = comment(about, "");
            return format!(
                "{about}{name} = TypedDict(\n    \"{name}\",\n    {{\n{lines}    }},\n)\n"
            );
        }
        let body = if lines.is_empty() { "    pass\n".to_owned() } else { lines };
        format!("class {name}(TypedDict):\n{}{body}", docstring(about))
    }

    /// The type of what a schema describes, with names of other types as `<Name>`; an object that has
    /// no name yet is given this one.
    fn hint(&mut self, schema: &Value, name: &str) -> String {
        if let Some(name) = referred(schema) {
            return format!("<{name}>");
        }
        if let Some(value) = schema.get("const") {
            return format!("Literal[{}]", literal(value));
        }
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<String> = values.iter().map(literal).collect();
            return format!("Literal[{}]", values.join(", "));
        }
        if let Some(variants) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            let hints = variants.iter().map(|one| self.variant(one, name)).collect();
            return union(hints);
        }
        match &schema["type"] {
            Value::String(kind) => self.plain(kind, schema, name),
            Value::Array(kinds) => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                let hints = kinds.map(|kind| self.plain(kind, schema, name)).collect();
                union(hints)
            }
            _ => "Any".to_owned(),
        }
    }

    /// One of several: an object without a name is called by what it must have.
    fn variant(&mut self, schema: &Value, name: &str) -> String {
        let must = schema["required"].as_array().and_then(|keys| keys.first()?.as_str());
        let name = must.map_or_else(|| name.to_owned(), |key| format!("{name}{}", camel(key)));
        self.hint(schema, &name)
    }

    fn plain(&mut self, kind: &str, schema: &Value, name: &str) -> String {
        match kind {
            "string" => "str".to_owned(),
            "integer" => "int".to_owned(),
            "number" => "float".to_owned(),
            "boolean" => "bool".to_owned(),
            "null" => "None".to_owned(),
            "array" => format!("List[{}]", self.hint(&schema["items"], name)),
            "object" if schema["properties"].is_object() => {
                if !self.done.contains_key(name) {
                    self.waiting.insert(name.to_owned(), schema.clone());
                }
                format!("<{name}>")
            }
            "object" => {
                let patterns = schema["patternProperties"].as_object();
                let pattern = patterns.and_then(|patterns| patterns.values().next());
                let value = pattern.unwrap_or(&schema["additionalProperties"]);
                format!("Dict[str, {}]", self.hint(value, name))
            }
            _ => "Any".to_owned(),
        }
    }
}

/// The name of the schema that this one is.
fn referred(schema: &Value) -> Option<String> {
    schema["$ref"].as_str()?.strip_prefix("#/$defs/").map(str::to_owned)
}

/// `Union` of what is not said twice; several values are one `Literal`.
fn union(hints: Vec<String>) -> String {
    let (mut values, mut types, mut none) = (Vec::new(), Vec::new(), false);
    for hint in hints {
        match hint.strip_prefix("Literal[").and_then(|rest| rest.strip_suffix(']')) {
            Some(value) => values.push(value.to_owned()),
            None if hint == "None" => none = true,
            None if types.contains(&hint) => {}
            None => types.push(hint),
        }
    }
    if !values.is_empty() {
        types.push(format!("Literal[{}]", values.join(", ")));
    }
    let whole = match types.as_slice() {
        [one] => one.clone(),
        several => format!("Union[{}]", several.join(", ")),
    };
    if none { format!("Optional[{whole}]") } else { whole }
}

/// A type in quotes.
fn text(hint: &str) -> String {
    let quote = if hint.contains('"') { '\'' } else { '"' };
    format!("{quote}{hint}{quote}")
}

fn literal(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        other => other.to_string(),
    }
}

fn camel(key: &str) -> String {
    let upper = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| {
            format!("{}{}", first.to_ascii_uppercase(), letters.as_str())
        })
    };
    key.split('_').map(upper).collect()
}

/// Words of Python's that are keys of messages.
const KEYWORDS: &[&str] = &["from", "in", "is", "not", "and", "or", "with", "as", "class", "for"];

fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().map(|line| {
            if line.is_empty() {
                line.push_str(word);
                return true;
            }
            let fits = line.chars().count() + 1 + word.chars().count() <= width;
            if fits {
                line.push(' ');
                line.push_str(word);
            }
            fits
        });
        if last == Some(false) {
            lines.push(word.to_owned());
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn comment(text: &str, indent: &str) -> String {
    let width = WIDTH - indent.len() - 2;
    let start = format!("{indent}# ");
    lines(text, width).iter().flat_map(|line| [start.as_str(), line, "\n"]).collect()
}

fn docstring(text: &str) -> String {
    let lines = lines(text, WIDTH - 10);
    if lines.is_empty() {
        return String::new();
    }
    // A backslash in a sentence is a backslash.
    let raw = if text.contains('\\') { "r" } else { "" };
    format!("    {raw}\"\"\"{}\"\"\"\n\n", lines.join("\n    "))
}

/// A definition, with one part of a long union on each line.
fn wrapped(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    let Some((start, rest)) = line.split_once('[') else { return line.to_owned() };
    let Some(inside) = rest.strip_suffix(']') else { return line.to_owned() };
    let mut depth = 0;
    let mut text = format!("{start}[\n    ");
    for letter in inside.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        text.push(letter);
        if letter == ',' && depth == 0 {
            text.push_str("\n   ");
        }
    }
    format!("{text},\n]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hint(schema: &Value) -> String {
        Types::default().hint(schema, "Name")
    }

    #[test]
    fn each_kind_of_schema_has_its_type() {
        for (schema, wanted) in [
            (json!({ "type": "string", "pattern": "x" }), "str"),
            (json!({ "type": ["integer", "null"] }), "Optional[int]"),
            (json!({ "type": "array", "items": { "$ref": "#/$defs/Row" } }), "List[<Row>]"),
            (
                json!({ "enum": [true, false, "unexpected"] }),
                "Literal[True, False, \"unexpected\"]",
            ),
            (json!({ "oneOf": [{ "const": "a" }, { "const": "b" }] }), "Literal[\"a\", \"b\"]"),
            (
                json!({ "anyOf": [{ "type": "integer" }, { "const": "infinite" }] }),
                "Union[int, Literal[\"infinite\"]]",
            ),
            (json!({ "type": "object", "additionalProperties": true }), "Dict[str, Any]"),
            (
                json!({ "type": "object", "patternProperties": { "x": { "type": "number" } } }),
                "Dict[str, float]",
            ),
            (json!(true), "Any"),
        ] {
            assert_eq!(hint(&schema), wanted, "{schema}");
        }
    }

    #[test]
    fn an_object_without_a_name_gets_one() {
        let mut types = Types::default();
        let table = json!({ "type": "object", "required": ["file"],
            "properties": { "file": { "type": "string" } } });
        let schema = json!({ "anyOf": [{ "type": "string" }, table] });
        assert_eq!(types.hint(&schema, "Value"), "Union[str, <ValueFile>]");
        assert!(types.waiting.contains_key("ValueFile"));
    }

    #[test]
    fn keywords_and_facts_are_written_so_that_python_reads_them() {
        let fact = r##"{ "type": "object", "title": "Event", "properties": { "data": { "$ref": "#/$defs/Fact" } },
            "$defs": {
                "Fact": { "oneOf": [{ "$ref": "#/$defs/ProcessFact",
                    "properties": { "kind": { "const": "process" } }, "required": ["kind"] }] },
                "ProcessFact": { "type": "object", "required": ["from"],
                    "properties": { "from": { "$ref": "#/$defs/State" } } },
                "State": { "type": "string" } } }"##;
        let text = module(&BTreeMap::from([("event", fact)]));
        assert!(text.contains("\"from\": \"State\""), "{text}");
        assert!(text.contains("\"kind\": 'Literal[\"process\"]'"), "{text}");
    }
}
