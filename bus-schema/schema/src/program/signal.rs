//! Signals by name.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A signal by name, without `SIG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal {
    name: &'static str,
    number: i32,
}

/// Linux's numbers on x86-64 and ARM; the worker checks that its own are the same.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("ILL", 4),
    ("TRAP", 5),
    ("BUS", 7),
    ("FPE", 8),
    ("STKFLT", 16),
    ("XCPU", 24),
    ("XFSZ", 25),
];

impl Signal {
    /// SIGHUP.
    pub const HUP: Signal = Signal { name: "HUP", number: 1 };
    /// SIGINT.
    pub const INT: Signal = Signal { name: "INT", number: 2 };
    /// SIGKILL.
    pub const KILL: Signal = Signal { name: "KILL", number: 9 };
    /// SIGPIPE.
    pub const PIPE: Signal = Signal { name: "PIPE", number: 13 };
    /// SIGTERM.
    pub const TERM: Signal = Signal { name: "TERM", number: 15 };

    /// The names of all, without `SIG`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SIGNALS.iter().map(|(name, _)| *name)
    }

    /// The name without `SIG`.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The number.
    pub fn number(self) -> i32 {
        self.number
    }

    /// The signal with this number.
    pub fn from_number(number: i32) -> Option<Signal> {
        SIGNALS.iter().find(|s| s.1 == number).map(|&(name, number)| Signal { name, number })
    }
}

impl FromStr for Signal {
    type Err = String;
    fn from_str(text: &str) -> Result<Signal, String> {
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        SIGNALS
            .iter()
            .find(|(name, number)| *name == bare || number.to_string() == bare)
            .map(|&(name, number)| Signal { name, number })
            .ok_or_else(|| format!("expected a signal such as TERM or 15, found {text:?}"))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::String(text) => text.parse(),
            other => other.to_string().parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Signal {
    fn schema_name() -> Cow<'static, str> {
        "Signal".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = SIGNALS.iter().map(|s| s.0).collect();
        json_schema!({ "enum": names })
    }
}
