//! What comes of laying hands on a child.

use dsbus_schema::call::{SignalSent, StdinTaken};
use serde::{Deserialize, Serialize};

/// What a person did to a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handed {
    /// The signal was sent.
    Sent(SignalSent),
    /// So much of the input was taken.
    Taken(StdinTaken),
}

/// Why a person did nothing to a child, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotHanded {
    /// The child that is meant does not live (any more).
    Gone(String),
    /// It does, and this cannot be done to it.
    Refused(String),
}
