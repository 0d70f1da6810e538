//! What people and programs say for themselves, and what happens to those who listen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{EventType, ProgramName, UserName};

/// Most bytes of text in an event of a user: a NATS message holds 1 MiB, and a listener of
/// Supervisor reads it in one piece.
pub const USER_TEXT_MAX: usize = 256 * 1024;

/// What a person or a program said on the bus (`dsbus emit`); Supervisor's `sendRemoteCommEvent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserFact {
    /// Who said it.
    pub by: UserName,
    /// Its TYPE, of whoever said it.
    #[serde(rename = "type")]
    pub name: EventType,
    /// What was said; JSON or any other text. At most [`USER_TEXT_MAX`] bytes.
    #[serde(default)]
    pub text: String,
}

/// What happened to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ListenerChange {
    /// It left the protocol of event listeners, and is started anew; its event comes again.
    Unknown,
    /// It ended while it had an event, which comes again.
    Died,
    /// It rejected an event, which comes again.
    Rejected,
    /// It has taken an event that it had rejected before.
    Accepted,
    /// Something could not be delivered, and is kept among the dead letters.
    DeadLetter,
    /// Events that it was to tell were left out: they belong to no rule any more.
    Dropped,
}

impl ListenerChange {
    /// The TYPE: the last token of the subject.
    pub fn type_name(self) -> &'static str {
        match self {
            ListenerChange::Unknown => "UNKNOWN",
            ListenerChange::Died => "DIED",
            ListenerChange::Rejected => "REJECTED",
            ListenerChange::Accepted => "ACCEPTED",
            ListenerChange::DeadLetter => "DEAD_LETTER",
            ListenerChange::Dropped => "DROPPED",
        }
    }
}

/// Something that happened to a listener, or to what it had to deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerFact {
    /// Its name: that of its durable consumer.
    pub listener: ProgramName,
    /// What.
    pub change: ListenerChange,
    /// The event it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Uuid>,
    /// Where to it could not be delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// How many events, or tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Why, for people.
    pub reason: String,
}
