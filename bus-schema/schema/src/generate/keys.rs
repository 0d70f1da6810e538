//! The reference of the keys of a program, for people.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::program::ProgramSpec;

const HEAD: &str = "\
# Keys of a program

Made from the types by `./run schemas`; the JSON Schema is part of [schemas/program.json](schemas/program.json).

Editors check files by [schemas/file.json](schemas/file.json), such as with a first line `#:schema PATH-OR-URL` (Taplo, Even Better TOML).

A declaration is a table `[program.NAME]` of a TOML file, or the options of `dsbus create NAME`, which have the same names.
Durations are seconds, or text such as `\"5s\"` and `\"1m 30s\"`; sizes are bytes, or text such as `\"50MB\"`. Lists may be text with commas.
`%(program_name)s`, `%(group_name)s`, `%(process_num)02d`, `%(numprocs)d`, `%(host_node_name)s`, `%(worker)s` and `%(ENV_X)s` (the variable `X`) are replaced in commands, paths, addresses and the values of `environment`; a literal `%(` is written `%%(`. In a file `%(here)s` is the directory of the file.
A file may `include = [\"conf.d/*.toml\"]`, have `[defaults]` for the programs of it and of those that it includes, and `[template.NAME]` sections of which nothing runs. `extends = \"NAME\"` gives a program the keys of a template or of another program. Its own keys win over those, and those over the defaults; of two tables it has the keys of both.

Names and defaults are Supervisor's where Supervisor has the key.

| key | default | what it does |
| --- | --- | --- |
";

const CHANGES: &str = "\
When a declaration is changed, running children go on with what only acts on them from outside, such as how they are stopped or where their output goes. These keys reach into the process, and a change of one restarts the program";

const TABLES: &[(&str, &str, &[&str])] = &[
    ("Questions", "`readiness` and `liveness` are tables of these keys:", &["readiness"]),
    (
        "Hooks",
        "`pre_start`, `post_start`, `pre_stop` and `post_stop` are a command, or a table of these keys. A hook finds in its environment what a child finds, and `DSBUS_HOOK`, and of the child that it is about `DSBUS_PID`, `DSBUS_EXIT_CODE` or `DSBUS_EXIT_SIGNAL`. What it starts ends with it:",
        &["pre_start"],
    ),
    (
        "Schedules",
        "`schedule` is a line of cron, or a table of these keys. Times are read on the clocks of the schedulers:",
        &["schedule"],
    ),
    (
        "Event listeners",
        "`eventlistener` is a table of these keys; in a file they may stand in a section `[eventlistener.NAME]`, beside those of a program, and `priority` is -1 there unless set. It needs a worker that can do this (`dsbus workers NAME` lists `eventlistener`):",
        &["eventlistener"],
    ),
    ("Limits", "`limits` is a table of these keys:", &["limits"]),
    ("Resources", "`resources` is a table of these keys:", &["resources"]),
    ("Update", "`update` is a table of these keys:", &["update"]),
];

/// What may be given for a key, to see what a change of it does.
const SAMPLES: &str = r#"[7, true, false, "x", "/x", "INT", "022", "tcp://:1", "unix:///x", "NET_RAW",
    "7:7", "exit", "oneshot", "@daily", "root", "0770", "realtime:1", "syslog", { "tcp": "a:1" }, { "pids": 7 },
    { "nofile": 7 }, { "A": "b" }, "pack", "stay", { "cpu": 1 },
    { "max_surge": 1 }, { "events": "EVENT" }]"#;

/// The document.
pub(super) fn document() -> String {
    let schema = schemars::schema_for!(ProgramSpec).to_value();
    let defaults = serde_json::to_value(ProgramSpec::default()).unwrap_or_default();
    let mut text = HEAD.to_owned();
    for key in ProgramSpec::keys() {
        let default = if key == "command" { &Value::Null } else { &defaults[key] };
        row(&mut text, key, default, &schema["properties"][key]);
    }
    let keys = ProgramSpec::keys().iter().map(String::as_str);
    let anew: Vec<&str> = keys.filter(|key| needs_a_new_child(key) == Some(true)).collect();
    // Writing to text cannot fail.
    let _ = write!(text, "\n## Changes\n\n{CHANGES}: `{}`.\n", anew.join("`, `"));
    for (title, words, keys) in TABLES {
        let _ = write!(
            text,
            "\n## {title}\n\n{words}\n\n| key | default | what it does |\n| --- | --- | --- |\n"
        );
        for key in *keys {
            let inside = inside(&schema, &schema["properties"][*key]);
            for (name, property) in &inside {
                row(&mut text, name, &property["default"], property);
            }
        }
    }
    text
}

/// Whether a child of a program has to be replaced when only this key is changed; `None` when no
/// sample is a value of it.
fn needs_a_new_child(key: &str) -> Option<bool> {
    let base = json!({ "command": ["true"], "process_name": "p%(process_num)d", "daemon": key == "pidfile" });
    let read = |table: &Value| serde_json::from_value::<ProgramSpec>(table.clone()).ok();
    let plain = read(&base)?;
    let samples: Vec<Value> = serde_json::from_str(SAMPLES).ok()?;
    let changed = samples.into_iter().filter_map(|sample| {
        let mut table = base.clone();
        table[key] = sample;
        read(&table).filter(|spec| *spec != plain)
    });
    changed.map(|spec| !spec.same_child(&plain)).next()
}

fn row(text: &mut String, key: &str, default: &Value, property: &Value) {
    let what = property["description"].as_str().unwrap_or_default();
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let _ = writeln!(text, "| `{key}` | {} | {what} |", shown(default));
}

fn shown(default: &Value) -> String {
    match default {
        Value::Null => String::new(),
        Value::Array(items) if items.is_empty() => String::new(),
        Value::Object(map) if map.is_empty() => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// The properties of the table that a key may be.
fn inside(whole: &Value, schema: &Value) -> Map<String, Value> {
    if let Some(pointer) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        return whole.pointer(pointer).map(|part| inside(whole, part)).unwrap_or_default();
    }
    let mut found = schema["properties"].as_object().cloned().unwrap_or_default();
    for part in ["anyOf", "oneOf"].iter().filter_map(|form| schema[*form].as_array()).flatten() {
        found.extend(inside(whole, part));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_row_that_says_something() {
        let document = document();
        for key in ProgramSpec::keys() {
            let line = document.lines().find(|line| line.starts_with(&format!("| `{key}` |")));
            let line = line.unwrap_or_else(|| panic!("{key} has no row"));
            assert!(line.len() > key.len() + 20, "{line}");
            assert!(needs_a_new_child(key).is_some(), "{key} needs a sample");
        }
        for row in ["| `startsecs` | `1s` |", "| `exec` |", "| `memory` |", "| `timeout` |"] {
            assert!(document.contains(row), "{row}");
        }
    }
}
