//! What is said: parameters from wherever they come, and the declaration that they make.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Form;
use axum::extract::{FromRequest, Query, Request};
use axum::http::header;
use bytes::Bytes;
use dsbus_schema::ids::{ProgramName, WorkerName};
use dsbus_schema::program::{TOUCH_TIMEOUT_MAX, TOUCH_TIMEOUT_MIN};
use dsbus_schema::status::WorkerRow;
use serde_json::{Map, Value, json};

use super::fault::{Code, Fault};

/// Parameters; null is as good as nothing.
#[derive(Debug, Default)]
pub(super) struct Said(Map<String, Value>);

/// Reads a query, a body of JSON and a form; of what is said twice the last counts.
pub(super) async fn said(request: Request) -> Result<Said, Fault> {
    let mut said = Map::new();
    let add = |said: &mut Map<String, Value>, pairs: BTreeMap<String, String>| {
        said.extend(pairs.into_iter().map(|(key, value)| (key, value.into())));
    };
    if let Ok(Query(pairs)) = Query::try_from_uri(request.uri()) {
        add(&mut said, pairs);
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_lowercase();
    let bad = |e: String| Fault::new(Code::Client, e);
    if kind.contains("json") {
        let body = Bytes::from_request(request, &()).await.map_err(|e| bad(e.body_text()))?;
        let read = serde_json::from_slice(&body);
        match read.map_err(|e| bad(format!("the body is no JSON: {e}")))? {
            Value::Object(body) => said.extend(body),
            Value::Null => {}
            _ => return Err(bad("the body is no JSON object".to_owned())),
        }
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        let form = Form::from_request(request, &()).await.map_err(|e| bad(e.body_text()));
        add(&mut said, form?.0);
    }
    said.retain(|_, value| !value.is_null());
    Ok(Said(said))
}

impl Said {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// Text, which a number may be, too.
    fn text(&self, key: &str) -> Result<Option<String>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(Fault::new(Code::Value, format!("{key} must be text"))),
        }
    }

    fn must(&self, key: &str) -> Result<String, Fault> {
        match self.text(key)? {
            None => Err(Fault::new(Code::Missing, format!("{key} is missing"))),
            Some(text) if text.is_empty() => {
                Err(Fault::new(Code::Value, format!("{key} must not be empty")))
            }
            Some(text) => Ok(text),
        }
    }

    fn boolean(&self, key: &str, otherwise: bool) -> Result<bool, Fault> {
        match self.get(key) {
            None => Ok(otherwise),
            Some(Value::Bool(is)) => Ok(*is),
            Some(value) => match value.to_string().trim_matches('"').to_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" | "" => Ok(false),
                _ => Err(Fault::new(Code::Value, format!("{key} must be true or false"))),
            },
        }
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Fault> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let number = text.parse().map_err(|_| {
            Fault::new(Code::Value, format!("{key} must be a whole number, and is {text:?}"))
        });
        number.map(Some)
    }

    /// Whether a program is named.
    pub(super) fn has_name(&self) -> bool {
        self.get("program_id").is_some() || self.get("program_name").is_some()
    }

    /// Which program: by its id or its name.
    pub(super) fn name(&self) -> Result<String, Fault> {
        match (self.text("program_id")?, self.text("program_name")?) {
            (Some(_), Some(_)) => {
                Err(Fault::new(Code::Value, "say program_id or program_name, and not both"))
            }
            (None, None) => Err(Fault::new(Code::Missing, "say program_id or program_name")),
            (Some(name), None) | (None, Some(name)) => Ok(name),
        }
    }
}

type Workers = BTreeMap<WorkerName, Arc<WorkerRow>>;

/// The name of a program, whether it is to be started, and its keys.
pub(super) fn declaration(
    said: &Said,
    workers: &Workers,
) -> Result<(ProgramName, bool, Map<String, Value>), Fault> {
    let bad = |why: String| Fault::new(Code::Value, why);
    let name = said.must("program_name")?;
    let name = ProgramName::parse(&name).map_err(|e| bad(e.to_string()))?;
    let starts = said.boolean("auto_start", true)?;
    let mut keys = Map::new();
    let mut set = |key: &str, value: Value| drop(keys.insert(key.to_owned(), value));
    set("command", said.must("command")?.into());
    set("shell", true.into());
    set("autostart", starts.into());
    // Whatever its exit code was.
    set("autorestart", said.boolean("auto_restart", true)?.into());
    let directory = said.text("directory")?.filter(|path| !path.is_empty());
    for key in ["stdout_logfile", "stderr_logfile"] {
        match said.text(key)?.unwrap_or_default().as_str() {
            "" => {}
            "/dev/null" => set(key, "NONE".into()),
            path if path.starts_with('/') => set(key, path.into()),
            path => match &directory {
                Some(directory) => set(key, format!("{directory}/{path}").into()),
                None => return Err(bad(format!("{key} must be an absolute path"))),
            },
        }
    }
    if let Some(directory) = directory {
        set("directory", directory.into());
    }
    if let Some(environment) = said.text("environment")? {
        set("environment", Value::Object(variables(&environment)?));
    }
    if let Some(seconds) = said.number("touch_timeout")? {
        // Its default of ten years means that nobody cares.
        let (least, most) = (TOUCH_TIMEOUT_MIN, TOUCH_TIMEOUT_MAX);
        if seconds <= most {
            set("touch_timeout", seconds.max(least).into());
        }
    }
    if let Some(count) = said.number("max_fail_count")? {
        set("max_fail_count", count.max(1).into());
    }
    let machines = match said.text("machines")? {
        None => Vec::new(),
        Some(text) if text.is_empty() => return Err(bad("machines must not be empty".to_owned())),
        Some(text) => places(&text, workers)?,
    };
    if !machines.is_empty() {
        set("machines", json!(machines));
        // The first of them that can, and another one when it is lost.
        set("strategy", "ordered".into());
    }
    Ok((name, starts, keys))
}

/// `A=a; B = b=c`: without the spaces around.
fn variables(text: &str) -> Result<Map<String, Value>, Fault> {
    let pairs = text.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    let read = |pair: &str| match pair.split_once('=') {
        Some((name, value)) => Ok((name.trim().to_owned(), value.trim().into())),
        None => Err(Fault::new(Code::Value, "environment must be NAME=value;NAME=value")),
    };
    pairs.map(read).collect()
}

/// The workers that are meant by names or hosts; none where any will do.
fn places(text: &str, workers: &Workers) -> Result<Vec<String>, Fault> {
    let mut places = Vec::new();
    let named = text.split(';').map(str::trim).filter(|name| !name.is_empty());
    for name in named {
        let hosts = workers.values().filter(|row| row.host == name || row.name.as_str() == name);
        let found: Vec<String> = hosts.map(|row| row.name.to_string()).collect();
        match (found.as_slice(), name.parse::<WorkerName>()) {
            // Every machine is its own.
            ([], _) if matches!(name, "localhost" | "127.0.0.1" | "::1") => {}
            // It may come yet.
            ([], Ok(name)) => places.push(name.to_string()),
            ([], Err(_)) => {
                let why = format!("machines: no worker is named {name:?}, or on such a host");
                return Err(Fault::new(Code::Value, why));
            }
            (found, _) => places.extend_from_slice(found),
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(said: Value) -> Result<Value, u16> {
        let Value::Object(said) = said else { panic!("{said}") };
        let read = declaration(&Said(said), &Workers::new());
        read.map(|(_, _, keys)| Value::Object(keys)).map_err(|fault| fault.code())
    }

    #[test]
    fn a_declaration() {
        let least = json!({ "program_name": "web", "command": "sleep 1; echo" });
        let keys = declared(least.clone()).unwrap();
        assert_eq!(
            keys,
            json!({ "command": "sleep 1; echo", "shell": true, "autostart": true, "autorestart": true })
        );
        let with = |key: &str, value: Value| {
            let mut said = least.clone();
            said[key] = value;
            declared(said)
        };
        for (key, value, ours, expected) in [
            ("environment", json!("A=a;B=b=c; "), "environment", json!({ "A": "a", "B": "b=c" })),
            (
                "environment",
                json!("AAA=aaa; BBB = b b ;"),
                "environment",
                json!({ "AAA": "aaa", "BBB": "b b" }),
            ),
            ("auto_restart", json!("false"), "autorestart", json!(false)),
            ("auto_start", json!(0), "autostart", json!(false)),
            ("stdout_logfile", json!("/dev/null"), "stdout_logfile", json!("NONE")),
            ("stdout_logfile", json!(""), "stdout_logfile", Value::Null),
            ("touch_timeout", json!(315_360_000), "touch_timeout", Value::Null),
            ("touch_timeout", json!("7"), "touch_timeout", json!(7)),
            ("max_fail_count", json!(0), "max_fail_count", json!(1)),
            ("machines", json!("w2; w1"), "machines", json!(["w2", "w1"])),
            ("machines", json!("127.0.0.1"), "machines", Value::Null),
        ] {
            assert_eq!(with(key, value.clone()).unwrap()[ours], expected, "{key} {value}");
        }
        for (key, value) in [
            ("command", json!("")),
            ("program_name", json!("a b")),
            ("environment", json!("A")),
            ("touch_timeout", json!("long")),
            ("auto_start", json!("perhaps")),
            ("machines", json!("10.0.0.9")),
            ("machines", json!("")),
            ("stderr_logfile", json!("err.log")),
        ] {
            assert_eq!(with(key, value.clone()), Err(412), "{key} {value}");
        }
        assert_eq!(declared(json!({ "program_name": "web" })), Err(413));
    }
}
