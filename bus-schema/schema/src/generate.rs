//! Documents generated from the types, so that programs in other languages can speak on the bus:
//! one JSON Schema per message, and an AsyncAPI document that says which message goes where;
//! and for people the keys of a program, the events, and everything else that is on the bus.
//!
//! They are checked in; a tidy test fails when they are stale, and
//! `./run schemas` writes them anew.

mod asyncapi;
mod bus;
mod channels;
mod events;
mod examples;
mod fields;
mod file;
mod keys;
mod messages;
mod verbs;
mod wrap;

use serde_json::Value;

pub use examples::{Examples, Exchange, Kept, UNRECORDED, Unrecorded, event_path};
pub use verbs::{call_messages, messages as command_messages};

/// Every generated document: its path in the repository, and its text.
pub fn documents(examples: &Examples) -> Vec<(String, String)> {
    let mut documents: Vec<_> = messages::MESSAGES
        .iter()
        .map(|message| {
            (format!("bus-schema/schemas/{}.json", message.name), pretty(message.schema()))
        })
        .collect();
    documents.push(("bus-schema/schemas/file.json".to_owned(), pretty(file::document())));
    documents.push(("bus-schema/asyncapi.json".to_owned(), pretty(asyncapi::document(examples))));
    documents.push(("bus-schema/program.md".to_owned(), keys::document()));
    documents.push(("docs/events.md".to_owned(), events::document(examples)));
    documents.push(("docs/bus.md".to_owned(), bus::document(examples)));
    documents
}

fn pretty(mut document: Value) -> String {
    without_links(&mut document);
    // The alternate form of a JSON value is indented, and cannot fail.
    format!("{document:#}\n")
}

/// Writes rustdoc's links as plain names: they lead nowhere for a reader of JSON.
pub fn without_links(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("[`") => *text = plain(text),
        Value::Array(items) => items.iter_mut().for_each(without_links),
        Value::Object(map) => map.values_mut().for_each(without_links),
        _ => {}
    }
}

fn plain(text: &str) -> String {
    let Some((before, parts)) = text.split_once("[`") else { return text.to_owned() };
    parts.split("[`").fold(before.to_owned(), |plain, part| {
        let (link, rest) = part.split_once("`]").unwrap_or((part, ""));
        let path = link.strip_prefix("crate::").and_then(|path| path.split_once("::"));
        let name = path.map_or(link, |(_, name)| name).replace("::", ".");
        format!("{plain}`{name}`{rest}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let all = documents(&Examples::default());
        for (path, text) in all.into_iter().filter(|(_, text)| text.starts_with('{')) {
            let document: Value = serde_json::from_str(&text).unwrap();
            for reference in references(&document) {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{path}: {reference}");
            }
        }
    }

    #[test]
    fn links_become_names() {
        assert_eq!(plain("See [`crate::touch::Touch::boot`]."), "See `Touch.boot`.");
        assert_eq!(plain("at most [`MAX`]; else [`code`]"), "at most `MAX`; else `code`");
    }

    #[test]
    fn no_marker_is_left_in_an_address() {
        for (path, text) in documents(&Examples::default()) {
            assert!(!text.contains("X-"), "{path} has a name that was to be replaced");
            assert!(
                path != "bus-schema/asyncapi.json" || text.contains("cmd.{user}.apply"),
                "{path} is empty"
            );
        }
    }

    fn references(value: &Value) -> Vec<String> {
        match value {
            Value::Array(items) => items.iter().flat_map(references).collect(),
            Value::Object(map) => map
                .iter()
                .flat_map(|(key, value)| match value.as_str() {
                    Some(text) if key == "$ref" => vec![text.to_owned()],
                    _ => references(value),
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}
