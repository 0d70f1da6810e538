//! Secrets at a change of the worker's version: a child that dies right after it is started again
//! without asking anybody. They pass through memory only, which no other user of the machine sees.

use std::collections::BTreeMap;

use dsbus_schema::ids::SecretName;
use dsbus_schema::moment::BootTime;
use dsbus_schema::secret::SecretValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{Secrets, Standing};
use crate::handover::bytes;

/// How a secret is left.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StandingLeft {
    Asked(BootTime),
    Unanswered,
    Missing,
    Closed(Uuid, String),
    Open(Uuid, Value),
}

/// A value that is shown by nothing else.
#[derive(Debug)]
pub(crate) struct Value(SecretValue);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(self.0.expose(), to)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        let mut value = bytes::deserialize(from)?;
        // It takes one new line for that of a file.
        value.push(b'\n');
        SecretValue::new(value).map(Value).map_err(serde::de::Error::custom)
    }
}

impl Secrets {
    pub(crate) fn hand_over(&self) -> BTreeMap<SecretName, StandingLeft> {
        let left = |standing: &Standing| match standing {
            // The next agent tells it again.
            Standing::Asked(until) | Standing::Awaited(until) => StandingLeft::Asked(*until),
            Standing::Unanswered => StandingLeft::Unanswered,
            Standing::Missing => StandingLeft::Missing,
            Standing::Closed(version, why) => StandingLeft::Closed(*version, why.clone()),
            Standing::Open(version, value) => StandingLeft::Open(*version, Value(value.clone())),
        };
        self.known.iter().map(|(name, standing)| (name.clone(), left(standing))).collect()
    }

    pub(crate) fn take_over(&mut self, left: BTreeMap<SecretName, StandingLeft>) {
        let taken = |left| match left {
            StandingLeft::Asked(until) => Standing::Asked(until),
            StandingLeft::Unanswered => Standing::Unanswered,
            StandingLeft::Missing => Standing::Missing,
            StandingLeft::Closed(version, why) => Standing::Closed(version, why),
            StandingLeft::Open(version, Value(value)) => Standing::Open(version, value),
        };
        self.known = left.into_iter().map(|(name, left)| (name, taken(left))).collect();
    }
}
