//! Identities. They are made by parsing, so that whoever holds one need not check it again: every
//! name here is a single token of a NATS subject. Names are shared, so that a copy costs nothing.

mod target;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::lenient::cut;

pub use target::{Copies, Target};

/// Longest name of a program, worker, fleet or user, in bytes.
pub const NAME_LEN_MAX: usize = 64;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} {why}")]
pub struct NameError {
    what: &'static str,
    text: String,
    why: &'static str,
}

pub(crate) fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    let refuse = |why| Err(NameError { what, text: cut(text).into_owned(), why });
    if text.is_empty() {
        return refuse("is empty");
    }
    if text.len() > NAME_LEN_MAX {
        return refuse("is longer than 64 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return refuse("may hold only letters, digits, _ and -");
    }
    if text.starts_with('_') {
        return refuse("begins with _, which is reserved");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal $(, not $reserved:literal)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads a name.
            ///
            /// # Errors
            /// When it is not 1 to 64 of `[A-Za-z0-9_-]`, begins with `_`, or is a reserved word.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check($what, text)?;
                $(if text == $reserved {
                    let why = concat!("is reserved: it stands for every ", $what);
                    return Err(NameError { what: $what, text: text.to_owned(), why });
                })?
                Ok($name(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                $name::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = Cow::<'_, str>::deserialize(d)?;
                $name::parse(&text).map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9-][A-Za-z0-9_-]{0,63}$" })
            }
        }
    };
}

pub(crate) use name;

name!(
    /// What a person declared, by name; `all` is reserved.
    ProgramName, "program", not "all"
);
name!(
    /// A machine's daemon.
    WorkerName, "worker"
);
name!(
    /// One fleet; the second token of every subject.
    FleetName, "fleet"
);
name!(
    /// Who sends a command; the token that the sender's publish permission pins.
    UserName, "user"
);

name!(
    /// A secret.
    SecretName, "secret"
);

name!(
    /// The TYPE of an event that a person or a program makes up.
    EventType, "type of event"
);

impl Default for FleetName {
    fn default() -> Self {
        FleetName("default".into())
    }
}

impl FleetName {
    /// Whether this is the fleet one gets without asking; its buckets carry no fleet name.
    pub fn is_default(&self) -> bool {
        &*self.0 == "default"
    }
}

impl Default for UserName {
    /// The sender on a bus without authentication.
    fn default() -> Self {
        UserName("anonymous".into())
    }
}

/// A program's identity for life: it is kept when the declaration changes, and a program that is
/// removed and declared again gets a new one. UUID v7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProgramId(pub Uuid);

impl fmt::Display for ProgramId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl JsonSchema for ProgramId {
    fn schema_name() -> Cow<'static, str> {
        "ProgramId".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uuid" })
    }
}

/// One copy of a program; written `web:0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The program.
    pub program: ProgramName,
    /// Which copy, from 0.
    pub index: u32,
}

impl InstanceId {
    /// The instance `program:index`.
    pub fn new(program: ProgramName, index: u32) -> Self {
        InstanceId { program, index }
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.program, self.index))
    }
}

impl FromStr for InstanceId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match Target::parse(text) {
            Ok(Target::Instance(instance)) => Ok(instance),
            Ok(_) => Err(format!("{text:?} is not an instance such as web:0")),
            Err(e) => Err(e),
        }
    }
}

impl Serialize for InstanceId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for InstanceId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for InstanceId {
    fn schema_name() -> Cow<'static, str> {
        "InstanceId".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9-][A-Za-z0-9_-]{0,63}:[0-9]+$" })
    }
}

/// A number that grows each time an instance is placed anew: the fencing token that a child gets
/// as `DSBUS_EPOCH`. A store that refuses an epoch lower than one it saw cannot be written by an
/// outdated copy.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The greatest that is believed when a worker tells it: above, one that lies could use all numbers
    /// up, and nothing could be placed anew.
    pub const TOLD_MAX: Epoch = Epoch(1 << 53);
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One run of a worker's supervisor. Its agents come and go; the incarnation stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub Uuid);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl JsonSchema for Incarnation {
    fn schema_name() -> Cow<'static, str> {
        "Incarnation".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uuid" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_what_a_subject_token_holds() {
        for good in ["a", "web", "Web_1-x", "-x", &"x".repeat(64)] {
            assert_eq!(ProgramName::parse(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for (bad, why) in [
            ("", "is empty"),
            ("a.b", "may hold only"),
            ("a b", "may hold only"),
            ("ä", "may hold only"),
            ("_touch", "reserved"),
            ("all", "reserved"),
            (&"x".repeat(65), "longer than 64"),
        ] {
            let said = ProgramName::parse(bad).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
        assert!(WorkerName::parse("all").is_ok());
    }
}
