//! What programs read is what docs/output.md says of it.

use std::path::Path;

use crate::fleet::Fleet;
use serde_json::Value;

/// The rows of the table: verb, what it prints, and the schema.
fn documented() -> Vec<(String, String, Option<String>)> {
    let page = include_str!("../../docs/output.md");
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() > 3);
    let rows = rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let schema = cells[2].split_once("](../").map(|(_, rest)| rest.trim_end_matches(')'));
        (cells[0].trim_matches('`').to_owned(), cells[1].to_owned(), schema.map(str::to_owned))
    });
    rows.collect()
}

/// A list of values, each of which has these fields.
fn must_have(what: &str, fields: &str, answer: &Value) {
    let one = std::slice::from_ref(answer);
    for value in answer.as_array().map_or(one, Vec::as_slice) {
        let names = fields.split('`').skip(1).step_by(2);
        let meant = names.filter(|name| *name != "spec" && *name != "because");
        for field in meant.take_while(|name| *name != "done" && *name != "status") {
            assert!(value.get(field).is_some(), "{what}: no {field} in {value}");
        }
    }
}

#[test]
fn every_documented_answer_has_its_shape() {
    let fleet = Fleet::start(1, 1);
    let file = fleet.file(
        "web.toml",
        "[program.web]\ncommand = \"sleep 1000\"\nstartsecs = 0\ngroup = \"shop\"\n",
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = 0;
    let mut rows = documented();
    // What is declared comes first.
    rows.sort_by_key(|(verb, ..)| !verb.starts_with("apply"));
    for (verb, prints, schema) in rows {
        let words = match verb.as_str() {
            "apply" | "apply --dry-run" => format!("{verb} {file}"),
            "pid" | "explain" | "history" | "describe" | "start" | "events" => {
                format!("{verb} web")
            }
            "signal" => "signal WINCH web".to_owned(),
            "cordon" => format!("{verb} w1"),
            "emit" => format!("{verb} deployed"),
            _ => verb.clone(),
        };
        let words: Vec<&str> = words.split(' ').chain(["-o", "json"]).collect();
        let answer = fleet.json(&words);
        match schema {
            Some(schema) => {
                let text = std::fs::read_to_string(root.join(&schema)).unwrap();
                let schema: Value = serde_json::from_str(&text).unwrap();
                let events = verb == "events";
                let all = answer.as_array().filter(|_| events).cloned().unwrap_or(vec![answer]);
                assert!(!all.is_empty());
                for answer in all {
                    let wrong = jsonschema::validate(&schema, &answer).err();
                    assert!(wrong.is_none(), "{verb}: {}: {answer}", wrong.unwrap());
                }
            }
            None => must_have(&verb, &prints, &answer),
        }
        seen += 1;
    }
    assert!(seen >= 15, "{seen} verbs are documented");
}
