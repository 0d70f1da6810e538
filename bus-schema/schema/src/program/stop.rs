//! How a child is asked to stop.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Signal;
use crate::lenient::{self, Span};

/// One step of a stop: `TERM`, or `TERM:5s` with a wait of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopSignal {
    /// The signal.
    pub signal: Signal,
    /// How long it is waited for the child to end before the next step; `stopwaitsecs` when unset.
    pub wait: Option<Span>,
}

impl FromStr for StopSignal {
    type Err = String;
    fn from_str(text: &str) -> Result<StopSignal, String> {
        let (signal, wait) = match text.split_once(':') {
            Some((signal, wait)) => (signal, Some(wait.parse()?)),
            None => (text, None),
        };
        Ok(StopSignal { signal: signal.parse()?, wait })
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.signal.fmt(f)?;
        self.wait.map_or(Ok(()), |wait| write!(f, ":{wait}"))
    }
}

/// The signals that ask a child to stop, one after the other; SIGKILL comes after the last. Never
/// empty. (Supervisor has one signal; the list is that of the Go package `processes`.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopSignals(Vec<StopSignal>);

impl StopSignals {
    /// The steps, in order; at least one.
    pub fn steps(&self) -> &[StopSignal] {
        &self.0
    }
}

impl Default for StopSignals {
    fn default() -> Self {
        StopSignals(vec![StopSignal { signal: Signal::TERM, wait: None }])
    }
}

impl From<Signal> for StopSignals {
    fn from(signal: Signal) -> Self {
        StopSignals(vec![StopSignal { signal, wait: None }])
    }
}

impl Serialize for StopSignals {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => s.collect_str(one),
            many => s.collect_seq(many.iter().map(ToString::to_string)),
        }
    }
}

impl<'de> Deserialize<'de> for StopSignals {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let steps: Vec<StopSignal> = lenient::list(d)?;
        if steps.is_empty() {
            return Err(serde::de::Error::custom("expected at least one signal, such as TERM"));
        }
        Ok(StopSignals(steps))
    }
}

impl JsonSchema for StopSignals {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StopSignals".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({ "type": "string", "examples": ["TERM", "QUIT:5s"] });
        json_schema!({
            "description": "a signal, or several one after the other, each with its own wait",
            "anyOf": [one, { "type": "integer" }, { "type": "array", "items": one, "minItems": 1 }]
        })
    }
}
