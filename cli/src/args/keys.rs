//! Keys of a program as options of `create` and `run`.

use clap::ArgAction;
use dsbus_schema::program::ProgramSpec;
use serde_json::{Map, Value};

use super::RUN_DEFAULTS;
use crate::file;

/// The keys that are options; the command has its own place.
pub(super) fn all() -> impl Iterator<Item = String> {
    ProgramSpec::keys().iter().filter(|key| *key != "command").cloned()
}

/// Adds them to the verbs that have them.
pub(super) fn add_to(command: clap::Command) -> clap::Command {
    command
        .mut_subcommand("create", |create| add(create, &[]))
        .mut_subcommand("run", |run| add(run, &RUN_DEFAULTS))
}

/// Adds every key of a program as an option, so that a slip is answered as one.
/// Some have another default than in a file.
fn add(verb: clap::Command, others: &[(&str, &str)]) -> clap::Command {
    let default = serde_json::to_value(ProgramSpec::default()).unwrap_or_default();
    // The descriptions are those of the type, so that they are written once.
    let schema = schemars::schema_for!(ProgramSpec).to_value();
    verb.args(all().map(|key| {
        let other = others.iter().find(|(known, _)| *known == key);
        let shown = match other {
            Some((_, text)) => format!(" [default: {text}]"),
            None => shown_default(&default[&key]),
        };
        let described = schema["properties"][&key]["description"].as_str().unwrap_or_default();
        let option = clap::Arg::new(key.clone())
            .long(key.clone())
            .alias(key.replace('_', "-"))
            .value_name(if is_table(&key) { "TABLE" } else { "VALUE" })
            .help(format!("{described}{shown}").replace('\n', " "))
            .help_heading("Keys of the program, as in a file; a TABLE is 'key = value, ...'")
            // `--environment A=1 --environment B=2` is `--environment A=1,B=2`.
            .action(ArgAction::Append);
        match default[&key] {
            Value::Bool(_) => option.num_args(0..=1).default_missing_value("true"),
            _ => option.num_args(1),
        }
    }))
}

fn shown_default(default: &Value) -> String {
    match default {
        Value::String(text) => format!(" [default: {text}]"),
        Value::Bool(_) | Value::Number(_) => format!(" [default: {default}]"),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// Whether the value of a key is always a table. What may be one, or else text, has braces when it
/// is one; so has `environment`, which has a text form of its own.
fn is_table(key: &str) -> bool {
    matches!(
        key,
        "eventlistener"
            | "limits"
            | "liveness"
            | "meta"
            | "readiness"
            | "resources"
            | "rlimits"
            | "update"
    )
}

/// Whether the value of a key may be a table.
fn may_be_table(key: &str) -> bool {
    is_table(key)
        || matches!(
            key,
            "depends_on"
                | "environment"
                | "post_start"
                | "post_stop"
                | "pre_start"
                | "pre_stop"
                | "schedule"
        )
}

/// The keys that are among the options.
///
/// # Errors
/// What is wrong with one.
pub(super) fn given(matches: &clap::ArgMatches) -> Result<Map<String, Value>, clap::Error> {
    let mut keys = Map::new();
    for key in all() {
        let Ok(Some(values)) = matches.try_get_many::<String>(&key) else { continue };
        let texts: Vec<&str> = values.map(String::as_str).collect();
        let value = value(&key, &texts).map_err(|why| {
            let said = format!("--{key}: {why}\n");
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, said)
        })?;
        keys.insert(key, value);
    }
    Ok(keys)
}

/// The value of an option that was given once or several times.
///
/// # Errors
/// When it must be a table, and is none.
fn value(key: &str, texts: &[&str]) -> Result<Value, String> {
    let braced = |text: &&str| text.trim_start().starts_with('{');
    if !(is_table(key) || may_be_table(key) && texts.iter().any(braced)) {
        return Ok(Value::String(texts.join(",")));
    }
    let mut table = Map::new();
    for text in texts {
        table.extend(read_table(text)?);
    }
    Ok(Value::Object(table))
}

/// An inline table, with or without its braces. As people do not quote twice, `memory=1GB,pids=5`
/// is one, too: its values are text, which every key can be read from.
fn read_table(text: &str) -> Result<Map<String, Value>, String> {
    let bare = text.trim();
    let bare = bare.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(bare);
    file::inline_table(bare).or_else(|| plain(bare)).ok_or_else(|| {
        format!("expected a table, such as 'key = \"text\", other = 5', found {text:?}")
    })
}

fn plain(text: &str) -> Option<Map<String, Value>> {
    let part = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let (key, value) = (key.trim(), value.trim());
        let fine = !key.is_empty()
            && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
            && !value.is_empty()
            && !value.contains(['"', '\'', '{', '}', '[', ']']);
        fine.then(|| (key.to_owned(), Value::from(value)))
    };
    text.split(',').map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_have_braces_or_not() {
        for (key, texts, read) in [
            (
                "readiness",
                &[r#"http = "http://h/", timeout = "2s""#][..],
                json!({"http": "http://h/", "timeout": "2s"}),
            ),
            (
                "readiness",
                &[r#"{ exec = ["a", "b c"], failures = 2 }"#],
                json!({"exec": ["a", "b c"], "failures": 2}),
            ),
            ("readiness", &["http=http://h/?a=b"], json!({"http": "http://h/?a=b"})),
            ("limits", &["memory=1GB,pids=5"], json!({"memory": "1GB", "pids": "5"})),
            ("limits", &["memory = '1GB'", "pids = 5"], json!({"memory": "1GB", "pids": 5})),
            ("meta", &["{ team = { name = 'x' } }"], json!({"team": {"name": "x"}})),
            ("limits", &[""], json!({})),
            ("pre_start", &["a -b = c"], json!("a -b = c")),
            (
                "pre_start",
                &["{ command = 'a', timeout = 5 }"],
                json!({"command": "a", "timeout": 5}),
            ),
            ("environment", &["A=1", "B=2"], json!("A=1,B=2")),
            ("environment", &["{ A = '1' }", "{ B = 'x,y' }"], json!({"A": "1", "B": "x,y"})),
            ("exitcodes", &["0", "2"], json!("0,2")),
            ("schedule", &["0 3 * * mon,fri"], json!("0 3 * * mon,fri")),
            (
                "schedule",
                &["{ cron = '@daily', missed = 'run' }"],
                json!({"cron": "@daily", "missed": "run"}),
            ),
        ] {
            assert_eq!(value(key, texts), Ok(read), "{key} {texts:?}");
        }
        for bad in ["memory", "memory = ", "{ memory = 1", "memory = [", "= 5"] {
            let said = value("limits", &[bad]).unwrap_err();
            assert!(said.contains("expected a table"), "{said}");
        }
    }

    #[test]
    fn every_key_that_may_be_a_table_is_known() {
        for key in all() {
            let read = |inside: Value| {
                let table = Map::from_iter([(key.clone(), inside)]);
                serde_json::from_value::<ProgramSpec>(Value::Object(table)).is_ok()
            };
            let read = read(json!({ "command": "1", "pids": "1" }))
                || read(json!({ "cron": "@daily" }))
                || read(json!({ "db": "healthy" }));
            assert_eq!(read, may_be_table(&key), "{key}");
        }
    }
}
