//! How a declaration is read.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::{Problem, ProgramSpec, words};

impl ProgramSpec {
    /// Every key that a declaration may have, in alphabetical order.
    pub fn keys() -> &'static [String] {
        static KEYS: OnceLock<Vec<String>> = OnceLock::new();
        KEYS.get_or_init(|| {
            let schema = schemars::schema_for!(ProgramSpec);
            let properties = schema.get("properties").and_then(Value::as_object);
            let mut keys: Vec<String> =
                properties.into_iter().flat_map(Map::keys).cloned().collect();
            keys.sort();
            keys
        })
    }

    /// Every key that the table of `key` may have; none where it has no table, or one of any keys.
    pub fn keys_inside(key: &str) -> Vec<String> {
        let schema = schemars::schema_for!(ProgramSpec).to_value();
        let mut inside = Vec::new();
        properties(&schema, &schema["properties"][key], &mut inside);
        inside
    }

    /// Reads one declaration out of keys and values, and reports everything that is wrong with
    /// them, not only the first. Unknown keys are left to the caller, who knows whether they are
    /// mistakes (a person's file) or a newer version's (a message).
    ///
    /// # Errors
    /// All problems, those of single values first.
    pub fn read(keys: &Map<String, Value>) -> Result<ProgramSpec, Vec<Problem>> {
        let known = ProgramSpec::keys();
        let mut accepted = Map::new();
        let mut problems = Vec::new();
        for (key, value) in keys.iter().filter(|(key, _)| known.contains(key)) {
            match alone(key, value) {
                Ok(_) => {
                    accepted.insert(key.clone(), value.clone());
                }
                Err(e) => problems.push(Problem::new(key, located(key, value, &e.to_string()))),
            }
        }
        let mut spec = match serde_json::from_value::<ProgramSpec>(Value::Object(accepted)) {
            Ok(spec) => spec,
            Err(e) => {
                problems.push(Problem::new("command", e.to_string()));
                return Err(problems);
            }
        };
        spec.defaults_of_kind(keys);
        // A key that could not be read has its default here, and is not judged twice.
        let unread: Vec<String> = problems.iter().map(|p| p.key.clone()).collect();
        problems.extend(spec.problems().into_iter().filter(|p| !unread.contains(&p.key)));
        if problems.is_empty() { Ok(spec) } else { Err(problems) }
    }

    /// Keys inside of the tables of a declaration that mean nothing, as (key, key inside).
    pub fn strange_inside(keys: &Map<String, Value>) -> Vec<(String, String)> {
        let mut strange = Vec::new();
        for (key, value) in keys {
            let Value::Object(given) = value else { continue };
            let known = ProgramSpec::keys_inside(key);
            if known.is_empty() {
                continue;
            }
            let unknown = given.keys().filter(|inside| !known.contains(inside));
            strange.extend(unknown.map(|inside| (key.clone(), inside.clone())));
        }
        strange
    }
}

/// Names of the properties that a schema allows, in all of its forms.
fn properties(whole: &Value, schema: &Value, found: &mut Vec<String>) {
    if let Some(pointer) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        whole.pointer(pointer).into_iter().for_each(|part| properties(whole, part, found));
    }
    for form in ["anyOf", "oneOf"] {
        for part in schema[form].as_array().into_iter().flatten() {
            properties(whole, part, found);
        }
    }
    found.extend(schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned());
}

/// What is wrong with a value; in a table of several keys, with which of them.
fn located(key: &str, value: &Value, message: &str) -> String {
    let nonsense = || alone(key, &Value::from("?")).err().map(|e| e.to_string());
    let plain = words::with_choices(message, nonsense)
        .unwrap_or_else(|| words::plain(message, &ProgramSpec::keys_inside(key)));
    let Value::Object(table) = value else { return plain };
    let fails_so = |table: Map<String, Value>| {
        alone(key, &Value::Object(table)).is_err_and(|e| e.to_string() == message)
    };
    // It fails by itself, and without it the rest does not fail like that.
    let wrong = table.iter().find(|(inside, value)| {
        let without = table.iter().filter(|(other, _)| other != inside);
        fails_so(Map::from_iter([((*inside).clone(), (*value).clone())]))
            && !fails_so(without.map(|(other, v)| (other.clone(), v.clone())).collect())
    });
    match wrong {
        Some((inside, _)) if !message.contains(inside.as_str()) => format!("{inside}: {plain}"),
        Some(_) | None => plain,
    }
}

/// A declaration of this key only.
fn alone(key: &str, value: &Value) -> serde_json::Result<ProgramSpec> {
    serde_json::from_value(Value::Object(Map::from_iter([(key.to_owned(), value.clone())])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{AutoRestart, Retries};
    use serde_json::json;

    fn read(value: Value) -> Result<ProgramSpec, Vec<String>> {
        let Value::Object(map) = value else { panic!("not a table") };
        ProgramSpec::read(&map).map_err(|ps| ps.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn tables_tell_their_keys() {
        assert_eq!(ProgramSpec::keys_inside("limits"), ["cpu", "memory", "pids"]);
        assert_eq!(ProgramSpec::keys_inside("pre_stop"), ["command", "shell", "timeout"]);
        let probe = ProgramSpec::keys_inside("liveness");
        assert!(["exec", "http", "tcp"].iter().all(|key| probe.contains(&(*key).to_owned())));
        for key in ["command", "rlimits", "meta", "environment", "none"] {
            assert_eq!(ProgramSpec::keys_inside(key), [""; 0], "{key}");
        }
        let Value::Object(keys) = json!({
            "limits": {"memory": "1GB", "memmory": 1}, "pre_start": {"command": "x", "time": 1},
            "liveness": {"tcp": "a:1", "timeuot": 5}, "meta": {"x": 1}, "rlimits": {"core": 0},
            "environment": {"A": "1"}, "readiness": {"htp": "x"},
        }) else {
            panic!()
        };
        let strange: Vec<String> = ProgramSpec::strange_inside(&keys)
            .into_iter()
            .map(|(key, inside)| format!("{key}.{inside}"))
            .collect();
        assert_eq!(
            strange,
            ["limits.memmory", "liveness.timeuot", "pre_start.time", "readiness.htp"]
        );
    }

    #[test]
    fn defaults_are_supervisors() {
        let spec = read(json!({"command": "sleep 1000"})).unwrap();
        assert_eq!(spec.argv().unwrap(), ["sleep", "1000"]);
        assert_eq!(
            (spec.numprocs, spec.startretries, spec.max_fail_count),
            (1, Retries::Count(3), 3)
        );
        assert_eq!(spec.autorestart, AutoRestart::Unexpected);
        assert_eq!(spec.touch_seconds(), 5);
        assert_eq!(read(json!({"command": "x", "exclusive": true})).unwrap().touch_seconds(), 15);
    }

    #[test]
    fn values_may_be_typed_or_text() {
        let typed = json!({"command": ["a", "b c"], "numprocs": 3, "autorestart": true,
            "startsecs": 5, "exitcodes": [0, 2], "stopsignal": 10, "machines": ["w1", "w2"]});
        let text = json!({"command": "a 'b c'", "numprocs": "3", "autorestart": "true",
            "startsecs": "5s", "exitcodes": "0,2", "stopsignal": "SIGUSR1", "machines": "w1, w2"});
        let (typed, mut text) = (read(typed).unwrap(), read(text).unwrap());
        assert_eq!(typed.argv(), text.argv());
        text.command = typed.command.clone();
        assert_eq!(typed, text);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let said = read(json!({"command": "", "numprocs": "x", "startsecs": "soon",
            "touch_timeout": "1500ms", "directory": "here", "autorestart": "maybe"}))
        .unwrap_err();
        for (key, what) in [
            ("numprocs", "whole number"),
            ("startsecs", "duration"),
            ("autorestart", "unexpected"),
            ("command", "missing"),
            ("touch_timeout", "whole seconds"),
            ("directory", "not absolute"),
        ] {
            assert!(
                said.iter().any(|s| s.starts_with(key) && s.contains(what)),
                "{key}: {what} not in {said:#?}"
            );
        }
        assert_eq!(said.len(), 6, "{said:#?}");
    }

    #[test]
    fn a_slip_in_a_table_is_told_with_its_key() {
        let said = |key: &str, value: Value| {
            let keys =
                Map::from_iter([("command".to_owned(), json!("x")), (key.to_owned(), value)]);
            ProgramSpec::read(&keys).unwrap_err()[0].to_string()
        };
        let update = json!({"max_surge": 1, "max_unavailable": "one"});
        let expected = "update: max_unavailable: expected a whole number, found \"one\"";
        assert_eq!(said("update", update), expected);
        let resources = json!({"memory": "1GB", "cpu": "half"});
        assert!(said("resources", resources).starts_with("resources: cpu: expected"));
        let hook = json!({"comand": "x", "timeout": 5});
        assert_eq!(said("pre_start", hook), "pre_start: a hook needs a command");
        let depends_on = json!({"web": "running", "db": "helthy"});
        assert!(said("depends_on", depends_on).starts_with("depends_on: db must be"));
    }

    #[test]
    fn a_shell_word_gives_a_hint() {
        let said = read(json!({"command": "a | b"})).unwrap_err();
        assert!(said[0].contains("shell = true"), "{said:?}");
        assert!(read(json!({"command": "a | b", "shell": true})).is_ok());
        assert!(read(json!({"command": "a '|' b"})).is_err(), "a quoted bar reads the same");
        assert!(read(json!({"command": ["a", "|", "b"]})).is_ok());
        assert!(read(json!({"command": "bash -c 'a; b'"})).is_ok());
    }

    #[test]
    fn a_spec_survives_a_round_trip() {
        let spec =
            read(json!({"command": "x", "environment": "A=1", "touch_timeout": "7s"})).unwrap();
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(serde_json::from_value::<ProgramSpec>(json).unwrap(), spec);
    }
}
