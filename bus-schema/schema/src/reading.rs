//! Reading JSON that others wrote: what is wrong with it is told in plain words, by its place in it.

use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use crate::program::words;

/// How serde says that lists and objects are too deep inside of each other.
const TOO_DEEP: &str = "recursion limit";

/// What is wrong with a message or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where in it, as `names[0]` or `capacity.cpu`; empty for all of it.
    pub field: String,
    /// What is wrong there, as a sentence without the field.
    pub why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wrong { field, why } = self;
        if field.is_empty() { f.write_str(why) } else { write!(f, "{field}: {why}") }
    }
}

/// Reads a message whose fields have names.
///
/// # Errors
/// What is wrong with which field; or that it is no JSON, or has no fields.
pub fn message<T: DeserializeOwned>(body: &[u8]) -> Result<T, Wrong> {
    let whole = |why: String| Wrong { field: String::new(), why };
    if let Err(e) = std::str::from_utf8(body) {
        return Err(whole(format!("it is not JSON: byte {} is not UTF-8", e.valid_up_to())));
    }
    // The limit of depth is that of whatever reads it.
    if let Err(e) = serde_json::from_slice::<IgnoredAny>(body) {
        return Err(whole(not_json(&e)));
    }
    let found = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => return at_its_place(body),
        Some(b'[') => "a list",
        Some(b'"') => "text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        Some(_) | None => "a number",
    };
    Err(whole(format!("expected an object with fields, {{...}}, found {found}")))
}

/// Reads a value that is JSON already.
///
/// # Errors
/// What is wrong with which part of it.
pub fn value<T: DeserializeOwned>(value: Value) -> Result<T, Wrong> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let (path, inner) = (e.path().to_string(), e.into_inner());
        wrong(&path, &inner.to_string())
    })
}

/// What serde says of a value at this place (`.` for all of it), in plain words and with the field that
/// it means.
pub fn wrong(path: &str, said: &str) -> Wrong {
    let said = said.split_once(" at line ").map_or(said, |(said, _)| said);
    // The two ways to say that it is all of it, or a place without a name.
    let path = if [".", "?"].contains(&path) { "" } else { path };
    let inside = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    for (begin, why) in [("missing field `", "is missing"), ("duplicate field `", "is there twice")]
    {
        if let Some((key, _)) = said.strip_prefix(begin).and_then(|rest| rest.split_once('`')) {
            return Wrong { field: inside(key), why: why.to_owned() };
        }
    }
    if let Some(rest) = said.strip_prefix("unknown field `")
        && let Some((key, known)) = rest.split_once('`')
    {
        // It says the path of the key itself, or that of what holds it.
        let last = path.rsplit('.').next() == Some(key);
        let field = if last { path.to_owned() } else { inside(key) };
        let known = known.strip_prefix(", expected ").unwrap_or_default().replace('`', "");
        let known = known.strip_prefix("one of ").unwrap_or(&known);
        let why = match known {
            "" | "there are no fields" => "unknown key".to_owned(),
            known => format!("unknown key; known: {known}"),
        };
        return Wrong { field, why };
    }
    Wrong { field: path.to_owned(), why: words::plain(said, &[]) }
}

/// Reads what is JSON for sure.
fn at_its_place<T: DeserializeOwned>(body: &[u8]) -> Result<T, Wrong> {
    let mut read = serde_json::Deserializer::from_slice(body);
    let e = match serde_path_to_error::deserialize(&mut read) {
        Ok(found) => return Ok(found),
        Err(e) => e,
    };
    let (path, inner) = (e.path().to_string(), e.into_inner());
    if inner.is_data() {
        return Err(wrong(&path, &inner.to_string()));
    }
    if inner.to_string().starts_with(TOO_DEEP) {
        return Err(Wrong { field: String::new(), why: not_json(&inner) });
    }
    // Of a word that is none this reader only says that something else was expected.
    let whole = |e| Wrong { field: String::new(), why: not_json(&e) };
    serde_json::from_slice(body).map_err(whole).and_then(value)
}

/// A body that breaks off, or never was JSON.
fn not_json(e: &serde_json::Error) -> String {
    if e.to_string().starts_with(TOO_DEEP) {
        return "it is nested too deeply: at most 127 lists and objects inside of each other"
            .to_owned();
    }
    if e.is_eof() {
        return format!("it is not JSON: it breaks off at line {} column {}", e.line(), e.column());
    }
    format!("it is not JSON: {e}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{LogAsk, StdinAsk, UsageAsk};
    use crate::command::{Act, Apply, Ask, RolloutAct, Scale, WorkerAct};

    /// What is said of a message.
    fn said<T: DeserializeOwned>(body: &str) -> String {
        message::<T>(body.as_bytes()).err().map_or_else(|| "nothing".to_owned(), |e| e.to_string())
    }

    #[test]
    fn what_is_wrong_is_told_by_its_field() {
        let mut different = Vec::new();
        for (said, expected) in [
            (said::<Act>(r#"{"names": "web"}"#), "names: expected a list, found \"web\""),
            (said::<Act>(r#"{"names": ["web", 5]}"#), "names[1]: expected text, found 5"),
            (said::<Act>(r#"{"rolling": true}"#), "names: is missing"),
            (said::<Act>(r#"{"names": ["a"], "names": []}"#), "names: is there twice"),
            (said::<Act>(r#"{"names": [], "id": 5}"#), "id: expected a UUID, found 5"),
            (said::<Act>(r#"{"names": [], "id": "x"}"#), "id: expected a UUID, found \"x\""),
            (
                said::<Act>(r#"{"names": [], "version": "one"}"#),
                "version: expected a whole number, found \"one\"",
            ),
            (said::<Ask>(r#"{"after": "web"}"#), "after: \"web\" is not an instance such as web:0"),
            (said::<Act>("[1]"), "expected an object with fields, {...}, found a list"),
            (said::<Act>("nul"), "it is not JSON: it breaks off at line 1 column 3"),
            (said::<Act>(""), "it is not JSON: it breaks off at line 1 column 0"),
            (said::<Act>("{} {}"), "it is not JSON: trailing characters at line 1 column 4"),
            (said::<RolloutAct>(r#"{"names": [], "step": 1}"#), "step: expected text, found 1"),
            (
                said::<Apply>(r#"{"programs": {"a b": {}}}"#),
                "programs.a b: program \"a b\" may hold only letters, digits, _ and -",
            ),
            (said::<Apply>(r#"{"programs": {"a": 5}}"#), "programs.a: expected a table, found 5"),
            (
                said::<Scale>(r#"{"programs": {"a": -1}}"#),
                "programs.a: expected a whole number from 0 to 4294967295, found -1",
            ),
            (
                said::<RolloutAct>(r#"{"names": [], "step": "go"}"#),
                "step: expected one of pause, resume, promote, undo, found \"go\"",
            ),
            (said::<WorkerAct>(r#"{"names": [null]}"#), "names[0]: expected text, found null"),
            (said::<LogAsk>(r#"{"name": "web:0"}"#), "from: is missing"),
            (
                said::<LogAsk>(r#"{"from": {"last": 1.5}}"#),
                "from.last: expected a whole number from 0 to 4294967295, found 1.5",
            ),
            (
                said::<UsageAsk>(r#"{"instances": [{"name": "web:0"}]}"#),
                "instances[0].pid: is missing",
            ),
            (
                said::<StdinAsk>(r#"{"name": "web:0", "epoch": 1, "pid": 9999999999}"#),
                "pid: expected a whole number from -2147483648 to 2147483647, found 9999999999",
            ),
        ] {
            if said != expected {
                different.push((said, expected));
            }
        }
        assert!(different.is_empty(), "{different:#?}");
        let deep = format!("{{\"names\": {}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(said::<Act>(&deep), "names[0]: expected text, found a list");
        let deep = format!("{{\"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
        assert!(
            said::<Act>(&deep).starts_with("it is nested too deeply"),
            "{}",
            said::<Act>(&deep)
        );
        let wrong = message::<Act>(b"{\"names\": [\"\xff\"]}").unwrap_err();
        assert_eq!(wrong.to_string(), "it is not JSON: byte 12 is not UTF-8");
    }
}
