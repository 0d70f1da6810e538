//! What serde says of a value that it cannot read, in the words of people who write declarations.

use crate::lenient::cut;

/// What a declaration has instead of each of serde's kinds.
const KINDS: [(&str, &str); 21] = [
    ("sequence", "a list"),
    ("map", "a table"),
    ("a string", "text"),
    ("a sequence", "a list"),
    ("a map", "a table"),
    ("string or map", "text"),
    ("unit", "nothing"),
    ("null", "null"),
    ("a boolean", "true or false"),
    ("i8", "a whole number from -128 to 127"),
    ("u8", "a whole number from 0 to 255"),
    ("i16", "a whole number from -32768 to 32767"),
    ("u16", "a whole number from 0 to 65535"),
    ("i32", "a whole number from -2147483648 to 2147483647"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("i64", "a whole number"),
    ("u64", "a whole number, 0 or more"),
    ("usize", "a whole number, 0 or more"),
    ("f64", "a number"),
    ("path string", "a path"),
    ("borrowed string", "text"),
];

/// A message of serde in plain words; any other as it is. `inside` are the keys of the table that the
/// key may have.
pub(crate) fn plain(message: &str, inside: &[String]) -> String {
    variant(message).or_else(|| kind(message, inside)).unwrap_or_else(|| message.to_owned())
}

/// Where one of some words is expected, and something else than a word was found, serde does not say
/// which: it does, `asked` for a word that is none.
pub(super) fn with_choices(
    message: &str,
    asked: impl FnOnce() -> Option<String>,
) -> Option<String> {
    let found = message.strip_suffix(", expected string or map")?;
    let asked = asked()?;
    let (_, expected) = asked.strip_prefix("unknown variant `")?.split_once("`, expected ")?;
    let said = plain(&format!("{found}, expected a string"), &[]);
    Some(said.replacen("expected text", &format!("expected {}", expected.replace('`', "")), 1))
}

/// `` unknown variant `x`, expected one of `a`, `b` ``
fn variant(message: &str) -> Option<String> {
    let (found, expected) =
        message.strip_prefix("unknown variant `")?.split_once("`, expected ")?;
    Some(format!("expected {}, found {:?}", expected.replace('`', ""), cut(found)))
}

/// `` invalid type: integer `0`, expected a string ``
fn kind(message: &str, inside: &[String]) -> Option<String> {
    let rest = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    let table = expected.starts_with("struct ") || expected == "a map";
    let expected = match inside {
        [] if table => "a table".to_owned(),
        keys if table => format!("a table of {}", keys.join(", ")),
        _ => known(expected).unwrap_or(expected).to_owned(),
    };
    // `string "x"`, `integer `5``, `map`
    let value = ["string ", "integer ", "boolean ", "floating point "]
        .iter()
        .find_map(|kind| found.strip_prefix(kind))
        .map_or_else(
            || known(found).unwrap_or(found).to_owned(),
            |value| cut(&value.replace('`', "")).into_owned(),
        );
    Some(format!("expected {expected}, found {value}"))
}

fn known(word: &str) -> Option<&'static str> {
    KINDS.iter().find(|(serde, _)| *serde == word).map(|(_, ours)| *ours)
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::program::ProgramSpec;

    #[test]
    fn serdes_words_are_made_plain() {
        let inside = ["canary".to_owned(), "max_surge".to_owned()];
        for (serde, ours) in [
            (
                "unknown variant `job`, expected `service` or `oneshot`",
                "expected service or oneshot, found \"job\"",
            ),
            (
                "unknown variant `go`, expected one of `move`, `stay`, `stop`",
                "expected one of move, stay, stop, found \"go\"",
            ),
            ("invalid type: integer `0`, expected a string", "expected text, found 0"),
            ("invalid type: sequence, expected a string", "expected text, found a list"),
            ("invalid type: map, expected a string", "expected text, found a table"),
            (
                "invalid type: string \"a, expected b\", expected struct Update",
                "expected a table of canary, max_surge, found \"a, expected b\"",
            ),
            ("expected true or false, found 2", "expected true or false, found 2"),
        ] {
            assert_eq!(plain(serde, &inside), ours);
        }
        assert_eq!(
            plain("invalid type: boolean `true`, expected a map", &[]),
            "expected a table, found true"
        );
    }

    #[test]
    fn no_key_answers_a_wrong_kind_of_value_with_words_of_the_reader() {
        let values = [
            json!(5),
            json!(1.5),
            json!(true),
            json!("zz zz"),
            json!([]),
            json!([[1]]),
            json!(["zz zz"]),
            json!({}),
            json!({ "zzz": [1] }),
        ];
        let mut strange = Vec::new();
        for key in ProgramSpec::keys() {
            for value in &values {
                let mut keys = Map::from_iter([("command".to_owned(), Value::from("x"))]);
                keys.insert(key.clone(), value.clone());
                let Err(problems) = ProgramSpec::read(&keys) else { continue };
                for problem in problems {
                    let said = problem.to_string();
                    let words =
                        ["struct", "invalid", "variant", "untagged", "sequence", "`", "map,"];
                    if words.iter().any(|word| said.contains(word)) {
                        strange.push(format!("{key} = {value}: {said}"));
                    }
                }
            }
        }
        assert!(strange.is_empty(), "{strange:#?}");
        let keys = json!({ "command": "x", "kind": 5 });
        let said = ProgramSpec::read(keys.as_object().unwrap()).unwrap_err();
        assert_eq!(said[0].to_string(), "kind: expected service or oneshot, found 5");
    }
}
