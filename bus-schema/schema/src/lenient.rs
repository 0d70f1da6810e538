//! Values as people write them. The same declaration arrives as TOML, as JSON typed by hand, and
//! as words of a command line, so a number may be text, a list may be one item or commas, and a
//! duration or a size may carry its unit.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::program::EnvironmentValue;

/// Longest text of somebody else that is told back to him, in characters: a refusal is one message, and
/// what it is about may be as long as that.
const TOLD_MAX: usize = 100;

/// The beginning of a long text.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(TOLD_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// A value as it is told to whoever wrote it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", cut(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// A whole number, or text that is one.
///
/// # Errors
/// When the value is something else, or does not fit.
pub fn number<'de, D: Deserializer<'de>, T: FromStr + TryFrom<i64>>(d: D) -> Result<T, D::Error> {
    let value = Value::deserialize(d)?;
    let read = match &value {
        Value::Number(n) => n.as_i64().and_then(|n| T::try_from(n).ok()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    read.ok_or_else(|| {
        D::Error::custom(format!("expected a whole number, found {}", shown(&value)))
    })
}

/// The same, where there may be none.
///
/// # Errors
/// When there is something else than a number.
pub fn some_number<'de, D: Deserializer<'de>, T: FromStr + TryFrom<i64>>(
    d: D,
) -> Result<Option<T>, D::Error> {
    match Value::deserialize(d)? {
        Value::Null => Ok(None),
        value => number(value).map(Some).map_err(D::Error::custom),
    }
}

/// A number with a fraction, or text that is one, where there may be none.
///
/// # Errors
/// When there is something else.
pub fn factor<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
    let value = Value::deserialize(d)?;
    let read = match &value {
        Value::Null => return Ok(None),
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    };
    read.map(Some)
        .ok_or_else(|| D::Error::custom(format!("expected a number, found {}", shown(&value))))
}

/// A truth value, where there may be none.
///
/// # Errors
/// When there is something else.
pub fn some_boolean<'de, D: Deserializer<'de>>(d: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(d)? {
        Value::Null => Ok(None),
        value => boolean(value).map(Some).map_err(D::Error::custom),
    }
}

/// A truth value; Supervisor's words for one are understood (yes/true/on/1, no/false/off/0).
///
/// # Errors
/// When the value is none of these.
pub fn boolean<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(d)?;
    as_boolean(&value)
        .ok_or_else(|| D::Error::custom(format!("expected true or false, found {}", shown(&value))))
}

fn as_boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Number(n) if n.as_i64() == Some(1) => Some(true),
        Value::Number(n) if n.as_i64() == Some(0) => Some(false),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "1" => Some(true),
            "no" | "false" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A list, one item, or text with commas.
///
/// # Errors
/// When an item cannot be read as `T`.
pub fn list<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    d: D,
) -> Result<Vec<T>, D::Error> {
    let one = |value: &Value| match value {
        Value::String(text) => text.trim().parse().map_err(D::Error::custom),
        Value::Number(n) => n.to_string().parse().map_err(D::Error::custom),
        other => Err(D::Error::custom(format!("expected a list, found {}", shown(other)))),
    };
    match Value::deserialize(d)? {
        Value::Array(items) => items.iter().map(one).collect(),
        Value::String(text) => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(|item| item.parse().map_err(D::Error::custom))
            .collect(),
        other => Ok(vec![one(&other)?]),
    }
}

/// A table of names and values, or Supervisor's text form `KEY="value",KEY2=value2`.
///
/// # Errors
/// When a name is empty or holds `=` or NUL, a value is a list or a table, or the text form does
/// not parse.
pub fn environment<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(n) => Ok(n.to_string()),
        Value::Bool(b) => Ok(b.to_string()),
        other => Err(format!("must be text, found {}", shown(&other))),
    };
    variables(d, text, |value| Some(value))
}

/// The same, where a value may also say where it stands.
///
/// # Errors
/// As [`environment`].
pub fn environment_values<'de, D: Deserializer<'de>>(
    d: D,
) -> Result<BTreeMap<String, EnvironmentValue>, D::Error> {
    variables(d, EnvironmentValue::read, EnvironmentValue::text)
}

/// Names with values, as `read` reads each of a table; `text` is what stands in one.
fn variables<'de, D: Deserializer<'de>, T: From<String>>(
    d: D,
    read: impl Fn(Value) -> Result<T, String>,
    text: impl Fn(&T) -> Option<&str>,
) -> Result<BTreeMap<String, T>, D::Error> {
    let pairs: Vec<(String, T)> = match Value::deserialize(d)? {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| match read(value) {
                Ok(value) => Ok((key, value)),
                Err(why) => Err(D::Error::custom(format!("the value of {key} {why}"))),
            })
            .collect::<Result<_, _>>()?,
        Value::String(text) => supervisor_pairs(&text)
            .map_err(D::Error::custom)?
            .into_iter()
            .map(|(key, text)| (key, text.into()))
            .collect(),
        other => {
            let found = shown(&other);
            return Err(D::Error::custom(format!("expected a table of names, found {found}")));
        }
    };
    for (key, value) in &pairs {
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(D::Error::custom(format!("{key:?} cannot be a variable's name")));
        }
        if text(value).is_some_and(|text| text.contains('\0')) {
            return Err(D::Error::custom(format!("the value of {key} holds a NUL byte")));
        }
    }
    Ok(pairs.into_iter().collect())
}

/// Supervisor's `environment` text: pairs separated by commas, values optionally quoted.
/// (Supervisor's manual, "environment": values with commas or other special characters are quoted.)
fn supervisor_pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) =
            rest.split_once('=').ok_or_else(|| format!("expected KEY=value, found {rest:?}"))?;
        let after = after.trim_start();
        let (value, after) = if let Some(quote @ ('"' | '\'')) = after.chars().next() {
            let end = after[1..]
                .find(quote)
                .ok_or_else(|| format!("the value of {} has no closing {quote}", key.trim()))?;
            (after[1..=end].to_owned(), &after[end + 2..])
        } else {
            let end = after.find(',').unwrap_or(after.len());
            (after[..end].trim().to_owned(), &after[end..])
        };
        pairs.push((key.trim().to_owned(), value));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => after,
            None => return Err(format!("expected a comma before {after:?}")),
        };
    }
    Ok(pairs)
}

/// Exit codes: a list of numbers, or text with commas.
pub(crate) fn exit_codes<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
    list(d).map_err(|_| D::Error::custom("expected exit codes, 0 to 255, such as 0 or \"0,2\""))
}

/// A length of time: seconds as a number, or text with a unit (`"5s"`, `"1m 30s"`, `"250ms"`).
/// Written back as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }
}

/// Longest span that is accepted: ten years. Longer ones are mistakes, and would overflow timers.
const SPAN_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Span, String> {
        let text = text.trim();
        let hint = || format!("expected seconds or a duration such as \"5s\", found {text:?}");
        let duration = match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| hint())?,
            Err(_) => humantime::parse_duration(text).map_err(|_| hint())?,
        };
        if duration > SPAN_MAX {
            return Err(format!("{text} is longer than ten years"));
        }
        Ok(Span(duration))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::Number(n) => n.to_string().parse().map_err(D::Error::custom),
            Value::String(text) => text.parse().map_err(D::Error::custom),
            other => Err(D::Error::custom(format!(
                "expected seconds or a duration such as \"5s\", found {}",
                shown(&other)
            ))),
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "seconds, or text with a unit such as \"5s\" or \"1m 30s\"",
            "type": ["string", "number"]
        })
    }
}

/// A number of bytes: a number, or text with a unit of 1024 (`"50MB"`, `"512kb"`, `"1GB"`), as
/// Supervisor reads sizes. Written back as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Size, String> {
        let lower = text.trim().to_ascii_lowercase();
        let digits_end = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
        let (digits, unit) = lower.split_at(digits_end);
        let factor: u64 = match unit.trim() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            _ => 0,
        };
        digits
            .parse::<u64>()
            .ok()
            .filter(|_| factor > 0)
            .and_then(|n| n.checked_mul(factor))
            .map(Size)
            .ok_or_else(|| format!("expected bytes or a size such as \"50MB\", found {text:?}"))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::Number(n) => n.to_string().parse().map_err(D::Error::custom),
            Value::String(text) => text.parse().map_err(D::Error::custom),
            other => Err(D::Error::custom(format!(
                "expected bytes or a size such as \"50MB\", found {}",
                shown(&other)
            ))),
        }
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "bytes, or text with a unit of 1024 such as \"50MB\"",
            "type": ["string", "integer"]
        })
    }
}

#[cfg(test)]
mod tests;
