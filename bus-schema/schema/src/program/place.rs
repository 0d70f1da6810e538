//! Where a program may run, and where it rather runs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::Problem;
use crate::lenient::{self, Size};
use crate::worker::label;

/// Which of the workers that may take an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The one with the fewest copies of the program, then the fewest instances.
    #[default]
    Spread,
    /// The one with the most instances.
    Pack,
    /// The first of `machines`; by name, where there are none.
    Ordered,
    /// The least loaded, by what is declared and what is measured.
    LeastLoaded,
    /// The most loaded.
    MostLoaded,
}

/// What becomes of an instance whose worker is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnWorkerLoss {
    /// It runs elsewhere.
    #[default]
    Move,
    /// It waits for its worker.
    Stay,
    /// It is stopped, as if a person had asked for that.
    Stop,
}

/// What an instance takes of a worker's capacity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Resources {
    /// Processors, such as 0.5 or 2.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient::factor")]
    pub cpu: Option<f64>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
}

impl Resources {
    /// It declares nothing.
    pub fn is_none(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none()
    }

    pub(super) fn problem(&self) -> Option<Problem> {
        let cpu = self.cpu.filter(|cpu| !(0.0..=10_000.0).contains(cpu))?;
        let message = format!("cpu must be 0 to 10000 processors, not {cpu}");
        Some(Problem::new("resources", message))
    }
}

/// A rule on the labels of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelRule {
    /// `zone = eu`; with several values, `zone in (eu, us)`.
    In(String, Vec<String>),
    /// `zone != eu`; a worker without that label passes.
    Not(String, String),
    /// `gpu`.
    Has(String),
    /// `!gpu`.
    Lacks(String),
}

impl LabelRule {
    /// Whether a worker with these labels passes.
    pub fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            LabelRule::In(name, values) => labels.get(name).is_some_and(|v| values.contains(v)),
            LabelRule::Not(name, value) => labels.get(name) != Some(value),
            LabelRule::Has(name) => labels.contains_key(name),
            LabelRule::Lacks(name) => !labels.contains_key(name),
        }
    }
}

impl FromStr for LabelRule {
    type Err = String;
    fn from_str(text: &str) -> Result<LabelRule, String> {
        let rule = read(text.trim()).ok_or_else(|| {
            format!("{text:?} is no rule on labels, such as zone = eu, zone != eu, zone in (eu, us), gpu or !gpu")
        })?;
        let parts: Vec<(&str, &str)> = match &rule {
            LabelRule::In(name, values) => {
                values.iter().map(|v| (name.as_str(), v.as_str())).collect()
            }
            LabelRule::Not(name, value) => vec![(name, value)],
            LabelRule::Has(name) | LabelRule::Lacks(name) => vec![(name, "")],
        };
        for (name, value) in parts {
            label::check(name, value).map_err(|e| e.to_string())?;
        }
        Ok(rule)
    }
}

fn read(text: &str) -> Option<LabelRule> {
    let own = |text: &str| text.trim().to_owned();
    if let Some((name, value)) = text.split_once("!=") {
        return Some(LabelRule::Not(own(name), own(value)));
    }
    if let Some((name, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Some(LabelRule::In(own(name), vec![own(value)]));
    }
    if let Some((name, rest)) = text.split_once(" in ") {
        let inside = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        let values: Vec<String> = inside.split(',').map(own).filter(|v| !v.is_empty()).collect();
        return (!values.is_empty()).then(|| LabelRule::In(own(name), values));
    }
    match text.strip_prefix('!') {
        Some(name) => Some(LabelRule::Lacks(own(name))),
        None => (!text.is_empty()).then(|| LabelRule::Has(own(text))),
    }
}

impl fmt::Display for LabelRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabelRule::In(name, values) if values.len() == 1 => write!(f, "{name} = {}", values[0]),
            LabelRule::In(name, values) => write!(f, "{name} in ({})", values.join(", ")),
            LabelRule::Not(name, value) => write!(f, "{name} != {value}"),
            LabelRule::Has(name) => f.write_str(name),
            LabelRule::Lacks(name) => write!(f, "!{name}"),
        }
    }
}

impl Serialize for LabelRule {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl JsonSchema for LabelRule {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LabelRule".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "such as zone = eu, zone != eu, zone in (eu, us), gpu, !gpu" })
    }
}

/// A list of rules, or one as text; or text with commas between rules, those inside of
/// parentheses apart.
pub(super) fn label_rules<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<LabelRule>, D::Error> {
    let texts: Vec<String> = match Value::deserialize(d)? {
        Value::String(text) => split(&text),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                other => Err(D::Error::custom(format!("expected a rule on labels, found {other}"))),
            })
            .collect::<Result<_, _>>()?,
        other => return Err(D::Error::custom(format!("expected rules on labels, found {other}"))),
    };
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match parts.last_mut() {
            Some(last) if c != ',' || depth > 0 => last.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_on_labels() {
        let labels: BTreeMap<String, String> = [("zone", "eu"), ("gpu", "")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        for (text, holds) in [
            ("zone = eu", true),
            ("zone==eu", true),
            ("zone=us", false),
            ("zone != us", true),
            ("zone != eu", false),
            ("disk != hdd", true),
            ("zone in (us, eu)", true),
            ("zone in (us)", false),
            ("gpu", true),
            ("!gpu", false),
            ("disk", false),
            ("!disk", true),
        ] {
            let rule: LabelRule = text.parse().unwrap();
            assert_eq!(rule.holds(&labels), holds, "{text}");
            assert_eq!(rule.to_string().parse(), Ok(rule), "{text}");
        }
        for bad in ["", "zone in eu", "zone in ()", "a b", "=eu", "!"] {
            assert!(bad.parse::<LabelRule>().is_err(), "{bad}");
        }
        assert_eq!(split("gpu, zone in (eu, us),!x"), ["gpu", " zone in (eu, us)", "!x"]);
    }
}
